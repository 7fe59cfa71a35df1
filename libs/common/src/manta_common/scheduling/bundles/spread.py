"""SPREAD: bundles on as many nodes as possible."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from manta_common.ids import NodeId
from manta_common.scheduling.bundles.ordering import by_emptiness, hardest_first, ranked
from manta_common.scheduling.bundles.pack import pack
from manta_common.scheduling.bundles.request import BundleRequest, GroupRequest, Plan
from manta_common.scheduling.bundles.strict_spread import strict_spread
from manta_common.scheduling.index import ClusterIndex
from manta_common.scheduling.standing import FREE, standing_of
from manta_common.scheduling.view import NodeView


def spread(request: GroupRequest, index: ClusterIndex) -> Plan | None:
    """Each on a node of its own where that is possible; else bundle by bundle where fewest of the group are.

    When that gets stuck, a packed plan is better than none: spreading is a wish here.
    """
    apart = strict_spread(request, index)
    if apart is not None:
        return apart
    held = Counter(request.kept)
    left = {node_id: index[node_id] for node_id in held if node_id in index}
    plan: dict[int, NodeId] = {}
    for number in hardest_first(request, index):
        bundle = request.bundles[number]
        node = _least_held(bundle, index, held, left)
        if node is None:
            return pack(request, index)
        left[node.node_id] = replace(node, available=node.available - bundle.resources)
        held[node.node_id] += 1
        plan[number] = node.node_id
    return tuple(plan[number] for number in range(len(request.bundles)))


def _least_held(
    bundle: BundleRequest, index: ClusterIndex, held: Counter[NodeId], left: dict[NodeId, NodeView]
) -> NodeView | None:
    """The node with room that holds fewest of the group, then the least used. left: the holders, as they are by now."""
    for key in ranked(index, bundle, by_emptiness).free:
        if key[2] not in left:
            return index[key[2]]
    able = (node for node in left.values() if standing_of(node, bundle.resources, bundle.label_selector) is FREE)
    return min(able, key=lambda node: (held[node.node_id], *by_emptiness(node, bundle.resources)), default=None)
