"""What this process tells the cluster about tasks: those it owns, and the one that it runs.

Told once a second, through the raylet; of the first few that go on after a moment. A task that is over within the
second costs one tuple: it is told in columns with others of its kind. Tasks that go on are found by a look at what is
pending when it is time to tell, so a change of state costs nothing when it happens. Only a task that has been running
for a while is told of by its worker.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Mapping
from time import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import task_pb2
from manta_proto.raylet.v1 import raylet_pb2
from manta_proto.worker.v1 import worker_pb2

from ray._runtime.values import serialization

if TYPE_CHECKING:
    from ray._runtime.execution.execution import Execution
    from ray._runtime.process.process import Process
    from ray._runtime.specs.task_kind import TaskKind
    from ray._runtime.specs.task_record import TaskRecord
    from ray._runtime.transport.carrier import Peer

log = logging.getLogger("ray.runtime")

DEFAULT_INTERVAL_S: Final = 1.0
# What a group holds of each attempt; also the names of the message's columns, but for the ids.
_COLUMNS: Final = ("created_at", "queued_at", "sent_at", "ended_at", "execution_us")
_WIDTH: Final = 3 + len(_COLUMNS)
# The GCS drops groups as a whole, so they are not too large: rows.
GROUP_LIMIT: Final = 1_000
# Rows that are not told yet: beyond it they are told before their time, beyond twice as many the oldest go.
ROWS_LIMIT: Final = 20_000
# Failures that are not told yet; beyond it they are only counted.
FAILURES_LIMIT: Final = 10_000
# Pending tasks that one look covers, the oldest first, and how many of them are news.
SCAN_LIMIT: Final = 50_000
NEWS_LIMIT: Final = 5_000
# How soon a process that had nothing to tell tells of what goes on, and of how many tasks at most.
EARLY_S: Final = 0.1
EARLY_LIMIT: Final = 100
# A call that runs for less is not worth telling of before it is over.
_LONG_S: Final = 0.05
_MESSAGE_LIMIT: Final = 4_000

_AT_WORKER: Final = (task_pb2.SUBMITTED_TO_WORKER, task_pb2.PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY)
_DONE: Final = (worker_pb2.TaskReply.DONE, worker_pb2.TaskReply.EXITING)
_ERROR_TYPES: Final[Mapping[str, str]] = {
    "ActorDiedError": "ACTOR_DIED",
    "ActorPlacementGroupRemoved": "ACTOR_PLACEMENT_GROUP_REMOVED",
    "ActorUnavailableError": "ACTOR_UNAVAILABLE",
    "ActorUnschedulableError": "ACTOR_UNSCHEDULABLE_ERROR",
    "LocalRayletDiedError": "LOCAL_RAYLET_DIED",
    "NodeDiedError": "NODE_DIED",
    "ObjectFetchTimedOutError": "OBJECT_FETCH_TIMED_OUT",
    "ObjectFreedError": "OBJECT_FREED",
    "ObjectLostError": "OBJECT_LOST",
    "ObjectReconstructionFailedError": "OBJECT_UNRECONSTRUCTABLE",
    "OutOfDiskError": "OUT_OF_DISK_ERROR",
    "OutOfMemoryError": "OUT_OF_MEMORY",
    "OwnerDiedError": "OWNER_DIED",
    "RuntimeEnvSetupError": "RUNTIME_ENV_SETUP_FAILED",
    "TaskCancelledError": "TASK_CANCELLED",
    "TaskPlacementGroupRemoved": "TASK_PLACEMENT_GROUP_REMOVED",
    "TaskUnschedulableError": "TASK_UNSCHEDULABLE_ERROR",
    "WorkerCrashedError": "WORKER_DIED",
}
_RAISED: Final = "TASK_EXECUTION_EXCEPTION"


class Ended:
    """Attempts that are over, alike in kind, worker and in whether they were told of before.

    values: _WIDTH for each, in the order of _COLUMNS; one flat list, which the garbage collector need not look into.
    """

    __slots__ = ("kind", "peer", "told", "values")

    def __init__(self, kind: TaskKind, peer: Peer | None, told: bool) -> None:
        self.kind = kind
        self.peer = peer
        self.told = told
        self.values: list[Any] = []

    @property
    def rows(self) -> int:
        return len(self.values) // _WIDTH


class Failure(NamedTuple):
    """An attempt that failed, and why: an error type and text, or the value that getting its result raises."""

    ended: Ended
    error_type: str
    message: str
    value: common_pb2.Value | None


class TaskEvents:
    """Tells for `process`. Changed under the process's lock, except for the telling itself."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._interval_s = DEFAULT_INTERVAL_S
        # Makes of a task's kind the one with its call site, where that is recorded.
        self._kind_from_here: Callable[[TaskKind], TaskKind] | None = None
        self._armed = False
        # The number of the timer that counts: two threads may set one each.
        self._timer = 0
        # Those that take rows are also found through their kind.
        self._open: list[Ended] = []
        self._full: list[Ended] = []
        self._full_rows = 0
        self._failures: list[Failure] = []
        self._dropped = 0
        # What was told of lost objects: tasks that ran again, objects that could not be computed.
        self._recoveries = (0, 0)
        # The driver's own id stands for the task that submits; a worker has to look which one it runs.
        self._parent = b""
        # The calls that run here and were told of, by task and attempt: as what.
        self._told_running: dict[tuple[bytes, int], int] = {}

    @property
    def wanted(self) -> bool:
        return self._interval_s > 0

    def _submitting(self) -> bytes:
        process = self._process
        if not process.is_driver:
            return process.executor.running_id()
        self._parent = process.ids.own
        return self._parent

    def set_interval(self, seconds: float) -> None:
        """As the raylet says; 0: tell nothing."""
        self._interval_s = seconds

    def record_call_sites(self) -> None:
        """From now on tasks are told of with where they were made."""
        from ray._runtime.tasks.call_sites import kind_from_here

        self._kind_from_here = kind_from_here

    def call_site(self) -> str:
        """Of an actor that is being made; empty when it is not recorded."""
        if self._kind_from_here is None:
            return ""
        from ray._runtime.tasks.call_sites import call_site

        return call_site()

    # -- what happens to tasks that this process owns; on the hot path

    def begun(self, record: TaskRecord, kind: TaskKind | None) -> None:
        """A task was submitted. kind: None when nothing is to be told of it."""
        if kind is not None:
            record.kind = kind if self._kind_from_here is None else self._kind_from_here(kind)
            record.created_at = time()
            record.parent_id = self._parent or self._submitting()
            if not self._armed:
                self._begin()

    def ended(self, record: TaskRecord, reply: worker_pb2.TaskReply) -> None:
        """A final reply came for a task of a kind."""
        if reply.outcome in _DONE:
            peer = record.sent_to
            kind = record.kind
            values = (kind.ended_told if record.told else kind.ended).get(peer)  # type: ignore[union-attr]
            if values is None:
                values = self._open_group(record)
            values.extend(
                (
                    record.task_id,
                    record.parent_id,
                    record.attempt,
                    record.created_at,
                    record.queued_at,
                    record.sent_at,
                    time(),
                    reply.execution_us,
                )
            )
            if len(values) >= GROUP_LIMIT * _WIDTH:
                self._close_groups()
        elif reply.outcome == worker_pb2.TaskReply.ACTOR_LEFT and reply.returns:
            self._failed(record, 0, "", "", reply.returns[0].value)
        else:
            cancelled = reply.outcome == worker_pb2.TaskReply.CANCELLED
            error_type = "TASK_CANCELLED" if cancelled else _RAISED
            self._failed(record, reply.execution_us, error_type, reply.message, None)

    def failed(self, record: TaskRecord, value: common_pb2.Value) -> None:
        """A task ended without a reply; `value` is the error of its results."""
        if record.kind is not None:
            self._failed(record, 0, "", "", value)

    def retried(self, record: TaskRecord, value: common_pb2.Value | None = None, message: str = "") -> None:
        """An attempt failed and another follows. value: the error of the system; None when the user's code raised."""
        if record.kind is not None:
            self._failed(record, 0, _RAISED, message, value)
            record.told = 0
            record.created_at, record.queued_at, record.sent_at = time(), 0.0, 0.0

    def _failed(
        self,
        record: TaskRecord,
        execution_us: int,
        error_type: str,
        message: str,
        value: common_pb2.Value | None,
    ) -> None:
        assert record.kind is not None
        if len(self._failures) >= FAILURES_LIMIT:
            self._dropped += 1
            return
        ended = Ended(record.kind, record.sent_to, record.told > 0)
        ended.values += (record.task_id, record.parent_id, record.attempt)
        ended.values += (record.created_at, record.queued_at, record.sent_at, time(), execution_us)
        self._failures.append(Failure(ended, error_type, message, value))
        if not self._armed:
            self._arm()

    def _open_group(self, record: TaskRecord) -> list[Any]:
        assert record.kind is not None
        group = Ended(record.kind, record.sent_to, record.told > 0)
        self._open.append(group)
        (record.kind.ended_told if group.told else record.kind.ended)[group.peer] = group.values
        return group.values

    def _close_groups(self) -> None:
        """Rows from here on go to new groups; the lock is held."""
        before = self._full_rows
        for group in self._open:
            (group.kind.ended_told if group.told else group.kind.ended).clear()
            self._full_rows += group.rows
        self._full += self._open
        self._open = []
        if before < ROWS_LIMIT <= self._full_rows:
            self._process.reactor.call_soon(self.tell)
        while self._full_rows > 2 * ROWS_LIMIT:  # nobody has told meanwhile
            gone = self._full.pop(0).rows
            self._full_rows -= gone
            self._dropped += gone

    # -- telling

    def look_later(self) -> None:
        """Something goes on that may have to be told."""
        if not self._armed and self.wanted:
            self._begin()

    def _arm(self) -> None:
        self._armed = True
        self._timer = timer = self._timer + 1
        self._process.reactor.call_later(self._interval_s or DEFAULT_INTERVAL_S, lambda: self._due(timer))

    def _begin(self) -> None:
        """Something goes on again after nothing did."""
        self._arm()
        if self._interval_s > EARLY_S:
            self._process.reactor.call_later(EARLY_S, self._look_early)

    def _look_early(self) -> None:
        """Tell of the first few that take long, without waiting for the interval."""
        process = self._process
        if process.closing or not self.wanted:
            return
        with process.lock:
            news, _ = self._pending_news(EARLY_LIMIT, time() - _LONG_S)
        message = self._message()
        quiet = message.ByteSize()
        self._add_live(message, news, {})
        self._add_running(message, process.executor.look(), EARLY_LIMIT)
        if message.ByteSize() > quiet:
            process.raylet.send(raylet_pb2.TASK_EVENTS, message.SerializeToString())

    def _due(self, timer: int) -> None:
        if timer != self._timer:
            return
        goes_on = True  # also if telling fails, or nothing would ever be told again
        try:
            goes_on = self._tell()
        except Exception:
            log.exception("task_events_not_told")
        if goes_on and not self._process.closing:
            self._arm()
        else:
            self._armed = False
            if self._open or self._failures:  # came while we told
                self._arm()

    def tell_again(self) -> None:
        """What was told of tasks that go on is lost."""
        with self._process.lock:
            for record in itertools.islice(self._process.submitter.pending.values(), SCAN_LIMIT):
                record.told = 0
            self._told_running = {}
        self.look_later()

    def tell(self) -> None:
        """Tell what is new, before its time."""
        self._tell()

    def _tell(self) -> bool:
        """returns: whether something goes on that has to be looked at again."""
        process = self._process
        with process.lock:
            self._close_groups()
            ended, self._full, self._full_rows = self._full, [], 0
            failures, self._failures = self._failures, []
            dropped, self._dropped = self._dropped, 0
            lineage = process.recovery.lineage
            before, self._recoveries = self._recoveries, (lineage.reruns, lineage.failures)
            news, goes_on = self._pending_news() if self.wanted else ([], False)
        running = process.executor.look()
        if not self.wanted:
            return False
        message = self._message()
        quiet = message.ByteSize()
        message.dropped = dropped
        kinds: dict[TaskKind, int] = {}
        for group in ended:
            _add_finished(message, group, kinds)
        for failure in failures:
            _add_finished(message, failure.ended, kinds)
            _describe(message.finished[-1], failure)
        self._add_live(message, news, kinds)
        self._add_running(message, running, NEWS_LIMIT)
        goes_on = goes_on or bool(running)
        message.reconstructed = self._recoveries[0] - before[0]
        message.unrecovered = self._recoveries[1] - before[1]
        if message.ByteSize() > quiet:
            process.raylet.send(raylet_pb2.TASK_EVENTS, message.SerializeToString())
        return goes_on

    def _message(self) -> task_pb2.TaskEvents:
        return task_pb2.TaskEvents(teller=self._process.identity.address(), pid=os.getpid())

    def _add_live(
        self, message: task_pb2.TaskEvents, news: list[tuple[task_pb2.LiveTask, TaskKind]], kinds: dict[TaskKind, int]
    ) -> None:
        """kinds: of what the message has already; it gets them all."""
        for task, kind in news:
            task.kind = _index(kind, kinds)
            message.live.append(task)
        message.kinds.extend(kind.message for kind in kinds)

    def _add_running(self, message: task_pb2.TaskEvents, running: list[tuple[Execution, bool]], limit: int) -> None:
        """Tell of the calls that run here and have done so for a while."""
        told: dict[tuple[bytes, int], int] = {}
        started_by = time() - _LONG_S
        for execution, waits in running[:limit]:
            task = execution.task
            if execution.started_at > started_by:
                continue
            status = task_pb2.RUNNING_IN_RAY_GET if waits else task_pb2.RUNNING
            key = (task.task_id, task.attempt)
            told[key] = status
            if self._told_running.get(key) != status:
                message.running.add(
                    task_id=task.task_id, attempt=task.attempt, status=status, started_at=execution.started_at
                )
        self._told_running = told

    def _pending_news(
        self, limit: int = NEWS_LIMIT, begun_by: float = float("inf")
    ) -> tuple[list[tuple[task_pb2.LiveTask, TaskKind]], bool]:
        """Pending tasks that were begun by then and whose state is not what was told; the lock is held.

        cost: O(SCAN_LIMIT).
        """
        pending = self._process.submitter.pending
        news = []
        for record in itertools.islice(pending.values(), SCAN_LIMIT):
            kind = record.kind
            if kind is None:
                continue
            if record.created_at > begun_by:
                break  # and the others after it
            status = status_of(record)
            mark = record.attempt * 16 + status
            if mark != record.told:
                record.told = mark
                news.append((self._live(record, status), kind))
                if len(news) >= limit:
                    break
        return news, bool(pending)

    def _live(self, record: TaskRecord, status: task_pb2.TaskStatus) -> task_pb2.LiveTask:
        task = task_pb2.LiveTask(
            task_id=record.task_id,
            attempt=record.attempt,
            status=status,
            parent_id=record.parent_id,
            created_at=record.created_at,
            queued_at=record.queued_at,
            sent_at=record.sent_at,
        )
        peer = record.sent_to
        if peer is not None and status in _AT_WORKER:
            task.worker.node_id, task.worker.worker_id = peer.node_id, peer.worker_id
            task.worker_pid = peer.pid
        return task


def status_of(record: TaskRecord) -> task_pb2.TaskStatus:
    """How far a pending task has come, as its owner knows."""
    if record.lease_id is not None:
        return task_pb2.SUBMITTED_TO_WORKER
    if record.actor_id and record.sent_at:
        # Until its worker tells that it runs.
        return task_pb2.PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY
    return task_pb2.PENDING_NODE_ASSIGNMENT if record.message else task_pb2.PENDING_ARGS_AVAIL


def _add_finished(message: task_pb2.TaskEvents, group: Ended, kinds: dict[TaskKind, int]) -> None:
    ids, parents, attempts, *columns = (group.values[column::_WIDTH] for column in range(_WIDTH))
    tasks = message.finished.add(
        kind=_index(group.kind, kinds),
        status=task_pb2.FINISHED,
        told=group.told,
        task_ids=b"".join(ids),
        parent_ids=parents[0] if len(set(parents)) == 1 else b"".join(parents),
        **dict(zip(_COLUMNS, columns, strict=True)),
    )
    if any(attempts):
        tasks.attempts.extend(attempts)
    if group.peer is not None:
        tasks.worker.node_id, tasks.worker.worker_id = group.peer.node_id, group.peer.worker_id
        tasks.worker_pid = group.peer.pid


def _index(kind: TaskKind, kinds: dict[TaskKind, int]) -> int:
    return kinds.setdefault(kind, len(kinds))


def _describe(tasks: task_pb2.FinishedTasks, failure: Failure) -> None:
    error_type, text = failure.error_type, failure.message
    if failure.value is not None:
        error_type, text = _described(failure.value)
    tasks.status = task_pb2.FAILED
    tasks.error_type, tasks.error_message = error_type, text[-_MESSAGE_LIMIT:]


def _described(value: common_pb2.Value) -> tuple[str, str]:
    """The type and text of an error that stands for a task's results. Not under the lock: it may be a user's class."""
    try:
        error = serialization.load_proto(value)
        name = type(error).__name__
        # A task fails for an argument that is an error with that error.
        return _ERROR_TYPES.get(name, _RAISED), str(error)
    except Exception as problem:
        return _RAISED, f"the error cannot be read here: {problem!r}"
