"""Answers about tasks: a table's rows that pass some filters, as columns, and counts by function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from manta_common.ids import NO_ACTOR, TASK_ID_SIZE
from manta_common.state_filter import StateFilter, all_pass
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import task_pb2

from manta_gcs.actors.actor import Actor
from manta_gcs.actors.actor_state import ActorState
from manta_gcs.tasks.pending_reason import PendingReasons
from manta_gcs.tasks.task_table import CountedAs, Finished, Live, ParsedKinds, TaskTable

_OF_KIND: Final[Mapping[str, Callable[[task_pb2.TaskKind], object]]] = {
    "name": lambda kind: kind.name,
    "func_or_class_name": lambda kind: kind.function,
    "type": lambda kind: task_pb2.TaskType.Name(kind.type),
    "job_id": lambda kind: kind.job_id.hex(),
    "actor_id": lambda kind: kind.actor_id.hex(),
    "placement_group_id": lambda kind: kind.placement_group_id.hex(),
    "language": lambda kind: "PYTHON",
}
# Of a group of finished tasks, and of a live one alike.
_OF_PLACE: Final[Mapping[str, Callable[[task_pb2.FinishedTasks | task_pb2.LiveTask], object]]] = {
    "node_id": lambda tasks: tasks.worker.node_id.hex(),
    "worker_id": lambda tasks: tasks.worker.worker_id.hex(),
    "worker_pid": lambda tasks: tasks.worker_pid,
}
_OF_ROW: Final = ("task_id", "attempt_number", "parent_task_id")
COLUMNS: Final = frozenset({*_OF_KIND, *_OF_PLACE, *_OF_ROW, "state", "error_type"})


class TaskQuery:
    """One answer in the making: at most `limit` rows, and a count of all that match."""

    def __init__(self, filters: Sequence[StateFilter], limit: int) -> None:
        self._of_rows = [condition for condition in filters if condition.column in _OF_ROW]
        self._of_groups = [condition for condition in filters if condition.column not in _OF_ROW]
        # Looked for in the column as a whole first: a filter by id must not look at each of 100,000 rows.
        self._task_ids = [_id_of(one.value) for one in filters if one.column == "task_id" and not one.unequal]
        self._room = limit
        self._kinds: dict[int, tuple[int, task_pb2.TaskKind]] = {}
        self._reply = task_pb2.TaskList()
        self._reasons = PendingReasons(())

    def answer(self, table: TaskTable, actors: Iterable[Actor], reasons: PendingReasons) -> task_pb2.TaskList:
        """reasons: why tasks that have no node wait.

        cost: O(groups + live tasks + actors), and O(rows) only where a filter is for single rows.
        """
        self._reasons = reasons
        reply = self._reply
        reply.total, reply.dropped = len(table), table.dropped
        kinds = ParsedKinds()
        for live in table.live(kinds):
            self._add_live(live)
        for actor in actors:
            reply.total += 1
            creation = creation_task(actor)
            if isinstance(creation, Live):
                self._add_live(creation)
            else:
                self._add_finished(creation)
        for group in table.finished(kinds):
            self._add_finished(group)
        return reply

    def _add_live(self, live: Live) -> None:
        kind, task = live

        def value_of(column: str) -> object:
            if column in _OF_ROW:
                return _row_value(column, task.task_id, task.attempt, task.parent_id)
            if column == "state":
                return task_pb2.TaskStatus.Name(live.status)
            return _group_value(column, kind, task)

        if all_pass(self._of_groups, value_of) and all_pass(self._of_rows, value_of):
            self._reply.matched += 1
            if self._room > 0:
                self._room -= 1
                added = self._reply.live.add()
                added.CopyFrom(task)
                added.kind = self._kind(kind)
                if live.status == task_pb2.PENDING_NODE_ASSIGNMENT and not task.pending_reason:
                    added.pending_reason = self._reasons.of(kind)

    def _add_finished(self, group: Finished) -> None:
        def value_of(column: str) -> object:
            if column == "state":
                return task_pb2.TaskStatus.Name(group.status)
            return _OF_KIND[column](group.kind) if column in _OF_KIND else _group_value(column, group.kind, group.tasks)

        if not all_pass(self._of_groups, value_of):
            return
        if self._room <= 0 and not self._of_rows:
            self._reply.matched += group.size
            return
        kind, tasks = group.kind, group.tasks
        if not all(task_id in tasks.task_ids for task_id in self._task_ids):
            return
        # The latest are the last of a group.
        rows = range(group.size - 1, -1, -1)
        common = _common_values(tasks)
        if not all_pass([one for one in self._of_rows if one.column in common], common.get):
            return
        varying = [one for one in self._of_rows if one.column not in common]
        chosen = [row for row in rows if _row_passes(tasks, row, varying)] if varying else rows
        self._reply.matched += len(chosen)
        taken = chosen[: self._room]
        if not taken:
            return
        self._room -= len(taken)
        added = self._reply.finished.add()
        if len(taken) == group.size:
            added.CopyFrom(tasks)
        else:
            _copy_rows(added, tasks, taken)
        added.kind = self._kind(kind)

    def _kind(self, kind: task_pb2.TaskKind) -> int:
        # By identity: to compare messages costs more. What is kept here alive has its id for itself.
        known = self._kinds.get(id(kind))
        if known is None:
            known = self._kinds[id(kind)] = (len(self._reply.kinds), kind)
            self._reply.kinds.add().CopyFrom(kind)
        return known[0]


def summary(table: TaskTable, actors: Iterable[Actor]) -> task_pb2.TaskSummary:
    """Counts by function, type and state. cost: O(functions + actors)."""
    counts = Counter(table.counts())
    for actor in actors:
        status = _CREATION_STATUS.get(actor.state) or _end_of_creation(actor)
        counts[CountedAs(f"{actor.spec.class_name}.__init__", task_pb2.ACTOR_CREATION_TASK, status)] += 1
    items = [
        task_pb2.TaskSummary.Item(function=key.function, type=key.type, status=key.status, count=count)
        for key, count in counts.items()
    ]
    return task_pb2.TaskSummary(items=items, dropped=table.dropped)


_CREATION_STATUS: Final[Mapping[ActorState, task_pb2.TaskStatus]] = {
    ActorState.DEPENDENCIES_UNREADY: task_pb2.PENDING_ARGS_AVAIL,
    ActorState.PENDING_CREATION: task_pb2.PENDING_NODE_ASSIGNMENT,
    ActorState.RESTARTING: task_pb2.PENDING_NODE_ASSIGNMENT,
    ActorState.ALIVE: task_pb2.FINISHED,
}


def _end_of_creation(actor: Actor) -> task_pb2.TaskStatus:
    """Of a dead actor: whether it ever lived."""
    return task_pb2.FINISHED if actor.started_at else task_pb2.FAILED


def creation_task(actor: Actor) -> Live | Finished:
    """The task that makes an actor, which nobody tells of: the actor's own record says all."""
    spec = actor.spec
    use = spec.strategy.placement_group
    kind = task_pb2.TaskKind(
        name=f"{spec.class_name}.__init__",
        function=f"{spec.class_name}.__init__",
        type=task_pb2.ACTOR_CREATION_TASK,
        job_id=spec.job_id,
        actor_id=actor.id,
        resources=spec.placement_resources,
        runtime_env=spec.runtime_env,
        placement_group_id=use.placement_group_id,
        bundle_index=use.bundle_index + 1 if use.placement_group_id else 0,
        call_site=spec.call_site,
    )
    task_id = NO_ACTOR[:8] + actor.id
    worker = common_pb2.WorkerAddress(node_id=actor.node_id or b"", worker_id=actor.worker_id)
    status = _CREATION_STATUS.get(actor.state)
    if status is not None and status != task_pb2.FINISHED:
        live = task_pb2.LiveTask(
            task_id=task_id,
            attempt=actor.restarts,
            status=status,
            worker=worker,
            pending_reason=actor.pending_reason,
        )
        return Live(kind, live)
    failed = status is None and _end_of_creation(actor) == task_pb2.FAILED
    cause = actor.death_cause if failed else None
    tasks = task_pb2.FinishedTasks(
        worker=worker,
        worker_pid=actor.pid,
        status=task_pb2.FAILED if failed else task_pb2.FINISHED,
        error_type="ACTOR_CREATION_FAILED" if failed else "",
        error_message=cause.message if cause is not None else "",
        task_ids=task_id,
        attempts=[actor.restarts],
        created_at=[0.0],
        queued_at=[0.0],
        sent_at=[0.0],
        ended_at=[actor.ended_at if failed else actor.started_at],
        execution_us=[0],
    )
    return Finished(kind, tasks.status, 1, lambda: tasks)


def _group_value(column: str, kind: task_pb2.TaskKind, tasks: task_pb2.FinishedTasks | task_pb2.LiveTask) -> object:
    if column in _OF_KIND:
        return _OF_KIND[column](kind)
    if column in _OF_PLACE:
        return _OF_PLACE[column](tasks)
    return tasks.error_type if isinstance(tasks, task_pb2.FinishedTasks) else ""


def _common_values(tasks: task_pb2.FinishedTasks) -> dict[str, object]:
    """What is the same for all rows of a group, of the columns that may differ."""
    common: dict[str, object] = {}
    if not tasks.attempts:
        common["attempt_number"] = 0
    if len(tasks.parent_ids) <= TASK_ID_SIZE:
        common["parent_task_id"] = tasks.parent_ids.hex()
    return common


def _row_passes(tasks: task_pb2.FinishedTasks, row: int, filters: Sequence[StateFilter]) -> bool:
    attempt = tasks.attempts[row] if tasks.attempts else 0
    task_id, parent = _cell(tasks.task_ids, row), _parent(tasks, row)
    return all_pass(filters, lambda column: _row_value(column, task_id, attempt, parent))


def _row_value(column: str, task_id: bytes, attempt: int, parent_id: bytes) -> object:
    if column == "task_id":
        return task_id.hex()
    return attempt if column == "attempt_number" else parent_id.hex()


def _id_of(text: str) -> bytes:
    """Bytes that no column holds for a text that is no id."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b"\0" * (TASK_ID_SIZE + 1)


def _cell(column: bytes, row: int) -> bytes:
    return column[row * TASK_ID_SIZE : (row + 1) * TASK_ID_SIZE]


def _parent(tasks: task_pb2.FinishedTasks, row: int) -> bytes:
    return tasks.parent_ids if len(tasks.parent_ids) <= TASK_ID_SIZE else _cell(tasks.parent_ids, row)


def _copy_rows(to: task_pb2.FinishedTasks, tasks: task_pb2.FinishedTasks, rows: Sequence[int]) -> None:
    """What the group has in common, and of the columns some rows, in the order of the group."""
    for name in ("status", "error_type", "error_message", "worker_pid"):
        setattr(to, name, getattr(tasks, name))
    to.worker.CopyFrom(tasks.worker)
    ordered = sorted(rows)
    to.task_ids = b"".join(_cell(tasks.task_ids, row) for row in ordered)
    to.parent_ids = b"".join(_parent(tasks, row) for row in ordered)
    for name in ("attempts", "created_at", "queued_at", "sent_at", "ended_at", "execution_us"):
        column = getattr(tasks, name)
        if column:
            getattr(to, name).extend(column[row] for row in ordered)
