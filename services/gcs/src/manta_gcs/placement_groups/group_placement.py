"""Which waiting placement groups get nodes now, and what nodes were promised to give to them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from manta_common.ids import JobId, NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling.bundles import GroupRequest, Plan, place_bundles, plan_bundles
from manta_common.scheduling.demand_notice import WaitingDemand
from manta_common.scheduling.index import ClusterIndex
from manta_common.scheduling.view import Infeasible, Refusal
from manta_proto.gcs.v1 import placement_group_pb2 as pb

from manta_gcs.kernel.commands import Command, Level, note
from manta_gcs.kernel.events import Moment
from manta_gcs.nodes.placement_view import PlacementView
from manta_gcs.placement_groups.group_deadlock import PartlyLost, who_gives_way
from manta_gcs.placement_groups.group_queue import GroupQueue, Line
from manta_gcs.placement_groups.group_state import GroupState
from manta_gcs.placement_groups.placement_group import PlacementGroup
from manta_gcs.placement_groups.placement_group_table import PlacementGroupTable

COMPLAIN_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class Planned:
    """The group's missing bundles, in the order of their indices, go to these nodes."""

    group: PlacementGroup
    plan: Plan


class GroupPlacement:
    """Groups that lost bundles first, then by age; who fits nowhere now lets the others pass.

    Except that nobody passes on what a partly lost group is waiting for: as long as tasks and actors outside of groups
    stand in its way, the nodes that it would get are set aside from new groups.
    """

    def __init__(self, table: PlacementGroupTable, view: PlacementView) -> None:
        self._table, self._view = table, view
        self.queue = GroupQueue()
        # Whether somebody came or left since the last decision, and the versions of the view then.
        self._moved = False
        self._seen = (-1, -1)
        self._lost_wait = 0  # groups that waited for lost bundles and were refused then
        self._decided = False  # whether the last call of decide() found it worth while

    def want_new(self, group: PlacementGroup) -> None:
        self.queue.put_new(group)
        self._moved = True

    def want_lost(self, group: PlacementGroup) -> None:
        self.queue.put_lost(group)
        self._moved = True

    def want_again(self, group: PlacementGroup) -> None:
        """Its attempt failed, or other bundles of it are missing by now."""
        self.queue.put_back(group)
        self._moved = True

    def withdraw(self, group: PlacementGroup) -> None:
        """It was removed: what it reserved, or had set aside for it, is for others."""
        self.queue.discard(group)
        self._moved = True

    def decide(self, at: Moment) -> list[Planned]:
        """Plans for those that can be placed now; they leave the queue.

        cost: one policy call for each distinct request that is refused, and one for each group placed; nothing while
        neither the view nor the queue changed to anybody's advantage.
        """
        self._decided = self._worth_it()
        if not self._decided:
            return []
        index = self._view.current()
        self._moved, self._lost_wait, self._seen = False, 0, (self._view.version, self._view.changes)
        planned: list[Planned] = []
        blocked: list[GroupRequest] = []  # lost bundles that fit nowhere now
        waiting = [(line.first(), number, line) for number, line in enumerate(self.queue)]
        heapq.heapify(waiting)
        while waiting:
            (rank, group_id), number, line = heapq.heappop(waiting)
            if rank[0] > 0 and blocked:
                self._set_aside(blocked, index)
                blocked = []
            answer = place_bundles(line.request, index)
            if not isinstance(answer, tuple):
                _explain(line, answer, at)
                if rank[0] == 0:
                    self._lost_wait += len(line)
                    blocked.append(line.request)
                continue
            group = self._table.get(group_id)
            assert group is not None, "who waits is in the table"
            self.queue.discard(group)
            if line:
                heapq.heappush(waiting, (line.first(), number, line))
            for node_id, amount in _taken(line.request, answer):
                self._view.take(node_id, amount)
            planned.append(Planned(group, answer))
        return planned

    def _worth_it(self) -> bool:
        if not self.queue:
            self._moved, self._lost_wait = False, 0
            return False
        if self._moved or self._view.version != self._seen[0]:
            return True
        # What is set aside for lost bundles moves with every change, and leaves room for others where it was.
        return self._lost_wait > 0 and self._view.changes != self._seen[1]

    def gives_way(self) -> PlacementGroup | None:
        """Of partly lost groups that block one another, the one that shall return its bundles.

        Looked for only when decide() has just refused some.
        """
        if not self._decided or self._lost_wait < 2:
            return None
        waiting = [
            PartlyLost(group.id, group.order, group.wanted(), tuple(_held_by(group)))
            for line in self.queue.lines()
            for group in map(self._table.get, line)
            if group is not None and group.state is GroupState.RESCHEDULING
        ]
        found = who_gives_way(waiting, self._unreserved(self._view.current()))
        return self._table.get(found) if found is not None else None

    def complain(self, at: Moment) -> list[Command]:
        """Log, once for each distinct request, that it has waited for COMPLAIN_AFTER_S, and why."""
        notes: list[Command] = []
        for line in self.queue:
            if line.since is None or line.told or at.steady < line.since + COMPLAIN_AFTER_S:
                continue
            line.told = True
            fields = {"groups": len(line), "first": line.first()[1], "waited_s": at.steady - line.since}
            notes.append(note("placement_group_waits", Level.WARNING, reason=line.reason, **fields))
        return notes

    def deadline(self) -> float | None:
        """When (Moment.steady) complain() is due."""
        due = [line.since + COMPLAIN_AFTER_S for line in self.queue if line.since is not None and not line.told]
        return min(due, default=None)

    def waits(self) -> Iterator[WaitingDemand]:
        """Those who were refused, for notices to their jobs. cost: O(groups that wait)."""
        for line in self.queue:
            if line.since is None:
                continue
            shape = line.request.describe()
            for group in map(self._table.get, line):
                if group is not None:
                    yield WaitingDemand(
                        job_id=JobId(group.spec.creator_job_id),
                        what="placement groups",
                        shape=shape,
                        infeasible=line.progress == pb.PlacementGroupStatus.INFEASIBLE,
                        reason=line.reason,
                        since=line.since,
                    )

    def demands(self) -> list[pb.PlacementGroupDemand]:
        """What waits, counted by shape, with why."""
        return [
            pb.PlacementGroupDemand(
                strategy=line.request.strategy.value,
                bundles=[bundle.resources.to_proto() for bundle in line.request.bundles],
                count=len(line),
                reason=line.reason or "waiting to be placed",
                rescheduling=line.first()[0][0] == 0,
            )
            for line in self.queue.lines()
        ]

    def _unreserved(self, index: ClusterIndex) -> ClusterIndex:
        """The nodes with everything free that no group reserves. cost: O(nodes + groups)."""
        reserved: dict[NodeId, ResourceSet] = {}
        for group in self._table.living():
            for held in group.reservation.everything():
                amount = group.bundles[held.index].resources
                reserved[held.node_id] = reserved.get(held.node_id, ResourceSet()) + amount
        return ClusterIndex(
            replace(view, available=view.total - reserved.get(view.node_id, ResourceSet())) for view in index.values()
        )

    def _set_aside(self, blocked: Iterable[GroupRequest], index: ClusterIndex) -> None:
        """Take out of the view what these would get if only groups reserved anything."""
        unreserved = self._unreserved(index)
        for request in blocked:
            plan = plan_bundles(request, unreserved)
            for node_id, amount in _taken(request, plan) if plan is not None else ():
                node = unreserved[node_id]
                unreserved.put(replace(node, available=node.available - amount))
                self._view.take(node_id, amount)


def _held_by(group: PlacementGroup) -> Iterator[tuple[NodeId, ResourceSet]]:
    for held in group.reservation.placed.values():
        yield held.node_id, group.bundles[held.index].resources


def _taken(request: GroupRequest, plan: Plan) -> Iterator[tuple[NodeId, ResourceSet]]:
    for bundle, node_id in zip(request.bundles, plan, strict=True):
        yield node_id, bundle.resources


def _explain(line: Line, answer: Refusal | Infeasible, at: Moment) -> None:
    if line.since is None:
        line.since = at.steady
    infeasible = isinstance(answer, Infeasible)
    line.progress = pb.PlacementGroupStatus.INFEASIBLE if infeasible else pb.PlacementGroupStatus.NO_RESOURCES
    line.reason = str(answer)
