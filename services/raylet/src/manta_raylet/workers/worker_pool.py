"""The worker pool's policy: when workers start, which are reused, which are ended for idleness."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from manta_common.ids import ActorId, JobId, WorkerId

from manta_raylet.kernel.lease import WorkerKey
from manta_raylet.workers.worker_table import Worker, WorkerState, WorkerTable

# After a start for which there was no room.
NO_ROOM_PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """concurrent_starts: forks asked for and not yet ready. workers: processes in all; further starts wait.

    ahead: workers of one kind that are started before anybody asks, at most; and never more than CPUs.
    """

    cpus: int
    concurrent_starts: int
    workers: int = 4_000
    ahead: int = 8
    idle_timeout_s: float = 60.0
    start_timeout_s: float = 60.0


class WorkerPool:
    """Holds the worker table; decides starts and ends. Time comes with each call, in seconds of any steady clock."""

    def __init__(self, limits: PoolLimits, new_worker_id: Callable[[], WorkerId]) -> None:
        self.limits = limits
        self.table = WorkerTable()
        self._new_worker_id = new_worker_id
        self._jobs: set[JobId] = set()
        self._actor_starts: deque[tuple[ActorId, int, WorkerKey]] = deque()
        self._starting: dict[WorkerKey, int] = {}
        self._ahead: dict[WorkerKey, None] = {}
        # The machine had no room for another process; until then only actors try.
        self._paused_until = 0.0

    def job_known(self, job_id: JobId) -> None:
        """What a worker of this job needs has arrived; before, its starts wait."""
        self._jobs.add(job_id)

    def forget_job(self, job_id: JobId) -> None:
        self._jobs.discard(job_id)

    def start_ahead(self, key: WorkerKey) -> None:
        """Leases of this kind will be asked for: have workers before."""
        self._ahead[key] = None

    def stop_ahead(self, key: WorkerKey) -> None:
        """Its workers do not come up; those who ask for one are to be told, nobody else is to try."""
        self._ahead.pop(key, None)

    def stop_ahead_of_job(self, job_id: JobId) -> None:
        self._ahead = {key: None for key in self._ahead if key.job_id != job_id}

    def stop_all_ahead(self) -> None:
        self._ahead.clear()

    def pause(self, at: float) -> None:
        """There was no room for another process: try again when one has ended, or after a while."""
        self._paused_until = at + NO_ROOM_PAUSE_S

    def has_spare(self, key: WorkerKey) -> bool:
        """Whether a worker of the kind, for tasks, starts or is idle."""
        return key in self._starting or self.table.has_idle(key)

    def want_actor(self, actor_id: ActorId, incarnation: int, key: WorkerKey) -> None:
        """An actor gets a process of its own, in the order asked."""
        self._actor_starts.append((actor_id, incarnation, key))

    def forget_actor(self, actor_id: ActorId, incarnation: int) -> bool:
        """returns: whether its start had not been asked for yet, and now never will be."""
        before = len(self._actor_starts)
        self._actor_starts = deque(item for item in self._actor_starts if item[:2] != (actor_id, incarnation))
        return len(self._actor_starts) < before

    def starts(self, waiting: dict[WorkerKey, int], at: float) -> list[Worker]:
        """The workers to start now. waiting: key -> leases that have their resources but no worker."""
        started: list[Worker] = []
        held_back: list[tuple[ActorId, int, WorkerKey]] = []
        while self._actor_starts and self._may_start():
            actor_id, incarnation, key = self._actor_starts.popleft()
            if key.job_id not in self._jobs:
                held_back.append((actor_id, incarnation, key))
                continue
            started.append(self._start(Worker(self._new_worker_id(), key, at, actor_id, incarnation)))
        self._actor_starts.extendleft(reversed(held_back))
        if at < self._paused_until:
            return started
        for key, count in waiting.items():
            if key.job_id not in self._jobs:
                continue
            while self._starting.get(key, 0) < count and self._may_start():
                started.append(self._start_for_tasks(key, at))
        for key in self._ahead:
            while key.job_id in self._jobs and self._may_start() and self._one_more_ahead(key):
                started.append(self._start_for_tasks(key, at))
        return started

    def claim_for_actors(self, at: float) -> list[Worker]:
        """Idle workers that now belong to actors, which then need no start. Only ones that were never leased: an
        actor's end would take the objects that tasks left in its worker along."""
        claimed: list[Worker] = []
        waiting = len(self._actor_starts) if self.table.count(WorkerState.IDLE) else 0
        for _ in range(waiting):
            actor_id, incarnation, key = self._actor_starts.popleft()
            worker = self.table.oldest_unused(key)
            if worker is None:
                self._actor_starts.append((actor_id, incarnation, key))
                continue
            self.table.move(worker, WorkerState.ACTOR, at)
            worker.actor_id, worker.incarnation = actor_id, incarnation
            claimed.append(worker)
        return claimed

    def ready(self, worker: Worker, at: float) -> None:
        """A started worker reported: it is idle, or an actor is made in it."""
        self._uncount(worker)
        worker.started_at = at
        self.table.move(worker, WorkerState.ACTOR if worker.actor_id is not None else WorkerState.IDLE, at)

    def claim(self, key: WorkerKey, at: float) -> Worker | None:
        """The idle worker that was used last, now leased; None when there is none."""
        worker = self.table.newest_idle(key)
        if worker is not None:
            self.table.move(worker, WorkerState.LEASED, at)
            worker.used = True
        return worker

    def give_back(self, worker: Worker, retire: bool, at: float) -> bool:
        """A lease on it ended. returns: whether the worker must end; one that used a GPU always does.

        The memory that its libraries took on the device is free again only when the process is gone.
        """
        worker.lease_id = None
        ends = retire or bool(worker.key.gpu_ids)
        self.table.move(worker, WorkerState.ENDING if ends else WorkerState.IDLE, at)
        return ends

    def end(self, worker: Worker, at: float) -> bool:
        """Mark it as ending. returns: False when it was already."""
        if worker.state is WorkerState.ENDING:
            return False
        self._uncount(worker)
        self.table.move(worker, WorkerState.ENDING, at)
        return True

    def died(self, worker: Worker, at: float) -> None:
        self._paused_until = 0.0
        self._uncount(worker)
        self.table.move(worker, WorkerState.DEAD, at)

    def too_old(self, at: float) -> list[Worker]:
        """Idle workers to end: beyond one a CPU, those that were not used for the timeout, oldest first."""
        idle = self.table.idle()
        surplus = max(0, len(idle) - self.limits.cpus)
        return [worker for worker in idle[:surplus] if at - worker.since >= self.limits.idle_timeout_s]

    def too_slow(self, at: float) -> list[Worker]:
        """Workers that were asked for and did not report in time."""
        return [
            worker
            for worker in self.table
            if worker.state is WorkerState.STARTING and at - worker.since >= self.limits.start_timeout_s
        ]

    @property
    def queued_actors(self) -> int:
        return len(self._actor_starts)

    def _may_start(self) -> bool:
        starting = self.table.count(WorkerState.STARTING)
        return starting < self.limits.concurrent_starts and len(self.table) < self.limits.workers

    def _one_more_ahead(self, key: WorkerKey) -> bool:
        """At most a CPU's worth of workers that nobody has asked for, over all kinds."""
        cpus = self.limits.cpus
        spare = self.table.count(WorkerState.IDLE) + sum(self._starting.values())
        of_kind = self.table.tasks_workers(key)
        if spare >= cpus or of_kind >= cpus:
            return False
        return of_kind < self.limits.ahead or not (self.table.has_idle(key) or key in self._starting)

    def _start_for_tasks(self, key: WorkerKey, at: float) -> Worker:
        self._starting[key] = self._starting.get(key, 0) + 1
        return self._start(Worker(self._new_worker_id(), key, at))

    def _start(self, worker: Worker) -> Worker:
        self.table.add(worker)
        return worker

    def _uncount(self, worker: Worker) -> None:
        if worker.state is WorkerState.STARTING and worker.actor_id is None:
            left = self._starting.get(worker.key, 0) - 1
            if left > 0:
                self._starting[worker.key] = left
            else:
                self._starting.pop(worker.key, None)
