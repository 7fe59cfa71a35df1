"""What is known of tasks: those that go on, and the latest of those that are over. In memory only.

A task that is over costs no work of its own: its owner tells of many at once, in columns, and a group of columns is
kept and dropped as a whole. Only those that were told of while they went on are looked up.

What is kept is kept as bytes, and parsed for an answer: a part of a parsed message would hold all of it, and take
several times its bytes.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from manta_common.ids import TASK_ID_SIZE
from manta_common.kept_messages import ENTRY_BYTES
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import task_pb2

from manta_gcs.kernel.events import Moment

# Attempts of which details are kept, over all jobs, and their bytes.
TASK_LIMIT: Final = 100_000
BYTES_LIMIT: Final = 64 * 1024 * 1024
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
    """An attempt that goes on, for an answer."""

    kind: task_pb2.TaskKind
    task: task_pb2.LiveTask

    @property
    def status(self) -> task_pb2.TaskStatus:
        return self.task.running or self.task.status


class Finished:
    """Attempts of one kind that ended alike in one place, for an answer. The columns are parsed if that needs them."""

    __slots__ = ("_parse", "_tasks", "kind", "size", "status")

    def __init__(
        self,
        kind: task_pb2.TaskKind,
        status: task_pb2.TaskStatus,
        size: int,
        parse: Callable[[], task_pb2.FinishedTasks],
    ) -> None:
        self.kind, self.status, self.size = kind, status, size
        self._parse = parse
        self._tasks: task_pb2.FinishedTasks | None = None

    @property
    def tasks(self) -> task_pb2.FinishedTasks:
        if self._tasks is None:
            self._tasks = self._parse()
        return self._tasks


class _Kind:
    """What attempts have in common, once for all that have it. users: entries of the table."""

    __slots__ = ("function", "job_id", "raw", "type", "users")

    def __init__(self, raw: bytes, kind: task_pb2.TaskKind) -> None:
        self.raw = raw
        self.function, self.type, self.job_id = kind.function, kind.type, kind.job_id
        self.users = 0


class _Group(NamedTuple):
    """A group of finished attempts."""

    kind: _Kind
    status: task_pb2.TaskStatus
    size: int
    raw: bytes

    def parse(self) -> task_pb2.FinishedTasks:
        return task_pb2.FinishedTasks.FromString(self.raw)


class _Early(NamedTuple):
    """What a worker told of a task of which its owner has told nothing yet."""

    attempt: int
    status: task_pb2.TaskStatus
    started_at: float


class _Going:
    """An attempt that goes on: as its owner told, and what is known of it since."""

    __slots__ = ("attempt", "kind", "owner", "raw", "running", "started_at", "status", "worker", "worker_pid")

    def __init__(self, kind: _Kind, task: task_pb2.LiveTask, owner: bytes) -> None:
        self.kind = kind
        self.raw = task.SerializeToString()
        self.attempt, self.status, self.owner = task.attempt, task.status, owner
        self.running, self.started_at = task.running, task.started_at
        self.worker: common_pb2.WorkerAddress | None = None
        self.worker_pid = 0

    @property
    def shown(self) -> task_pb2.TaskStatus:
        return self.running or self.status

    def message(self) -> task_pb2.LiveTask:
        task = task_pb2.LiveTask.FromString(self.raw)
        task.owner, task.running, task.started_at = self.owner, self.running, self.started_at
        if self.worker is not None:
            task.worker.CopyFrom(self.worker)
            task.worker_pid = self.worker_pid
        return task


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


class ParsedKinds:
    """The kinds of one answer in the making, which tells them apart by their identity."""

    def __init__(self) -> None:
        self._messages: dict[bytes, task_pb2.TaskKind] = {}

    def of(self, kind: _Kind) -> task_pb2.TaskKind:
        message = self._messages.get(kind.raw)
        if message is None:
            message = self._messages[kind.raw] = task_pb2.TaskKind.FromString(kind.raw)
        return message


class _Kinds:
    """The kinds that entries of the table have."""

    def __init__(self) -> None:
        self._kinds: dict[bytes, _Kind] = {}

    def use(self, message: task_pb2.TaskKind) -> _Kind:
        raw = message.SerializeToString()
        kind = self._kinds.get(raw)
        if kind is None:
            kind = self._kinds[raw] = _Kind(raw, message)
        kind.users += 1
        return kind

    def let_go(self, kind: _Kind) -> int:
        """returns: the bytes that this frees."""
        kind.users -= 1
        if kind.users:
            return 0
        del self._kinds[kind.raw]
        return len(kind.raw) + ENTRY_BYTES


class TaskTable:
    """At most `limit` attempts, in at most `limit_bytes`, about.

    Beyond that finished ones of the job that has most leave first, the oldest first.
    """

    def __init__(
        self, limit: int = TASK_LIMIT, function_limit: int = FUNCTION_LIMIT, limit_bytes: int = BYTES_LIMIT
    ) -> None:
        self._limit, self._limit_bytes = limit, limit_bytes
        self._function_limit = function_limit
        self._kinds = _Kinds()
        self._live: dict[bytes, _Going] = {}
        self._owners: dict[bytes, Owner] = {}
        self._gone: dict[bytes, float] = {}
        self._early: dict[bytes, _Early] = {}
        self._finished: defaultdict[bytes, deque[_Group]] = defaultdict(deque)
        self._finished_of: Counter[bytes] = Counter()
        self._finished_count = 0
        self._functions: set[str] = set()
        self._counts: Counter[CountedAs] = Counter()
        self.bytes = 0  # in use, about
        # Attempts of which the details are gone, here or at their owners.
        self.dropped = 0
        # Tasks that ran again for lost results, and lost objects that could not be computed again.
        self.reconstructed = 0
        self.unrecovered = 0

    def __len__(self) -> int:
        return len(self._live) + self._finished_count

    def live(self, kinds: ParsedKinds | None = None) -> Iterator[Live]:
        """Oldest first. kinds: those of the same answer."""
        kinds = kinds or ParsedKinds()
        for going in self._live.values():
            yield Live(kinds.of(going.kind), going.message())

    def finished(self, kinds: ParsedKinds | None = None) -> Iterator[Finished]:
        """The latest of each job first. kinds: those of the same answer."""
        kinds = kinds or ParsedKinds()
        for groups in self._finished.values():
            for group in reversed(groups):
                yield Finished(kinds.of(group.kind), group.status, group.size, group.parse)

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
                self._end(events.kinds[tasks.kind], tasks)
        for task in events.live:
            if task.kind < len(events.kinds) and len(task.task_id) == TASK_ID_SIZE:
                self._begin(events.kinds[task.kind], task, events.teller)
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
                going = self._live[task_id]
                kind = task_pb2.TaskKind.FromString(going.kind.raw)
                lost = _lost(going.message(), at.wall)
                self._forget(task_id)
                self._end(kind, lost)

    def _begin(self, kind: task_pb2.TaskKind, task: task_pb2.LiveTask, teller: common_pb2.WorkerAddress) -> None:
        task_id = task.task_id
        before = self._forget(task_id)
        going = _Going(self._use(kind), task, teller.worker_id)
        if before is not None and before.attempt == going.attempt and going.status in _WAITING:
            going.running, going.started_at = before.running, before.started_at
        self._live[task_id] = going
        self.bytes += len(going.raw) + ENTRY_BYTES
        owner = self._owners.setdefault(going.owner, Owner(teller.node_id))
        owner.tasks[task_id] = None
        self._count(going, 1)
        early = self._early.pop(task_id, None)
        if early is not None and early.attempt == going.attempt:
            self._mark(going, early)

    def _running(self, running: task_pb2.RunningTask, events: task_pb2.TaskEvents) -> None:
        news = _Early(running.attempt, running.status, running.started_at)
        going = self._live.get(running.task_id)
        if going is not None:
            if going.attempt == news.attempt:
                going.worker, going.worker_pid = common_pb2.WorkerAddress(), events.pid
                going.worker.CopyFrom(events.teller)
                self._mark(going, news)
            return
        # Its owner tells later, or has told already that it is over.
        self._early[running.task_id] = news
        if len(self._early) > EARLY_LIMIT:
            del self._early[next(iter(self._early))]

    def _mark(self, going: _Going, news: _Early) -> None:
        self._count(going, -1)
        going.running, going.started_at = news.status, news.started_at
        self._count(going, 1)

    def _use(self, message: task_pb2.TaskKind) -> _Kind:
        kind = self._kinds.use(message)
        if kind.users == 1:
            self.bytes += len(kind.raw) + ENTRY_BYTES
        return kind

    def _forget(self, task_id: bytes) -> _Going | None:
        going = self._live.pop(task_id, None)
        if going is not None:
            self._count(going, -1)
            self.bytes -= len(going.raw) + ENTRY_BYTES + self._kinds.let_go(going.kind)
            owner = self._owners[going.owner]
            del owner.tasks[task_id]
            if not owner.tasks:
                del self._owners[going.owner]
        return going

    def _end(self, message: task_pb2.TaskKind, tasks: task_pb2.FinishedTasks) -> None:
        if tasks.told:
            for start in range(0, len(tasks.task_ids), TASK_ID_SIZE):
                self._forget(tasks.task_ids[start : start + TASK_ID_SIZE])
        kind = self._use(message)
        group = _Group(kind, tasks.status, len(tasks.task_ids) // TASK_ID_SIZE, tasks.SerializeToString())
        self._finished[kind.job_id].append(group)
        self._finished_of[kind.job_id] += group.size
        self._finished_count += group.size
        self.bytes += len(group.raw) + ENTRY_BYTES
        self._counts[self._counted_as(kind, tasks.status)] += group.size

    def _make_room(self) -> None:
        while len(self) > self._limit or (self.bytes > self._limit_bytes and len(self)):
            if self._finished_count:
                self._drop_oldest(max(self._finished_of, key=lambda job: self._finished_of[job]))
            else:
                self._forget(next(iter(self._live)))
                self.dropped += 1

    def _drop_oldest(self, job_id: bytes) -> None:
        group = self._finished[job_id].popleft()
        self.bytes -= len(group.raw) + ENTRY_BYTES + self._kinds.let_go(group.kind)
        self._finished_count -= group.size
        self._finished_of[job_id] -= group.size
        if not self._finished[job_id]:
            del self._finished[job_id], self._finished_of[job_id]
        self.dropped += group.size

    def _count(self, going: _Going, by: int) -> None:
        self._counts[self._counted_as(going.kind, going.shown)] += by

    def _counted_as(self, kind: _Kind, status: task_pb2.TaskStatus) -> CountedAs:
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


def _lost(task: task_pb2.LiveTask, wall: float) -> task_pb2.FinishedTasks:
    """An attempt whose end nobody will tell."""
    return task_pb2.FinishedTasks(
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
