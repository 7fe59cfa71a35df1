"""The raylet's core: one node's leases, actors, workers and jobs, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from manta_common.ids import ActorId, JobId, LeaseId, NodeId, WorkerId
from manta_common.resources import GPU, ResourceSet
from manta_common.scheduling import HybridSettings
from manta_common.scheduling.demand_notice import DemandNotice, DemandNotices, WaitingDemand, shape_text
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2, placement_group_pb2
from manta_proto.raylet.v1 import raylet_pb2

from manta_raylet.actors.actor_host import ActorHost
from manta_raylet.actors.bundle_keeper import BundleKeeper
from manta_raylet.core.long_wait_log import Wait
from manta_raylet.kernel.commands import (
    AskForNodes,
    Command,
    EndWorker,
    GrantLease,
    KillWorker,
    RefuseLease,
    WatchGroups,
)
from manta_raylet.kernel.death import cause_of_exit, dead
from manta_raylet.kernel.lease import ClientId, LeaseRequest, default_key
from manta_raylet.leases.lease_manager import RETIRED, LeaseManager
from manta_raylet.leases.lease_recall import ShortNotices
from manta_raylet.leases.node_table import NodeTable
from manta_raylet.leases.spillback import Spillback
from manta_raylet.resources.node_ledger import NodeLedger
from manta_raylet.workers.job_table import JobTable
from manta_raylet.workers.worker_pool import PoolLimits, WorkerPool
from manta_raylet.workers.worker_table import Worker, WorkerState

IDLE_GRACE_S: Final = 5.0
IDLE: Final = "idle"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """What this node is and may do; fixed for the life of a node id."""

    node_id: NodeId
    total: ResourceSet
    limits: PoolLimits
    labels: Mapping[str, str]
    gpu_ids: tuple[str, ...] = ()
    hybrid: HybridSettings | None = None


@dataclass(frozen=True, slots=True)
class WorkerDeath:
    """What a worker's end means for others. holder: the client whose lease ended with it."""

    death: common_pb2.DeadWorker
    holder: ClientId | None


class NodeCore:
    """Events are method calls; `settle` after them returns the commands, to be done in order."""

    def __init__(
        self,
        spec: NodeSpec,
        rng: Random,
        new_worker_id: Callable[[], WorkerId],
        new_lease_id: Callable[[], LeaseId],
    ) -> None:
        self.spec = spec
        self.ledger = NodeLedger(spec.total, spec.gpu_ids)
        self.pool = WorkerPool(spec.limits, new_worker_id)
        self.nodes = NodeTable()
        self.spillback = Spillback(spec.node_id, self.ledger, self.nodes, rng, spec.labels, spec.hybrid)
        self.leases = LeaseManager(self.ledger, self.pool, self.spillback, new_lease_id)
        self.actors = ActorHost(spec.node_id, self.ledger, self.pool)
        self.bundles = BundleKeeper(self.ledger, self.leases, self.actors)
        self.notices = ShortNotices()
        self._demand_notices = DemandNotices()
        self._commands: list[Command] = []
        self.jobs = JobTable()

    @property
    def draining(self) -> bool:
        return self.spillback.draining

    @property
    def has_gpus(self) -> bool:
        return self.spec.total.get(GPU) > 0

    # ---- jobs

    def job_started(self, record: gcs_pb2.JobRecord) -> None:
        self.jobs.started(record)
        if not self.jobs.is_over(JobId(record.job_id)):
            self.pool.job_known(JobId(record.job_id))

    def job_outlived(self, record: gcs_pb2.JobRecord) -> None:
        """A job that is over has an actor that lives on, and is about to be created here."""
        self.jobs.outlived(record)
        self.pool.job_known(JobId(record.job_id))

    def driver_attached(self, job_id: JobId) -> None:
        """A driver of this node is connected and its job is known: its first tasks find workers."""
        record = self.jobs.get(job_id)
        if record is None or self.draining or self.jobs.is_over(job_id):
            return
        try:
            key = default_key(job_id, record.runtime_env)
        except ValueError:
            return  # its leases are refused with the reason
        self.pool.start_ahead(key)

    @property
    def drained(self) -> bool:
        """It takes nothing new, and what it had taken is done."""
        return self.draining and not self.leases.busy and not len(self.actors)

    def drain(self) -> None:
        """Take nothing new from now on."""
        self.spillback.draining = True
        self.pool.stop_all_ahead()

    def survivors(self, job_id: JobId, remote: Collection[ClientId] = ()) -> set[WorkerId]:
        """The processes that outlive the job, as far as this node can know: its detached actors here, the workers of
        other nodes (`remote`), and what either has leased or created here, and so on.

        A worker of another node may be a detached actor, or serve one. If it is neither, its own node kills it, and the
        news of that ends what it leased here.
        """
        found: set[WorkerId] = set()
        actors = [(hosted, hosted.worker.id) for hosted in self.actors.of_job(job_id) if hosted.worker is not None]
        leases = [lease for lease in self.leases.all() if lease.key.job_id == job_id]
        more = {*remote, *(worker_id for hosted, worker_id in actors if hosted.spec.detached)}
        while more:
            found |= more
            more = {lease.worker_id for lease in leases if lease.client in found}
            more |= {worker_id for hosted, worker_id in actors if hosted.spec.owner.worker_id in found}
            more -= found
        return found

    def job_ended(self, job_id: JobId, at: float, remote: Collection[ClientId] = ()) -> None:
        """Kill the job's workers, but for its survivors."""
        cause = common_pb2.DeathCause(kind=common_pb2.DeathCause.JOB_FINISHED, message="the job of this worker ended")
        survivors = self.survivors(job_id, remote)
        record = self.jobs.get(job_id)
        driver = record.driver.worker_id if record is not None else b""
        for hosted in self.actors.of_job(job_id):
            owner = hosted.spec.owner
            # Whether an owner on another node is, or serves, a detached actor is for the GCS to say.
            known = owner.worker_id == driver or owner.node_id == self.spec.node_id
            if known and not hosted.spec.detached and owner.worker_id not in survivors:
                self._commands += self.actors.end(hosted.id, hosted.incarnation, cause, False, at)
        for worker in self.pool.table:
            if worker.key.job_id != job_id or worker.state is WorkerState.ENDING:
                continue
            if worker.actor_id is not None:
                continue
            if worker.id not in survivors:
                self.kill(worker, cause, at)
        self.pool.stop_ahead_of_job(job_id)
        self.jobs.ended(job_id)
        self._demand_notices.forget(job_id)
        self._drop_ended_jobs()

    def _drop_ended_jobs(self) -> None:
        # Actors of the job that are being killed, or are detached, may still need its record; so may its survivors.
        in_use = {worker.key.job_id for worker in self.pool.table if worker.state is WorkerState.LEASED}
        for gone in self.jobs.drop_ended(lambda job: job in in_use or bool(self.actors.of_job(job))):
            self.pool.forget_job(gone)

    # ---- clients

    def leases_wanted(self, request: LeaseRequest, backlog: int) -> None:
        if self.draining and not self.nodes.living():
            self._commands.append(
                RefuseLease(
                    request.client,
                    request.request_id,
                    raylet_pb2.LeaseRefused.DRAINING,
                    f"node {self.spec.node_id.hex()} drains and no other node is there",
                )
            )
            return
        self.leases.wanted(request, backlog)

    def client_gone(self, client: ClientId, at: float) -> None:
        self.leases.client_gone(client, at)
        self.notices.client_gone(client)

    # ---- workers

    def worker(self, worker_id: WorkerId) -> Worker | None:
        return self.pool.table.get(worker_id)

    def worker_ready(self, worker: Worker, at: float) -> None:
        """raises: ValueError when it reports twice."""
        if worker.state is WorkerState.ENDING:
            return
        if worker.state is not WorkerState.STARTING:
            raise ValueError(f"worker {worker.id.hex()} reported ready twice")
        self.pool.ready(worker, at)
        if worker.actor_id is None:
            self.leases.worker_ready(worker)
        else:
            self._commands += self.actors.worker_ready(worker, at)

    def exit_declined(self, worker: Worker, at: float) -> None:
        """A worker was asked to end, but others still need objects that it owns: it stays."""
        why = worker.cause.message if worker.state is WorkerState.ENDING and worker.cause is not None else ""
        if why == IDLE:
            worker.cause = None
            self.pool.table.move(worker, WorkerState.IDLE, at)
        elif why == RETIRED:
            self.pool.table.move(worker, WorkerState.RETIRED, at)

    def actor_started(self, worker: Worker, failure: common_pb2.DeathCause | None, repr_name: str, at: float) -> None:
        self._commands += self.actors.started(worker, failure, repr_name, at)

    def blocked(self, worker: Worker) -> None:
        self.leases.blocked(worker) if worker.actor_id is None else self.actors.blocked(worker)

    def unblocked(self, worker: Worker) -> None:
        self.leases.unblocked(worker) if worker.actor_id is None else self.actors.unblocked(worker)

    def worker_died(self, worker: Worker, status: int | None, lines: Sequence[str], at: float) -> WorkerDeath:
        """Its process is gone: free what it held. What it leased as a client goes by `client_gone`."""
        starting = worker.state is WorkerState.STARTING
        cause = cause_of_exit(worker.cause, status, lines, self.spec.node_id, worker.pid)
        self.pool.died(worker, at)
        if not worker.used and worker.cause is None:
            # Starting it again and again would keep the node busy for nobody.
            self.pool.stop_ahead(worker.key)
        holder = None
        if worker.actor_id is not None:
            self._commands += self.actors.worker_died(worker, cause, starting)
        else:
            lease = self.leases.worker_died(worker)
            holder = lease.client if lease is not None else None
            if starting and cause.kind == common_pb2.DeathCause.RUNTIME_ENV_FAILED:
                self.pool.stop_ahead(worker.key)
                self.leases.environment_failed(worker.key, cause.message)
            elif starting and worker.cause is None:
                self.leases.start_failed(worker.key, "; ".join([cause.message, *lines[-3:]]))
        return WorkerDeath(dead(self.spec.node_id, worker.id, cause), holder)

    def start_failed(self, worker: Worker, message: str, at: float, lacks_room: bool = False) -> None:
        """No process could be made. lacks_room: until others end.

        Those who wait for a worker of its kind go on waiting while one may come free, and are refused otherwise.
        """
        self.pool.died(worker, at)
        if worker.actor_id is not None:
            cause = common_pb2.DeathCause(kind=common_pb2.DeathCause.WORKER_DIED, message=message)
            self._commands += self.actors.worker_died(worker, cause, True)
        else:
            self.pool.stop_ahead(worker.key)
            if lacks_room:
                self.pool.pause(at)
            if not (lacks_room and self.leases.one_may_come_free(worker.key)):
                self.leases.start_failed(worker.key, message)

    def start_lost(self, worker: Worker, at: float) -> None:
        """The zygote died with this fork unanswered: another worker starts in its place, under another id."""
        self.pool.died(worker, at)
        if worker.actor_id is not None:
            self.pool.want_actor(worker.actor_id, worker.incarnation, worker.key)

    def kill(self, worker: Worker, cause: common_pb2.DeathCause, at: float) -> None:
        worker.cause = worker.cause or cause
        self.pool.end(worker, at)
        self._commands.append(KillWorker(worker.id))

    # ---- the GCS

    def create_actor(
        self, spec: actor_pb2.ActorSpec, incarnation: int, at: float, bundle_index: int | None = None
    ) -> None:
        if self.draining:
            self._commands += self.actors.reject(ActorId(spec.actor_id), incarnation)
        else:
            self._commands += self.actors.create(spec, incarnation, at, bundle_index)

    def claimed(self, claims: Iterable[gcs_pb2.Claim], at: float) -> None:
        """All that the GCS would place here if there were room. raises: ValueError for a malformed strategy."""
        self.leases.claims.replace(claims, at)

    def obey_bundle_orders(self, orders: Iterable[placement_group_pb2.BundleOrder], at: float) -> None:
        self._commands += self.bundles.obey(orders, self.draining, at)

    def end_actor(self, order: gcs_pb2.EndActor, at: float) -> None:
        self._commands += self.actors.end(ActorId(order.actor_id), order.incarnation, order.cause, order.graceful, at)

    # ---- time

    def tick(self, at: float) -> None:
        """Once a second or so: end what is idle for long or does not come up."""
        self._drop_ended_jobs()
        self.nodes.tick()
        waiting = (entry.request.group for entry in self.leases.queue.waiting())
        self.spillback.groups.retain({group.placement_group_id for group in waiting if group is not None})
        for worker in self.pool.too_old(at):
            worker.cause = common_pb2.DeathCause(kind=common_pb2.DeathCause.INTENDED, message=IDLE)
            self.pool.end(worker, at)
            self._commands.append(EndWorker(worker.id, IDLE, False, IDLE_GRACE_S))
        for worker in self.pool.too_slow(at):
            limit = self.spec.limits.start_timeout_s
            message = f"the worker did not report within worker_start_timeout_s={limit:g}"
            if worker.actor_id is None:
                self.pool.stop_ahead(worker.key)
                self.leases.start_failed(worker.key, message)
            self.kill(worker, common_pb2.DeathCause(kind=common_pb2.DeathCause.WORKER_DIED, message=message), at)

    def waits(self) -> list[Wait]:
        """What waits for something, for those who look after long waits."""
        waits = [
            Wait(("lease", *entry.id), f"{entry.open} leases of {entry.request.name or 'tasks'}", entry.reason)
            for entry in self.leases.queue.waiting()
        ]
        waits += [
            Wait(("worker", worker.id), f"worker {worker.id.hex()}", "it has not reported yet")
            for worker in self.pool.table
            if worker.state is WorkerState.STARTING
        ]
        waits += [
            Wait(("job", job_id), f"job {job_id.hex()}", "the GCS has not told of this job yet")
            for job_id in self.leases.jobs_without_workers() - set(self.jobs.ids())
        ]
        return waits

    def demand_notices(self, jobs: Collection[JobId], at: float) -> list[DemandNotice]:
        """What the drivers of these jobs should now be told of their tasks that wait. cost: O(entries)."""
        waiting = (
            WaitingDemand(
                job_id=entry.request.job_id,
                what="tasks" if entry.request.group is None else "tasks in placement groups",
                shape=shape_text(entry.request.resources),
                infeasible=entry.infeasible,
                reason=entry.reason,
                since=entry.refused_since,
            )
            for entry in self.leases.queue.waiting()
            if entry.refused_since is not None and entry.request.job_id in jobs
        )
        return self._demand_notices.take(waiting, at)

    def settle(self, at: float) -> list[Command]:
        """Serve what can be served now. returns: all commands since the last call."""
        commands, self._commands = self._commands, []
        for worker in self.pool.claim_for_actors(at):
            commands += self.actors.worker_ready(worker, at)
        commands += self.leases.serve(at)
        watch = self.spillback.groups.take_watch()
        if watch is not None:
            commands.append(WatchGroups(watch))
        unheard_of = self.spillback.inquiry.take()
        if unheard_of is not None:
            commands.append(AskForNodes(unheard_of))
        granted = {command.lease.client for command in commands if isinstance(command, GrantLease)}
        self.notices.update(self.leases.short_of(), self.leases.all(), granted)
        return commands

    def demands(self) -> list[gcs_pb2.ResourceDemand]:
        return [
            gcs_pb2.ResourceDemand(
                resources=item.key.resources.to_proto(),
                count=item.count,
                reason=item.reason,
                in_placement_groups=item.count if item.in_group else 0,
                job_id=item.key.job_id,
            )
            for item in self.leases.queue.demands()
        ]
