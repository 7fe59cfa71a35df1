"""A simulated driver: the real core that matches tasks to leases, and tasks that are nothing but time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from manta_common.ids import JobId, LeaseId, NodeId, WorkerId
from manta_common.resources import ResourceSet
from ray._runtime.specs.task_record import TaskRecord, Timing
from ray._runtime.tasks.lease_demand import Place
from ray._runtime.tasks.lease_manager import (
    AskLeases,
    CancelLeases,
    Command,
    IdleTimer,
    LeaseManager,
    Push,
    ReturnLease,
    SchedulingKey,
)

if TYPE_CHECKING:
    from tests.sim.scheduling import Cluster

LEASE_IDLE_S = 0.1


class SimOwner:
    """Submits tasks and counts what becomes of them. Invariant: a task ends once, and what was lost runs again."""

    def __init__(self, cluster: Cluster, worker_id: WorkerId, job_id: JobId, home: NodeId) -> None:
        self.id, self.job_id, self.home = worker_id, job_id, home
        self.manager = LeaseManager()
        self.done: dict[bytes, float] = {}
        self.submitted: dict[bytes, float] = {}
        self._cluster = cluster
        self._duration_s: dict[bytes, float] = {}
        self._timings: dict[float, Timing] = {}

    def key(self, resources: ResourceSet, **more: object) -> SchedulingKey:
        one_each = bool(more.pop("one_each", False))
        return self.manager.new_key({"resources": resources, **more}, one_each=one_each)

    def submit(self, key: SchedulingKey, count: int, duration_s: float) -> None:
        timing = self._timings.setdefault(duration_s, Timing())
        now = self._cluster.clock.now
        for _ in range(count):
            task = TaskRecord(self._cluster.new_id(24), "f", 1, None, None, timing, 3)
            self.submitted[task.task_id], self._duration_s[task.task_id] = now, duration_s
            key.queue.append(task)
        self._perform(self.manager.assign(key))

    @property
    def finished(self) -> bool:
        return len(self.done) == len(self.submitted)

    def wait_of(self, task_id: bytes) -> float:
        """From its submission to its end, without what it ran."""
        return self.done[task_id] - self.submitted[task_id] - self._duration_s[task_id]

    # ---- events

    def granted(self, request_id: int, lease_id: LeaseId, worker: tuple[NodeId, WorkerId], hops: int) -> None:
        key = self.manager.key_of(request_id)
        assert key is not None
        self._perform(self.manager.granted(key, lease_id, worker, self._place(worker[0], hops)))

    def spilled(self, at: NodeId, request_id: int, better: NodeId, count: int, hops: int) -> None:
        key = self.manager.key_of(request_id)
        assert key is not None
        self._perform(self.manager.spilled(key, self._place(at, hops - 1), self._place(better, hops), count))

    def short(self) -> None:
        self._perform(self.manager.short())

    def worker_gone(self, worker_id: WorkerId) -> None:
        for lease in list(self.manager.leases()):
            if lease.route[1] == worker_id:  # type: ignore[index]
                tasks, key = self.manager.worker_gone(lease.lease_id)
                if key is not None:
                    self._perform(self.manager.requeue(key, tasks))

    def node_gone(self, node_id: NodeId) -> None:
        self._perform(self.manager.raylet_gone(node_id))
        for lease in list(self.manager.leases()):
            if lease.route[0] == node_id:  # type: ignore[index]
                self.worker_gone(lease.route[1])  # type: ignore[index]

    def _place(self, node_id: NodeId, hops: int) -> Place:
        return Place(b"" if node_id == self.home else node_id, hops)

    def _task_done(self, lease_id: bytes, task_id: bytes) -> None:
        lease = self.manager.lease(lease_id)
        if lease is None or task_id not in lease.in_flight:
            return  # its worker died first
        assert task_id not in self.done, f"seed {self._cluster.clock.seed}: a task ended twice"
        self.done[task_id] = self._cluster.clock.now
        lease.in_flight[task_id].timing.ran(int(self._duration_s[task_id] * 1e6))
        self._perform(self.manager.finished(lease_id, [task_id]))

    # ---- the core's commands

    def _perform(self, commands: Iterable[Command] | None) -> None:
        clock = self._cluster.clock
        for command in commands or ():
            match command:
                case Push(lease=lease, tasks=tasks):
                    self._cluster.run_tasks(self, lease.route, lease.lease_id, tasks)  # type: ignore[arg-type]
                case AskLeases(key=key, wanted=wanted, place=place):
                    self._cluster.ask(self, key, NodeId(place.node_id) or self.home, wanted, place.hops)
                case CancelLeases(key=key, node_ids=node_ids):
                    for node_id in node_ids:
                        self._cluster.cancel(self, key.request_id, NodeId(node_id) or self.home)
                case ReturnLease(lease=lease):
                    self._cluster.give_back(self, lease.route[0], LeaseId(lease.lease_id))  # type: ignore[index]
                case IdleTimer(lease=lease, mark=mark):
                    clock.after(LEASE_IDLE_S, lambda le=lease, m=mark: self._perform(self.manager.lease_idle(le, m)))

    def run_on_worker(self, worker: tuple[NodeId, WorkerId], lease_id: bytes, tasks: Iterable[TaskRecord]) -> None:
        """One after the other, behind what that worker has before."""
        cluster = self._cluster
        free_at = cluster.worker_busy_until.get(worker[1], 0.0)
        at = max(cluster.clock.now, free_at)
        for task in tasks:
            at += self._duration_s[task.task_id]
            cluster.clock.at(at, lambda t=task: cluster.reply(self, worker, lease_id, t.task_id))
        cluster.worker_busy_until[worker[1]] = at

    def task_done(self, lease_id: bytes, task_id: bytes) -> None:
        self._task_done(lease_id, task_id)
