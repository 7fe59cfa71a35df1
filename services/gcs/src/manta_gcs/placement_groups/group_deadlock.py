"""Partly lost groups that wait for one another's bundles, and which of them gives way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from manta_common.ids import NodeId, PlacementGroupId
from manta_common.resources import ResourceSet
from manta_common.scheduling.bundles import GroupRequest, plan_bundles
from manta_common.scheduling.view import ClusterView, NodeView


@dataclass(frozen=True, slots=True)
class PartlyLost:
    """A group that waits for its lost bundles. order: rises with its age's contrary: the youngest has the highest.

    held: what its other bundles reserve, where.
    """

    group_id: PlacementGroupId
    order: int
    request: GroupRequest
    held: tuple[tuple[NodeId, ResourceSet], ...]


def who_gives_way(waiting: Sequence[PartlyLost], unreserved: ClusterView) -> PlacementGroupId | None:
    """The group that shall return its bundles so that another one can be whole again, or None.

    unreserved: the nodes with all that no group reserves counted as free, since tasks and actors outside of groups end
    or can be waited for, while a group may hold its bundles for ever.

    Entangled are the groups that (a) cannot be placed on what is unreserved, and (b) could be if the other entangled
    ones reserved nothing. Who fails (a) needs nobody's help; who fails (b) waits for something else, such as a new
    node. Of two or more entangled groups the youngest gives way whose bundles let an older one be placed; if none does
    by itself, the youngest. One at a time, so that no group gives up more than it takes.
    cost: O(G G) placements for G waiting groups; they are few.
    """
    entangled = [group for group in waiting if group.held and not _placeable(group, unreserved)]
    while len(entangled) >= 2:
        helped = [
            group
            for group in entangled
            if _placeable(group, _freed(unreserved, (other for other in entangled if other is not group)))
        ]
        if len(helped) == len(entangled):
            return _youngest_that_helps(entangled, unreserved).group_id
        entangled = helped
    return None


def _youngest_that_helps(entangled: Sequence[PartlyLost], unreserved: ClusterView) -> PartlyLost:
    youngest_first = sorted(entangled, key=lambda group: -group.order)
    for group in youngest_first:
        without = _freed(unreserved, [group])
        if any(_placeable(older, without) for older in entangled if older.order < group.order):
            return group
    return youngest_first[0]


def _placeable(group: PartlyLost, view: ClusterView) -> bool:
    return plan_bundles(group.request, view) is not None


def _freed(view: ClusterView, groups: Iterable[PartlyLost]) -> Mapping[NodeId, NodeView]:
    freed = dict(view)
    for group in groups:
        for node_id, resources in group.held:
            node = freed.get(node_id)
            if node is not None:
                freed[node_id] = replace(node, available=node.available + resources)
    return freed
