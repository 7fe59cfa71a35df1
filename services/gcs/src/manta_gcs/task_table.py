"""What is known of tasks: those that go on, and the latest of those that are over. In memory only.

A task that is over costs no work of its own: its owner tells of many at once, in columns, and a group of columns is
kept and dropped as a whole. Only those that were told of while they went on are looked up.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from manta_common.ids import TASK_ID_SIZE
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import task_pb2

from manta_gcs.events import Moment

# Attempts of which details are kept, over all jobs.
TASK_LIMIT: Final = 100_000
# Running tasks whose owners have not told of them yet.
EARLY_LIMIT: Final = 10_000
# Functions that are counted by name; calls of others are counted together.
FUNCTION_LIMIT: Final = 10_000
OTHERS: Final = "(others)"
# What a process told before it ended may arrive after the news of its end, by another way.
LINGER_S: Final = 5.0

Status = task_pb2.TaskStatus
_WAITING: Final = (task_pb2.SUBMITTED_TO_WORKER, task_pb2.PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY)


class Live(NamedTuple):
    """An attempt that goes on. The message is the table's own and changes as news come."""

    kind: task_pb2.TaskKind
    task: task_pb2.LiveTask

    @property
    def status(self) -> task_pb2.TaskStatus:
        return self.task.running or self.task.status


class Finished(NamedTuple):
    """Attempts of one kind that ended alike in one place."""

    kind: task_pb2.TaskKind
    tasks: task_pb2.FinishedTasks

    @property
    def size(self) -> int:
        return len(self.tasks.task_ids) // TASK_ID_SIZE


class CountedAs(NamedTuple):
    function: str
    type: task_pb2.TaskType
    status: task_pb2.TaskStatus


class Owner:
    """A process with live tasks."""

    __slots__ = ("node_id", "tasks")

    def __init__(self, node_id: bytes) -> None:
        self.node_id = node_id
        self.tasks: dict[bytes, None] = {}


class TaskTable:
    """At most `limit` attempts. Beyond it finished ones of the job that has most leave first, the oldest first."""

    def __init__(self, limit: int = TASK_LIMIT, function_limit: int = FUNCTION_LIMIT) -> None:
        self._limit = limit
        self._function_limit = function_limit
        self._live: dict[bytes, Live] = {}
        self._owners: dict[bytes, Owner] = {}
        self._gone: dict[bytes, float] = {}
        self._early: dict[bytes, task_pb2.RunningTask] = {}
        self._finished: defaultdict[bytes, deque[Finished]] = defaultdict(deque)
        self._finished_of: Counter[bytes] = Counter()
        self._finished_count = 0
        self._functions: set[str] = set()
        self._counts: Counter[CountedAs] = Counter()
        # Attempts of which the details are gone, here or at their owners.
        self.dropped = 0
        # Tasks that ran again for lost results, and lost objects that could not be computed again.
        self.reconstructed = 0
        self.unrecovered = 0

    def __len__(self) -> int:
        return len(self._live) + self._finished_count

    def live(self) -> Iterator[Live]:
        """Oldest first."""
        return iter(self._live.values())

    def finished(self) -> Iterator[Finished]:
        """The latest of each job first."""
        for groups in self._finished.values():
            yield from reversed(groups)

    def counts(self) -> dict[CountedAs, int]:
        """By function, type and state: the live ones now, and all that ever ended, also those dropped since."""
        return {key: count for key, count in self._counts.items() if count}

    def take(self, events: task_pb2.TaskEvents) -> str:
        """What a process tells. returns: what is malformed in it, and was left out; else empty."""
        wrong = ""
        for tasks in events.finished:
            fault = _fault(tasks, len(events.kinds))
            if fault:
                wrong = fault
            else:
                self._end(Finished(events.kinds[tasks.kind], tasks))
        for task in events.live:
            if task.kind < len(events.kinds) and len(task.task_id) == TASK_ID_SIZE:
                task.owner = events.teller.worker_id
                self._begin(Live(events.kinds[task.kind], task), events.teller.node_id)
            else:
                wrong = f"live task {task.task_id.hex()!r} of kind {task.kind}"
        for running in events.running:
            self._running(running, events)
        self.dropped += events.dropped
        self.reconstructed += events.reconstructed
        self.unrecovered += events.unrecovered
        self._make_room()
        return wrong

    def owner_gone(self, worker_id: bytes, at: Moment) -> None:
        """A process died, or its job is over: what it owned and goes on will not be told over."""
        if worker_id in self._owners:
            self._gone.setdefault(worker_id, at.steady)

    def node_gone(self, node_id: bytes, at: Moment) -> None:
        for worker_id in [owner for owner, entry in self._owners.items() if entry.node_id == node_id]:
            self.owner_gone(worker_id, at)

    def deadline(self) -> float | None:
        """When (Moment.steady) expire() has something to do."""
        return next(iter(self._gone.values())) + LINGER_S if self._gone else None

    def expire(self, at: Moment) -> None:
        """End what the dead left behind."""
        due = [owner for owner, gone_at in self._gone.items() if at.steady - gone_at >= LINGER_S]
        for worker_id in due:
            del self._gone[worker_id]
            owner = self._owners.get(worker_id)
            for task_id in list(owner.tasks) if owner is not None else ():
                live = self._forget(task_id)
                if live is not None:
                    self._end(_lost(live, at.wall))

    def _begin(self, live: Live, node_id: bytes) -> None:
        task_id = live.task.task_id
        before = self._forget(task_id)
        if before is not None and before.task.attempt == live.task.attempt and live.task.status in _WAITING:
            live.task.running, live.task.started_at = before.task.running, before.task.started_at
        self._live[task_id] = live
        owner = self._owners.setdefault(live.task.owner, Owner(node_id))
        owner.tasks[task_id] = None
        self._count(live, 1)
        early = self._early.pop(task_id, None)
        if early is not None and early.attempt == live.task.attempt:
            self._mark(live, early)

    def _running(self, running: task_pb2.RunningTask, events: task_pb2.TaskEvents) -> None:
        live = self._live.get(running.task_id)
        if live is not None:
            if live.task.attempt == running.attempt:
                live.task.worker.CopyFrom(events.teller)
                live.task.worker_pid = events.pid
                self._mark(live, running)
            return
        # Its owner tells later, or has told already that it is over.
        self._early[running.task_id] = running
        if len(self._early) > EARLY_LIMIT:
            del self._early[next(iter(self._early))]

    def _mark(self, live: Live, running: task_pb2.RunningTask) -> None:
        self._count(live, -1)
        live.task.running, live.task.started_at = running.status, running.started_at
        self._count(live, 1)

    def _forget(self, task_id: bytes) -> Live | None:
        live = self._live.pop(task_id, None)
        if live is not None:
            self._count(live, -1)
            owner = self._owners[live.task.owner]
            del owner.tasks[task_id]
            if not owner.tasks:
                del self._owners[live.task.owner]
        return live

    def _end(self, group: Finished) -> None:
        tasks, count = group.tasks, group.size
        if tasks.told:
            for start in range(0, len(tasks.task_ids), TASK_ID_SIZE):
                self._forget(tasks.task_ids[start : start + TASK_ID_SIZE])
        self._finished[group.kind.job_id].append(group)
        self._finished_of[group.kind.job_id] += count
        self._finished_count += count
        self._counts[self._counted_as(group.kind, tasks.status)] += count

    def _make_room(self) -> None:
        while len(self) > self._limit:
            if self._finished_count:
                job_id = max(self._finished_of, key=lambda job: self._finished_of[job])
                count = self._finished[job_id].popleft().size
                self._finished_count -= count
                self._finished_of[job_id] -= count
                if not self._finished[job_id]:
                    del self._finished[job_id], self._finished_of[job_id]
                self.dropped += count
            else:
                self._forget(next(iter(self._live)))
                self.dropped += 1

    def _count(self, live: Live, by: int) -> None:
        self._counts[self._counted_as(live.kind, live.status)] += by

    def _counted_as(self, kind: task_pb2.TaskKind, status: task_pb2.TaskStatus) -> CountedAs:
        function = kind.function
        if function not in self._functions:
            if len(self._functions) >= self._function_limit:
                return CountedAs(OTHERS, kind.type, status)
            self._functions.add(function)
        return CountedAs(function, kind.type, status)


def _fault(tasks: task_pb2.FinishedTasks, kinds: int) -> str:
    """Why a group cannot be taken; empty when it can."""
    count, rest = divmod(len(tasks.task_ids), TASK_ID_SIZE)
    columns = (tasks.created_at, tasks.queued_at, tasks.sent_at, tasks.ended_at, tasks.execution_us)
    if rest or not count or {len(column) for column in columns} != {count} or len(tasks.attempts) not in (0, count):
        return f"a group of {count} finished tasks has columns of other lengths"
    if len(tasks.parent_ids) not in (0, TASK_ID_SIZE, TASK_ID_SIZE * count):
        return f"a group of {count} finished tasks has {len(tasks.parent_ids)} bytes of parents"
    return "" if tasks.kind < kinds else f"finished tasks are of kind {tasks.kind}, and {kinds} were told"


def _lost(live: Live, wall: float) -> Finished:
    """An attempt whose end nobody will tell."""
    task = live.task
    tasks = task_pb2.FinishedTasks(
        worker=task.worker if task.HasField("worker") else common_pb2.WorkerAddress(),
        worker_pid=task.worker_pid,
        status=task_pb2.FAILED,
        error_type="OWNER_DIED",
        error_message="the process that submitted it ended before the task did",
        task_ids=task.task_id,
        parent_ids=task.parent_id,
        attempts=[task.attempt],
        created_at=[task.created_at],
        queued_at=[task.queued_at],
        sent_at=[task.sent_at],
        ended_at=[wall],
        execution_us=[int(max(0.0, wall - task.started_at) * 1e6) if task.started_at else 0],
    )
    return Finished(live.kind, tasks)
