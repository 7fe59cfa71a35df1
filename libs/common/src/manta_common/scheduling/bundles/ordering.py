"""In which order nodes are tried for bundles, and bundles for nodes."""

from __future__ import annotations

from manta_common.resources import ResourceSet
from manta_common.scheduling.bundles.request import BundleRequest, GroupRequest
from manta_common.scheduling.index import ClusterIndex
from manta_common.scheduling.ranking import Key, Order, Ranking, Shape
from manta_common.scheduling.view import NodeView


def ranked(index: ClusterIndex, bundle: BundleRequest, order: Order) -> Ranking:
    """The nodes that have room for the bundle, in that order."""
    return index.ranking(Shape(bundle.resources, bundle.label_selector, order))


def by_fullness(node: NodeView, wanted: ResourceSet) -> Key:
    """The node first that keeps the least of what is asked for."""
    return (_kept(node, wanted, 1), 0.0, node.node_id)


def by_emptiness(node: NodeView, wanted: ResourceSet) -> Key:
    """The node first whose busiest resource is used least."""
    return (node.utilization(wanted), 0.0, node.node_id)


def by_capacity(node: NodeView, wanted: ResourceSet) -> Key:
    """The node first that can hold most bundles of the kind, then the one that keeps the least."""
    count = capacity(node, wanted)
    return (-count, _kept(node, wanted, count), node.node_id)


def capacity(node: NodeView, wanted: ResourceSet) -> int:
    """How often a node with room for one bundle could take such a one."""
    return min(node.available.get(name) // amount for name, amount in wanted.items())


def _kept(node: NodeView, wanted: ResourceSet, times: int) -> float:
    free = node.available
    return sum(free.get(name) / amount - times for name, amount in wanted.items())


def hardest_first(request: GroupRequest, index: ClusterIndex) -> list[int]:
    """Bundle indices, those first that fewest nodes can take now, then the biggest share of the cluster."""
    bundles = request.bundles
    kinds = dict.fromkeys(bundles)
    if len(kinds) == 1:
        return list(range(len(bundles)))
    whole = index.total
    hardness: dict[BundleRequest, tuple[int, float]] = {}
    for bundle in kinds:
        share = sum(amount / whole.get(name) for name, amount in bundle.resources.items() if whole.get(name) > 0)
        hardness[bundle] = (len(ranked(index, bundle, by_fullness).free), -share)
    return sorted(range(len(bundles)), key=lambda number: (*hardness[bundles[number]], number))
