"""The actors that live on this node: the GCS orders, this makes them and tells what became of them."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Final

from manta_common.ids import ActorId, JobId, NodeId
from manta_common.kept_messages import KeptMessages
from manta_common.resources import ResourceSet
from manta_common.scheduling import PlacementGroup, strategy_from_proto
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2

from manta_raylet.kernel.commands import Command, EndWorker, KillWorker, NoteActorRefused, ReportActor, StartActor
from manta_raylet.kernel.lease import WorkerKey, env_vars_of, num_threads_for
from manta_raylet.resources.ledger import Allocation
from manta_raylet.resources.node_ledger import NodeLedger
from manta_raylet.workers.worker_pool import WorkerPool
from manta_raylet.workers.worker_table import Worker

END_GRACE_S: Final = 5.0
# As long, but for an actor that nobody has a handle of: its own code, __ray_shutdown__, runs at its end.
SHUTDOWN_GRACE_S: Final = 30.0
START_ATTEMPTS: Final = 3
# Failures that are told again after a reconnect, since the GCS may have lost the first report.
FAILURES_KEPT: Final = 1_000
FAILURES_BYTES: Final = 4 * 1024 * 1024


@dataclass(slots=True)
class Hosted:
    """One actor here. worker: None until its process reported; alive: its constructor returned."""

    spec: actor_pb2.ActorSpec
    incarnation: int
    allocation: Allocation
    worker: Worker | None = None
    alive: bool = False
    repr_name: str = ""
    attempts: int = 0
    # Why the GCS or the end of its job ended it; told when the process is gone.
    cause: common_pb2.DeathCause | None = None

    @property
    def id(self) -> ActorId:
        return ActorId(self.spec.actor_id)


class ActorHost:
    """At most one incarnation of an actor; a repeated order has one effect."""

    def __init__(self, node_id: NodeId, ledger: NodeLedger, pool: WorkerPool) -> None:
        self._node_id = node_id
        self._ledger = ledger
        self._pool = pool
        self._hosted: dict[ActorId, Hosted] = {}
        # How many of them have no process yet, or run their constructor.
        self.unfinished = 0
        # Those whose start began since the GCS was told last, and whether any of them holds something.
        self._taken: list[gcs_pb2.ActorReport] = []
        self.has_taken = False
        self._failures: KeptMessages[tuple[ActorId, int], gcs_pb2.ActorReport] = KeptMessages(
            gcs_pb2.ActorReport.FromString, FAILURES_KEPT, FAILURES_BYTES
        )

    def __len__(self) -> int:
        return len(self._hosted)

    def get(self, actor_id: ActorId) -> Hosted | None:
        return self._hosted.get(actor_id)

    def of_job(self, job_id: bytes) -> list[Hosted]:
        return [hosted for hosted in self._hosted.values() if hosted.spec.job_id == job_id]

    def create(
        self, spec: actor_pb2.ActorSpec, incarnation: int, at: float, bundle_index: int | None = None
    ) -> list[Command]:
        """Take its resources and want a process for it; a rejection when they are not free now.

        bundle_index: the bundle of its placement group that the GCS chose; None: any that its strategy allows.
        """
        actor_id = ActorId(spec.actor_id)
        hosted = self._hosted.get(actor_id)
        known = self._failures.get((actor_id, incarnation))
        if known is not None:
            return [ReportActor(known)]
        if hosted is not None and hosted.incarnation == incarnation:
            return [ReportActor(self._report(hosted))] if hosted.alive else []
        if hosted is not None and hosted.incarnation > incarnation:
            return [self._note(spec, f"incarnation {incarnation} is older than {hosted.incarnation}, which lives here")]
        commands: list[Command] = []
        if hosted is not None:
            commands += self._drop(hosted, at)
        try:
            env_vars = env_vars_of(spec.runtime_env)
        except ValueError as error:
            cause = common_pb2.DeathCause(kind=common_pb2.DeathCause.RUNTIME_ENV_FAILED, message=str(error))
            return [*commands, ReportActor(self._failed(actor_id, incarnation, cause, 0))]
        lifetime = ResourceSet.from_proto(spec.lifetime_resources)
        # What is only needed to place it the GCS has weighed; here counts what it holds.
        allocation = self._ledger.allocate(lifetime, _use_of(spec, bundle_index))
        if allocation is None:
            return [*commands, *self.reject(actor_id, incarnation)]
        key = WorkerKey(
            job_id=self._job_of(spec),
            runtime_env=spec.runtime_env,
            num_threads=num_threads_for(lifetime, env_vars),
            gpu_ids=self._ledger.devices_of(allocation),
        )
        self._hosted[actor_id] = Hosted(spec, incarnation, allocation)
        self.unfinished += 1
        self._taken.append(gcs_pb2.ActorReport(actor_id=actor_id, incarnation=incarnation))
        self.has_taken = self.has_taken or bool(lifetime)
        self._pool.want_actor(actor_id, incarnation, key)
        return commands

    def worker_ready(self, worker: Worker, at: float) -> list[Command]:
        """Its process reported: the constructor may run. One that nobody waits for any more ends."""
        hosted = self._of(worker)
        if hosted is None:
            self._pool.end(worker, at)
            return [KillWorker(worker.id)]
        hosted.worker = worker
        return [StartActor(worker.id, hosted.spec, hosted.incarnation, worker.key.gpu_ids)]

    def started(
        self, worker: Worker, failure: common_pb2.DeathCause | None, repr_name: str, at: float
    ) -> list[Command]:
        """The constructor returned, or raised: then the failure is told now and the process ends."""
        hosted = self._of(worker)
        if hosted is None:
            return []
        hosted.repr_name = repr_name
        if failure is None:
            self.unfinished -= not hosted.alive
            hosted.alive = True
            return [ReportActor(self._report(hosted))]
        report = self._gone(hosted, failure, worker.pid)
        if self._pool.end(worker, at):
            worker.cause = failure
            return [report, EndWorker(worker.id, "the constructor raised", True, END_GRACE_S)]
        return [report]

    def end(
        self, actor_id: ActorId, incarnation: int, cause: common_pb2.DeathCause, graceful: bool, at: float
    ) -> list[Command]:
        """End that incarnation; when it is not here, say so, for the GCS waits to hear."""
        hosted = self._hosted.get(actor_id)
        if hosted is None or hosted.incarnation != incarnation:
            known = self._failures.get((actor_id, incarnation))
            return [ReportActor(known or self._failed(actor_id, incarnation, cause, 0))]
        hosted.cause = cause
        worker = hosted.worker
        if worker is None:
            return [*self._drop(hosted, at), self._gone(hosted, cause, 0)]
        worker.cause = cause
        if not graceful:
            self._pool.end(worker, at)
            return [KillWorker(worker.id)]
        if not self._pool.end(worker, at):
            return []
        return [EndWorker(worker.id, cause.message or "the actor ends", False, SHUTDOWN_GRACE_S)]

    def evict(self, allocations: Set[int], cause: common_pb2.DeathCause, at: float) -> list[Command]:
        """What these hold is wanted back: the actors end, and the GCS decides what comes of them."""
        users = [hosted for hosted in self._hosted.values() if hosted.allocation.number in allocations]
        return [c for hosted in users for c in self.end(hosted.id, hosted.incarnation, cause, False, at)]

    @staticmethod
    def reject(actor_id: ActorId, incarnation: int) -> list[Command]:
        """Not here, not now: the GCS places it again."""
        return [ReportActor(gcs_pb2.ActorReport(actor_id=actor_id, incarnation=incarnation, rejected=True))]

    def worker_died(self, worker: Worker, cause: common_pb2.DeathCause, starting: bool) -> list[Command]:
        """starting: it never reported; then the actor gets another process, up to START_ATTEMPTS in all, unless it said
        that its environment cannot be made."""
        hosted = self._of(worker)
        if hosted is None:
            return []
        hosted.attempts += 1
        again = starting and cause.kind != common_pb2.DeathCause.RUNTIME_ENV_FAILED
        if again and hosted.cause is None and hosted.attempts < START_ATTEMPTS:
            self._pool.want_actor(hosted.id, hosted.incarnation, worker.key)
            return []
        return [self._gone(hosted, hosted.cause or cause, worker.pid)]

    def blocked(self, worker: Worker) -> None:
        hosted = self._of(worker)
        if hosted is not None:
            self._ledger.lend(hosted.allocation.number)

    def unblocked(self, worker: Worker) -> None:
        hosted = self._of(worker)
        if hosted is not None:
            self._ledger.take_back(hosted.allocation.number)

    def present(self) -> list[gcs_pb2.ActorReport]:
        """For a GCS that we attach to: the actors that are alive here, and those that are being started."""
        return [self._report(hosted) for hosted in self._hosted.values()]

    def take_taken(self) -> list[gcs_pb2.ActorReport]:
        """For the next heartbeat: the actors whose start began since the last one, and that what is free counts.

        Else the GCS would count them twice until their constructors return, and could not tell those that a node which
        leaves never began from those that were lost with it.
        """
        taken, self._taken, self.has_taken = self._taken, [], False
        return taken

    def failures(self) -> list[gcs_pb2.ActorReport]:
        """The last failures, oldest first; a GCS that knows them drops them by their incarnation."""
        return list(self._failures.values())

    def _of(self, worker: Worker) -> Hosted | None:
        if worker.actor_id is None:
            return None
        hosted = self._hosted.get(worker.actor_id)
        return hosted if hosted is not None and hosted.incarnation == worker.incarnation else None

    def _drop(self, hosted: Hosted, at: float) -> list[Command]:
        """Let go of an actor whose process is not there yet, or is superseded."""
        self._pool.forget_actor(hosted.id, hosted.incarnation)
        self._free(hosted)
        if hosted.worker is None:
            # A start that was asked for already is answered by worker_ready, which finds nobody and ends it.
            return []
        self._pool.end(hosted.worker, at)
        return [KillWorker(hosted.worker.id)]

    def _gone(self, hosted: Hosted, cause: common_pb2.DeathCause, pid: int) -> ReportActor:
        self._free(hosted)
        return ReportActor(self._failed(hosted.id, hosted.incarnation, cause, pid, hosted.repr_name))

    def _free(self, hosted: Hosted) -> None:
        if self._hosted.get(hosted.id) is hosted:
            del self._hosted[hosted.id]
            self.unfinished -= not hosted.alive
            self._ledger.free(hosted.allocation.number)

    def _failed(
        self, actor_id: ActorId, incarnation: int, cause: common_pb2.DeathCause, pid: int, repr_name: str = ""
    ) -> gcs_pb2.ActorReport:
        report = gcs_pb2.ActorReport(
            actor_id=actor_id, incarnation=incarnation, failure=cause, pid=pid, repr_name=repr_name
        )
        report.failure.node_id = self._node_id
        self._failures.add((actor_id, incarnation), report)
        return report

    def _report(self, hosted: Hosted) -> gcs_pb2.ActorReport:
        worker = hosted.worker
        if worker is None or not hosted.alive:
            return gcs_pb2.ActorReport(actor_id=hosted.id, incarnation=hosted.incarnation)
        return gcs_pb2.ActorReport(
            actor_id=hosted.id,
            incarnation=hosted.incarnation,
            address=common_pb2.WorkerAddress(node_id=self._node_id, worker_id=worker.id),
            pid=worker.pid,
            repr_name=hosted.repr_name,
        )

    @staticmethod
    def _job_of(spec: actor_pb2.ActorSpec) -> JobId:
        return JobId(spec.job_id)

    @staticmethod
    def _note(spec: actor_pb2.ActorSpec, reason: str) -> NoteActorRefused:
        return NoteActorRefused(ActorId(spec.actor_id), JobId(spec.job_id), reason)


def _use_of(spec: actor_pb2.ActorSpec, bundle_index: int | None) -> PlacementGroup | None:
    use = strategy_from_proto(spec.strategy)
    if not isinstance(use, PlacementGroup):
        return None
    return use if bundle_index is None else replace(use, bundle_index=bundle_index)
