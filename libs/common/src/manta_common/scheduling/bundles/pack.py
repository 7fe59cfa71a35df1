"""PACK: bundles on as few nodes as possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set

from manta_common.ids import NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling.bundles.ordering import by_capacity, by_fullness, hardest_first, ranked
from manta_common.scheduling.bundles.request import BundleRequest, GroupRequest, Plan, together
from manta_common.scheduling.index import ClusterIndex
from manta_common.scheduling.ranking import Key, Ranking
from manta_common.scheduling.standing import FREE, standing_of
from manta_common.scheduling.view import NodeView


def pack(request: GroupRequest, index: ClusterIndex) -> Plan | None:
    """Again and again the node that takes most of what is left, in one greedy pass over the bundles.

    A node that holds bundles of the group comes before others that take as many. Greedy passes may miss a plan that
    exists, since bin packing is hard; the order by scarcity, biggest bundle first, makes that rare. A node that was
    taken can take no more: what is left did not fit it.
    """
    bundles = request.bundles
    left = hardest_first(request, index)
    home = Counter(request.kept)
    plan: dict[int, NodeId] = {}
    taken: set[NodeId] = set()
    while left:
        kinds = dict.fromkeys(bundles[number] for number in left)
        if len(kinds) == 1:
            (kind,) = kinds
            found = _most_of_one_kind(kind, len(left), index, home, taken)
        else:
            wanted = [bundles[number] for number in left]
            found = _all(wanted, index, home, taken) if not taken else None
            found = found or _most(wanted, index, home, taken)
        if found is None:
            return None
        node_id, positions = found
        taken.add(node_id)
        for position in positions:
            plan[left[position]] = node_id
        left = [number for number in left if number not in plan]
    return tuple(plan[number] for number in range(len(bundles)))


_Found = tuple[NodeId, Iterable[int]]  # the node, and which of the bundles in question it takes


def _all(wanted: list[BundleRequest], index: ClusterIndex, home: Counter[NodeId], taken: Set[NodeId]) -> _Found | None:
    """A node for all of them."""
    ranking = ranked(index, together(wanted), by_fullness)
    best = _at_home(ranking, home, taken, None) or _first(ranking, taken)
    return (best[2], range(len(wanted))) if best is not None else None


def _most_of_one_kind(
    kind: BundleRequest, count: int, index: ClusterIndex, home: Counter[NodeId], taken: Set[NodeId]
) -> _Found | None:
    """The node that takes most of `count` like bundles; of those that take all, the fullest."""
    if count > 1:
        ranking = ranked(index, kind, by_capacity)
        best = _first(ranking, taken)
        if best is None:
            return None
        if -best[0] < count:
            best = _at_home(ranking, home, taken, best[0]) or best
            return best[2], range(int(-best[0]))
    return _all([kind] * count, index, home, taken)


def _most(wanted: list[BundleRequest], index: ClusterIndex, home: Counter[NodeId], taken: Set[NodeId]) -> _Found | None:
    """The node that takes most of bundles of several kinds. cost: O(n wanted)."""
    best: tuple[tuple[float, int, float, NodeId], list[int]] | None = None
    for node_id, node in index.items():
        if node_id in taken or not node.schedulable:
            continue
        positions = _what_fits(wanted, node)
        if positions:
            amount = together([wanted[position] for position in positions]).resources
            kept = sum(node.available.get(name) / wants - 1 for name, wants in amount.items())
            key = (-len(positions), -home[node_id], kept, node_id)
            if best is None or key < best[0]:
                best = key, positions
    return (best[0][3], best[1]) if best is not None else None


def _what_fits(wanted: list[BundleRequest], node: NodeView) -> list[int]:
    """Positions in `wanted`, taken greedily in its order."""
    could = {
        bundle: standing_of(node, bundle.resources, bundle.label_selector) is FREE for bundle in dict.fromkeys(wanted)
    }
    positions: list[int] = []
    available: ResourceSet = node.available
    for position, bundle in enumerate(wanted):
        if could[bundle] and available.covers(bundle.resources):
            available = available - bundle.resources
            positions.append(position)
    return positions


def _first(ranking: Ranking, taken: Set[NodeId]) -> Key | None:
    return next((key for key in ranking.free if key[2] not in taken), None)


def _at_home(ranking: Ranking, home: Counter[NodeId], taken: Set[NodeId], first: float | None) -> Key | None:
    """Of the nodes that hold bundles of the group the one that holds most; first: what its key must begin with."""
    able = [
        (-count, key)
        for node_id, count in home.items()
        if node_id not in taken and (key := ranking.key_of(node_id)) is not None and first in (None, key[0])
    ]
    return min(able)[1] if able else None
