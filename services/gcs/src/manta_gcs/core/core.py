"""The core of the GCS: every event in, every command out; without clock, socket, thread or await."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from random import Random

from manta_common.ids import NODE_ID_SIZE, JobId, NodeId
from manta_common.scheduling import HybridSettings
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as pb

from manta_gcs.actors.actor_manager import ActorManager
from manta_gcs.actors.actor_placement import ActorPlacement
from manta_gcs.actors.actor_state import ActorState
from manta_gcs.actors.actor_table import DEAD_LIMIT, ActorTable
from manta_gcs.core.reconciliation import dead_nodes_of, reconcile_actors_on, reconcile_records
from manta_gcs.fairness.claim import Claims
from manta_gcs.fairness.pending_notice import PendingNotices
from manta_gcs.jobs.identity import ClusterIdentity
from manta_gcs.jobs.job import Jobs
from manta_gcs.jobs.kv import KeyValues
from manta_gcs.kernel.commands import Close, Command, Level, Persist, StepDown, Tell, note
from manta_gcs.kernel.events import (
    ClientLeft,
    CoreEvent,
    Moment,
    NodeAttached,
    NodeDetached,
    NodeSaid,
    SessionId,
    TimePassed,
)
from manta_gcs.kernel.promise import Promises
from manta_gcs.nodes.node import ALIVE, Node, NodeTable
from manta_gcs.nodes.placement_view import PlacementView
from manta_gcs.nodes.worker_death import WorkerDeaths
from manta_gcs.placement_groups.group_state import GroupState
from manta_gcs.placement_groups.placement_group import PlacementGroup
from manta_gcs.placement_groups.placement_group_manager import PlacementGroupManager
from manta_gcs.tasks.task_table import TaskTable

Cause = common_pb2.DeathCause


class GcsCore:
    """Joins the tables. One leader's term has one core; a new term loads a new one."""

    def __init__(
        self,
        identity: ClusterIdentity,
        epoch: int,
        death_timeout_s: float,
        rng: Random,
        store_name: str = "",
        disproved_epoch: int = 0,
        hybrid: HybridSettings | None = None,
        dead_actor_limit: int = DEAD_LIMIT,
    ) -> None:
        """store_name: for people, without secrets. disproved_epoch: the highest that made this replica step down."""
        self.identity = identity
        self.epoch = epoch
        self.store_name = store_name
        self._disproved_epoch = disproved_epoch
        self.nodes = NodeTable(death_timeout_s)
        self.jobs = Jobs(identity.last_job)
        self.kv = KeyValues()
        self.deaths = WorkerDeaths()
        self.tasks = TaskTable()
        promises: Promises[NodeId] = Promises(self.nodes.changed.add)
        table = ActorTable(dead_actor_limit, changed=self.nodes.changed.add)
        view = PlacementView(self.nodes, table.count_on, promises)
        self.groups = PlacementGroupManager(self.nodes, epoch, promises, view)
        placement = ActorPlacement(rng, promises, view, self.groups.use, hybrid)
        self.actors = ActorManager(self.nodes, self.jobs, self.deaths, table, placement)
        self.claims = Claims(self.nodes, table, self.groups.table, self.groups.use, rng, hybrid)
        self.notices = PendingNotices(self.nodes, self.jobs, self.actors.placement, self.groups.placement)

    def begin(self, at: Moment) -> list[Command]:
        """After loading, before anyone is served."""
        commands: list[Command] = [Persist(*self.identity.record())]
        for job in self.jobs.running():
            if self.nodes.get(job.driver.node_id) is None:  # its death was written, the job's end was not
                commands += self.finish_job(job.job_id, at)
        commands += reconcile_records(self.jobs, self.nodes, self.actors, at)
        for node_id in dead_nodes_of(self.groups.table, self.nodes):
            commands += self.groups.node_died(node_id, at)
        for group in self.groups.table.living():
            commands += self._end_orphan(group, at)
        return commands

    def handle(self, event: CoreEvent) -> list[Command]:
        """One event; its writes belong together. Call settle() after a batch of them."""
        match event:
            case ClientLeft(session=session):
                self.actors.subscriptions.drop_session(session)
                self.groups.audience.drop_session(session)
                return []
            case NodeAttached():
                return self._attach(event.session, event.message, event.at)
            case NodeSaid():
                return self._node_said(event)
            case NodeDetached(node_id=node_id, session=session):
                self.nodes.detach(node_id, session)
                return []
            case TimePassed(at=at):
                self.tasks.expire(at)
                return [command for node_id in self.nodes.expired(at) for command in self._node_timed_out(node_id, at)]

    def settle(self, at: Moment) -> list[Command]:
        """What is done once for a whole batch: place waiting groups and actors, share free resources."""
        commands: list[Command] = []
        placing = True
        while placing:
            commands += self._end_groups_of_dead_actors(at)
            commands += self.groups.settle(at)
            commands += self.actors.place(at)
            placing = self.actors.has_buried  # one that nothing can place, and with it the groups that it made
        commands += self.groups.news()
        commands += self.claims.settle(self.actors.placement.waiting(), self.groups.placement.queue, at)
        commands += self.notices.settle(at)
        return [*commands, *self.nodes.share_resources(at)]

    def deadline(self) -> float | None:
        """When (Moment.steady) a TimePassed is wanted at the latest, if nothing else happens."""
        waits = (self.actors.placement.deadline(), self.groups.placement.deadline())
        due = (self.nodes.deadline(), *waits, self.tasks.deadline(), self.claims.deadline(), self.notices.deadline())
        return min((moment for moment in due if moment is not None), default=None)

    def actor_counts(self) -> Mapping[ActorState, int]:
        return Counter(self.actors.table.counts)

    def group_counts(self) -> Mapping[GroupState, int]:
        return Counter(self.groups.table.counts)

    def finish_job(self, job_id: bytes, at: Moment) -> list[Command]:
        """Its driver is done or gone: its actors end, detached ones excepted. Repeats do nothing."""
        ended = self.jobs.finish(job_id, at.wall)
        if not ended:
            return []
        job = self.jobs.get(job_id)
        if job is not None:
            self.notices.job_ended(JobId(job_id))
            self.tasks.owner_gone(job.driver.worker_id, at)
        told = self.nodes.tell_others(None, gcs_pb2.GcsToNode(job_ended=gcs_pb2.JobEnded(job_id=job_id)))
        commands = [*ended, *self.actors.job_ended(job_id, at), *told, note("job_finished", job_id=job_id)]
        for group in self.groups.table.of_job(job_id):
            commands += self.remove_group(group, "the job that created it has ended", at)
        return commands

    def remove_group(self, group: PlacementGroup, why: str, at: Moment) -> list[Command]:
        """Give its bundles back, and end who uses them. Repeats do nothing."""
        if group.removed:
            return []
        text = f"placement group {group.id.hex()} was removed: {why}"
        cause = Cause(kind=Cause.PLACEMENT_GROUP_REMOVED, message=text)
        return [*self.groups.remove(group, cause, at), *self.actors.group_removed(group.id, cause, at)]

    def _end_groups_of_dead_actors(self, at: Moment) -> list[Command]:
        commands: list[Command] = []
        while buried := self.actors.take_buried():
            for actor_id in buried:
                for group in self.groups.table.owned_by(actor_id):
                    commands += self.remove_group(group, "the detached actor that created it died", at)
        return commands

    def _end_orphan(self, group: PlacementGroup, at: Moment) -> list[Command]:
        """After loading: a group whose owner's end was written, and its own was not."""
        if group.owner is not None:
            owner = self.actors.table.get(group.owner)
            if owner is None or owner.dead:
                return self.remove_group(group, "the detached actor that created it died", at)
        elif group.of_job and not self.jobs.is_running(group.spec.creator_job_id):
            return self.remove_group(group, "the job that created it has ended", at)
        return []

    # ---- nodes ----

    def _attach(self, session: SessionId, message: gcs_pb2.AttachNode, at: Moment) -> list[Command]:
        if message.epoch > self.epoch:
            return self._higher_epoch(session, message.epoch)
        node_id = NodeId(message.info.node_id)
        if len(node_id) != NODE_ID_SIZE:
            return [Close(session, f"malformed: node id {node_id.hex()!r} has {len(node_id)} bytes")]
        dead = self.nodes.death_of(node_id)
        if dead is not None:
            reason = dead.death_cause.message or "this node was declared dead"
            declared = gcs_pb2.GcsToNode(declared_dead=gcs_pb2.DeclaredDead(reason=reason))
            return [Tell(session, declared), Close(session, "declared dead")]
        commands: list[Command] = []
        before = self.nodes.get(node_id)
        if before is not None and before.session is not None:
            commands.append(Close(before.session, "the node attached on another stream"))
        commands += self.nodes.attach(message, session, at)
        # The deaths first: they tell why an actor is missing. All that follows from them leaves after `attached`.
        follow_up = self._workers_died(node_id, message.recent_deaths, at)
        to_end, more = reconcile_actors_on(node_id, message, self.actors, self.deaths, at)
        commands.append(Tell(session, gcs_pb2.GcsToNode(attached=self._attached(to_end))))
        commands += [Tell(session, news) for news in self.nodes.all_resources_but(node_id)]
        ended = [job_id for job_id in message.job_ids if not self.jobs.is_running(job_id)]
        commands += [Tell(session, gcs_pb2.GcsToNode(job_ended=gcs_pb2.JobEnded(job_id=job_id))) for job_id in ended]
        follow_up += more
        follow_up += self.groups.attached(node_id, message.bundles, at)
        self.groups.use.update(node_id, message.bundles)
        attached = self.nodes.get(node_id)
        if attached is not None:
            follow_up += self.nodes.drain_order(attached, at)
        self.groups.audience.drop_node(node_id)
        follow_up += self.groups.watched(node_id, pb.WatchPlacementGroups(add=message.watched_placement_groups))
        self.claims.attached(node_id)
        return [*commands, *follow_up, note("node_attached", node_id=node_id, known=before is not None)]

    def _higher_epoch(self, session: SessionId, claimed: int) -> list[Command]:
        """Another leader may have taken over unseen: find out by campaigning again.

        Who then still names an epoch above that of the new term does not belong to this store.
        """
        if claimed > self._disproved_epoch:
            return [StepDown(f"a raylet obeys epoch {claimed}, above ours, {self.epoch}", claimed)]
        text = f"this raylet obeys epoch {claimed}, above this cluster's {self.epoch}: it belongs to another store"
        refused = gcs_pb2.Error(code=gcs_pb2.Error.INVALID, message=text)
        return [Tell(session, gcs_pb2.GcsToNode(refused=refused)), Close(session, text)]

    def _attached(self, to_end: list[gcs_pb2.EndActor]) -> gcs_pb2.Attached:
        return gcs_pb2.Attached(
            cluster_id=self.identity.cluster_id,
            nodes=self.nodes.infos(),
            jobs=self.jobs.running(),
            recent_deaths=self.deaths.recent(),
            ended_actors=to_end,
        )

    def _node_said(self, event: NodeSaid) -> list[Command]:
        node = self.nodes.get(event.node_id)
        if node is None or node.session != event.session:
            return []  # declared dead, or attached anew, while this was on its way
        self.nodes.heard(node, event.at)
        message = event.message
        match message.WhichOneof("body"):
            case "heartbeat":
                return self._heartbeat(node, message.heartbeat)
            case "bundle_report":
                return self.groups.report(node.id, message.bundle_report, event.at)
            case "watch_placement_groups":
                return self.groups.watched(node.id, message.watch_placement_groups)
            case "look_up_nodes":
                looked_up = gcs_pb2.NodesLookedUp(node_ids=message.look_up_nodes.node_ids)
                return [Tell(event.session, gcs_pb2.GcsToNode(nodes_looked_up=looked_up))]
            case "actor_report":
                return self.actors.report(node.id, message.actor_report, event.at)
            case "workers_died":
                received = gcs_pb2.WorkersDiedReceived(report_id=message.workers_died.report_id)
                return [
                    *self._workers_died(node.id, message.workers_died.workers, event.at),
                    Tell(event.session, gcs_pb2.GcsToNode(workers_died_received=received)),
                ]
            case "driver_gone":
                return self._driver_gone(message.driver_gone, event.at)
            case "drain_done":
                # It leaves by itself: it must not be told that it is dead, which would make it come back anew.
                self.nodes.detach(node.id, event.session)
                cause = Cause(kind=Cause.INTENDED, node_id=node.id, message="the node was drained and left")
                elsewhere = self.actors.node_left(node.id)
                return [*elsewhere, *self._node_died(node, cause, event.at), Close(event.session, "drained")]
            case "attach":
                return self._attach(event.session, message.attach, event.at)
            case "task_events":
                wrong = self.tasks.take(message.task_events)
                teller = message.task_events.teller.worker_id
                return [note("task_events_malformed", Level.WARNING, worker_id=teller, reason=wrong)] if wrong else []
            case _:
                return [Close(event.session, "malformed: a message without a body this version knows")]

    def _heartbeat(self, node: Node, beat: gcs_pb2.Heartbeat) -> list[Command]:
        self.nodes.heartbeat(node, beat)
        if beat.used_bundles_changed:
            self.groups.use.update(node.id, beat.used_bundles)
        for taken in beat.taken_actors:
            self.actors.taken(node.id, taken)
        if not beat.leaves or node.info.state != ALIVE:
            return []
        why = f"node {node.id.hex()} was told to stop"
        return [*self.nodes.leaves(node, why), *self.actors.leave_node(node.id, why, counted=True)]

    def _workers_died(self, node_id: NodeId, workers: Iterable[common_pb2.DeadWorker], at: Moment) -> list[Command]:
        fresh = self.deaths.add(workers)
        if not fresh:
            return []
        notice = gcs_pb2.GcsToNode(workers_died=gcs_pb2.WorkersDiedNotice(workers=fresh))
        commands = self.nodes.tell_others(node_id, notice)
        for worker in fresh:
            commands += self.actors.worker_died(worker, at)
            self.tasks.owner_gone(worker.address.worker_id, at)
            job = self.jobs.of_driver(worker.address.worker_id)
            if job is not None:
                commands += self.finish_job(job.job_id, at)
        return commands

    def _driver_gone(self, message: gcs_pb2.DriverGone, at: Moment) -> list[Command]:
        job = self.jobs.get(message.job_id) or self.jobs.of_driver(message.worker_id)
        return self.finish_job(job.job_id, at) if job is not None else []

    def _node_timed_out(self, node_id: NodeId, at: Moment) -> list[Command]:
        node = self.nodes.get(node_id)
        if node is None:
            return []
        silent = at.steady - node.last_heard
        text = f"node {node_id.hex()} ({node.info.node_name or node.info.ip_address}) was silent for {silent:.1f} s"
        return self._node_died(node, Cause(kind=Cause.NODE_DIED, node_id=node_id, message=text), at)

    def _node_died(self, node: Node, cause: common_pb2.DeathCause, at: Moment) -> list[Command]:
        session = node.session
        commands = self.nodes.bury(node, cause, at)
        if session is not None:
            commands.append(Close(session, "declared dead"))
        for job in self.jobs.with_driver_on(node.id):
            commands += self.finish_job(job.job_id, at)
        lost = Cause(kind=Cause.NODE_DIED, node_id=node.id, message=cause.message)
        commands += self.groups.node_died(node.id, at)
        commands += self.actors.node_died(node.id, lost, at)
        self.tasks.node_gone(node.id, at)
        return [*commands, note("node_died", Level.WARNING, node_id=node.id, cause=cause.message)]
