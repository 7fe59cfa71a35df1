"""The life of placement groups: requested, prepared, committed, rescheduled, removed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from manta_common.ids import NodeId, PlacementGroupId
from manta_common.resources import ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as pb

from manta_gcs.kernel.commands import Answer, Command, Level, Persist, note
from manta_gcs.kernel.events import Moment
from manta_gcs.kernel.promise import Promises
from manta_gcs.nodes.node import NodeTable
from manta_gcs.nodes.placement_view import PlacementView
from manta_gcs.placement_groups.bundle_orders import BundleOrders
from manta_gcs.placement_groups.bundle_reservation import Held
from manta_gcs.placement_groups.bundle_use import BundleUse
from manta_gcs.placement_groups.group_placement import GroupPlacement, Planned
from manta_gcs.placement_groups.group_state import GroupState
from manta_gcs.placement_groups.placement_group import PlacementGroup
from manta_gcs.placement_groups.placement_group_table import PlacementGroupTable
from manta_gcs.placement_groups.subscribers import GroupAudience

Cause = common_pb2.DeathCause
Outcome = pb.BundleOutcome
# An attempt's number tells it from every other, of earlier leaders too: the epoch, then a running number.
ATTEMPTS_PER_EPOCH = 1 << 40


class PlacementGroupManager:
    """Moves groups between their states.

    Orders to raylets, records and news are collected and leave with settle(), once for a batch of events: a group that
    changed twice in it is written once.
    """

    def __init__(self, nodes: NodeTable, epoch: int, promises: Promises[NodeId], view: PlacementView) -> None:
        self._nodes, self._promises = nodes, promises
        self.table = PlacementGroupTable()
        self.placement = GroupPlacement(self.table, view)
        self.use = BundleUse(self.table, nodes)
        self.audience = GroupAudience()
        self._orders = BundleOrders(nodes)
        self._changed: dict[PlacementGroupId, PlacementGroup] = {}
        self._attempts = itertools.count(epoch * ATTEMPTS_PER_EPOCH + 1)
        self._arrivals = itertools.count(1)

    # ---- asked by clients ----

    def add(self, spec: pb.PlacementGroupSpec, at: Moment) -> PlacementGroup:
        """A new group; who asked has been looked at. raises: ValueError for bundles that cannot be."""
        group = PlacementGroup(spec, next(self._arrivals), at.wall)
        self.table.add(group)
        self._changed[group.id] = group
        self.placement.want_new(group)
        return group

    def restore(self, info: pb.PlacementGroupInfo) -> list[Command]:
        """From its record; the caller brings the oldest first."""
        group = PlacementGroup.restored(info, next(self._arrivals))
        commands = self.table.add(group)
        if group.removed or group.state is GroupState.CREATED:
            return commands
        if group.state is GroupState.PENDING:
            self.placement.want_new(group)
        elif group.state is GroupState.RESCHEDULING:
            self.placement.want_lost(group)
        return commands

    def remove(self, group: PlacementGroup, cause: common_pb2.DeathCause, at: Moment) -> list[Command]:
        """For good: its bundles go back, and who uses them ends. Repeats do nothing."""
        if group.removed:
            return []
        nodes = group.reservation.nodes()
        self._give_back(group, group.reservation.everything(), cause)
        group.reservation.abandon()  # what was placed stays in the status, for those who ask
        self.placement.withdraw(group)
        group.ended_at, group.cause = at.wall, cause
        forgotten = self.table.bury(group, nodes)
        self._changed[group.id] = group
        # Programs make and remove hundreds a second: not a line for each.
        return [*forgotten, note("placement_group_removed", Level.DEBUG, group_id=group.id, cause=cause.message)]

    def status(self, group: PlacementGroup) -> pb.PlacementGroupStatus:
        """As people see it, with why it waits."""
        line = self.placement.queue.line_of(group)
        if line is not None:
            return group.status(line.progress, line.reason or "waiting to be placed")
        return group.status(pb.PlacementGroupStatus.SCHEDULING_STARTED, "its nodes are reserving the bundles")

    # ---- told by nodes ----

    def report(self, node_id: NodeId, report: pb.BundleReport, at: Moment) -> list[Command]:
        """A node did what it was told, or could not."""
        node = self._nodes.get(node_id)
        if node is not None and report.HasField("available"):
            self._nodes.set_available(node, ResourceSet.from_proto(report.available))
        notes: list[Command] = []
        for outcome in report.outcomes:
            notes += self._outcome(node_id, outcome, at)
        return notes

    def attached(self, node_id: NodeId, bundles: Iterable[pb.HeldBundle], at: Moment) -> list[Command]:
        """A node names all that it holds: bring it and the records together.

        What it holds and should not, it returns. What it should hold and does not is prepared or committed anew, or,
        where it was committed before, lost.
        """
        present: set[tuple[PlacementGroupId, Held]] = set()
        notes: list[Command] = []
        for bundle in bundles:
            held = Held(bundle.index, node_id, bundle.attempt)
            group = self.table.get(bundle.placement_group_id)
            if group is None or group.removed or not group.reservation.holds(held):
                self._orders.return_(bundle.placement_group_id, [held], _superseded(group))
                continue
            present.add((group.id, held))
            if bundle.committed:
                notes += self._committed(group, held, at)
            else:
                notes += self._prepared(group, held, at)
        for group in self.table.on_node(node_id):
            reservation = group.reservation
            self._orders.prepare(group, [h for h in reservation.unprepared if h.node_id == node_id])
            lost = [held for held in reservation.on_node(node_id) if (group.id, held) not in present]
            if lost:
                notes += self._lost(group, lost, f"node {node_id.hex()} does not hold them any more", at)
            again = [held for held in reservation.on_node(node_id) if held.index in reservation.uncommitted]
            self._orders.commit(group, again)
        return notes

    def watched(self, node_id: NodeId, message: pb.WatchPlacementGroups) -> list[Command]:
        """A raylet has requests for groups, or has none any more; it is told of each at once."""
        self.audience.unwatch(node_id, map(PlacementGroupId, message.drop))
        self.audience.watch(node_id, map(PlacementGroupId, message.add))
        news = (self._news(PlacementGroupId(group_id)) for group_id in message.add)
        return [command for status in news for command in self._tell(node_id, status)]

    def node_died(self, node_id: NodeId, at: Moment) -> list[Command]:
        """Its bundles, and only those, are to be placed again. Call it after the node has left the table."""
        notes: list[Command] = []
        for group in self.table.on_node(node_id):
            lost = group.reservation.on_node(node_id)
            if lost or group.reservation.uses(node_id):
                notes += self._lost(group, lost, f"node {node_id.hex()} died", at)
        self.audience.drop_node(node_id)
        self.use.drop_node(node_id)
        return notes

    # ---- once a batch ----

    def settle(self, at: Moment) -> list[Command]:
        """Place who waits; then everything that the batch led to: records first, then orders, answers and news."""
        notes: list[Command] = []
        # Each turn places a group or takes the bundles of one, so there are no more turns than groups.
        deciding = True
        while deciding:
            plans = self.placement.decide(at)
            for planned in plans:
                self._begin(planned, at)
            yielding = self.placement.gives_way()
            if yielding is not None:
                notes += self._give_way(yielding)
            deciding = bool(plans) or yielding is not None
        changed, self._changed = self._changed, {}
        commands: list[Command] = [
            Persist(*group.record()) for group in changed.values() if self.table.get(group.id) is group
        ]
        commands += self._orders.flush()
        for group in changed.values():
            if group.removed or group.state is GroupState.CREATED:
                commands += self._answers(group)
            self.use.changed(group.id)
        return [*commands, *notes, *self.placement.complain(at)]

    def news(self) -> list[Command]:
        """Last in a batch, when actors are placed too: what changed, for those who watch groups."""
        commands: list[Command] = []
        for group_id in self.use.take_changed():
            watchers = self.audience.watchers(group_id)
            if watchers:
                status = self._news(group_id)
                commands += [command for node_id in watchers for command in self._tell(node_id, status)]
        return commands

    # ---- inside ----

    def _begin(self, planned: Planned, at: Moment) -> None:
        group = planned.group
        missing = group.reservation.missing
        attempt = next(self._attempts)
        orders = group.reservation.begin(attempt, dict(zip(missing, planned.plan, strict=True)))
        group.attempts += 1
        group.attempted_at = at.wall
        for held in orders:
            self.table.settle_on(group, held.node_id)
            self._promises.make((group.id, held.index), held.node_id, group.bundles[held.index].resources)
        self._orders.prepare(group, orders)

    def _outcome(self, node_id: NodeId, outcome: pb.BundleOutcome, at: Moment) -> list[Command]:
        group = self.table.get(outcome.placement_group_id)
        held = Held(outcome.index, node_id, outcome.attempt)
        kind = outcome.outcome
        if group is None or group.removed or not group.reservation.holds(held):
            if kind in (Outcome.PREPARED, Outcome.COMMITTED):
                self._orders.return_(outcome.placement_group_id, [held], _superseded(group))
            return []
        if kind == Outcome.PREPARED:
            return self._prepared(group, held, at)
        if kind == Outcome.COMMITTED:
            return self._committed(group, held, at)
        if kind == Outcome.REFUSED:
            return self._refused(group, held, outcome.reason, at)
        return []

    def _prepared(self, group: PlacementGroup, held: Held, at: Moment) -> list[Command]:
        self._promises.keep((group.id, held.index))
        if not group.reservation.prepared(held):
            return []
        self._orders.commit(group, group.reservation.seal())
        self._move(group, GroupState.PREPARED)
        return []

    def _committed(self, group: PlacementGroup, held: Held, at: Moment) -> list[Command]:
        self._promises.keep((group.id, held.index))
        reservation = group.reservation
        if not reservation.committed(held):
            return []
        self.use.changed(group.id)
        if not reservation.whole or group.state is not GroupState.PREPARED:
            return []
        first = not group.created_at
        group.created_at = group.created_at or at.wall
        self._move(group, GroupState.CREATED)
        event = "placement_group_created" if first else "placement_group_rescheduled"
        return [note(event, Level.DEBUG if first else Level.INFO, group_id=group.id, attempts=group.attempts)]

    def _refused(self, group: PlacementGroup, held: Held, reason: str, at: Moment) -> list[Command]:
        """The node cannot take the bundle, or has not what it should commit; ask it again after its next word."""
        node = self._nodes.get(held.node_id)
        if node is not None:
            self._nodes.distrust(node)
        if held.index in group.reservation.placed:
            return self._lost(group, [held], f"node {held.node_id.hex()} refused to commit: {reason}", at)
        self._abandon(group, _given_up("another bundle of its group could not be reserved"))
        self.placement.want_again(group)
        return [note("bundle_refused", group_id=group.id, index=held.index, node_id=held.node_id, reason=reason)]

    def _lost(self, group: PlacementGroup, lost: list[Held], why: str, at: Moment) -> list[Command]:
        """Nodes hold these no more, or the attempt under way cannot succeed."""
        waited = group.id in self.placement.queue
        self._abandon(group, _given_up(why))
        for held in lost:
            group.reservation.lose(held)
            self._promises.keep((group.id, held.index))
        text = note("bundles_lost", Level.WARNING, group_id=group.id, bundles=[held.index for held in lost], reason=why)
        if not group.created_at:
            rest = list(group.reservation.placed.values())
            self._give_back(group, rest, _given_up(why))
            nodes = group.reservation.nodes()
            group.reservation.clear()
            self.table.look_at(group, nodes)
            if group.state is GroupState.PREPARED:
                self._move(group, GroupState.PENDING)
            self.placement.want_again(group)
            return [text] if lost else []
        if group.state is not GroupState.RESCHEDULING:
            self._move(group, GroupState.RESCHEDULING)
            self.placement.want_lost(group)
        elif waited or group.reservation.missing:
            self.placement.want_again(group)
        self._changed[group.id] = group
        self.table.look_at(group, {held.node_id for held in lost})
        return [text] if lost else []

    def _give_way(self, group: PlacementGroup) -> list[Command]:
        nodes = group.reservation.nodes()
        why = "its group gave way to another one that lost bundles too; both waited for each other"
        self._give_back(group, list(group.reservation.placed.values()), _given_up(why))
        group.reservation.clear()
        self.table.look_at(group, nodes)
        self.placement.want_lost(group)  # behind those for whom it gave way
        self._changed[group.id] = group
        return [note("placement_group_gave_way", Level.WARNING, group_id=group.id)]

    def _abandon(self, group: PlacementGroup, cause: common_pb2.DeathCause) -> None:
        nodes = group.reservation.nodes()
        self._give_back(group, group.reservation.abandon(), cause)
        self.table.look_at(group, nodes)

    def _give_back(self, group: PlacementGroup, bundles: list[Held], cause: common_pb2.DeathCause) -> None:
        for held in bundles:
            self._promises.keep((group.id, held.index))
        self._orders.return_(group.id, bundles, cause)

    def _move(self, group: PlacementGroup, to: GroupState) -> None:
        self.table.move(group, to)
        self._changed[group.id] = group

    def _answers(self, group: PlacementGroup) -> list[Command]:
        waiting = self.audience.take_waiting(group.id)
        return [Answer(session, self.answer(group, request_id)) for session, request_id in waiting]

    def answer(self, group: PlacementGroup, request_id: int = 0) -> gcs_pb2.GcsReply:
        """For who knows what was asked for: the status alone."""
        info = pb.PlacementGroupInfo(status=self.status(group))
        return gcs_pb2.GcsReply(request_id=request_id, placement_group_found=info)

    def info(self, group: PlacementGroup) -> pb.PlacementGroupInfo:
        return pb.PlacementGroupInfo(spec=group.spec, status=self.status(group))

    def _news(self, group_id: PlacementGroupId) -> pb.PlacementGroupStatus:
        """What a raylet needs to send requests to the right node. A group that is not known was removed long ago."""
        group = self.table.get(group_id)
        if group is None or group.removed:
            return pb.PlacementGroupStatus(placement_group_id=group_id, state=pb.PG_REMOVED)
        status = pb.PlacementGroupStatus(placement_group_id=group_id, state=group.state.value)
        for view in self.use.views(group):
            bundle = status.bundles.add(resources=view.total.to_proto())
            if view.node_id is not None:
                bundle.node_id = view.node_id
                bundle.available.CopyFrom(view.available.to_proto())
        return status

    def _tell(self, node_id: NodeId, status: pb.PlacementGroupStatus) -> list[Command]:
        return self._nodes.tell(node_id, gcs_pb2.GcsToNode(placement_group=status))


def _superseded(group: PlacementGroup | None) -> common_pb2.DeathCause:
    if group is None or group.removed:
        return Cause(kind=Cause.PLACEMENT_GROUP_REMOVED, message="its placement group was removed")
    return _given_up("a later reservation took its place")


def _given_up(why: str) -> common_pb2.DeathCause:
    """Why users of a bundle end that their group needs no more there; they may start again."""
    return Cause(kind=Cause.WORKER_DIED, message=f"its bundle was given up: {why}")
