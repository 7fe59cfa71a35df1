"""Rows of the task table, from the columns and messages that the GCS answers with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from manta_common.ids import NO_ACTOR, TASK_ID_SIZE
from manta_common.resources import ResourceSet
from manta_common.scheduling.group_resources import in_group
from manta_proto.gcs.v1 import task_pb2

from ray.util.state.records import TaskState

_Status = task_pb2.TaskStatus
# An event for each state that a time is known of, in the order in which a task comes to them.
_PENDING: Final = (
    ("PENDING_ARGS_AVAIL", "created_at"),
    ("PENDING_NODE_ASSIGNMENT", "queued_at"),
    ("SUBMITTED_TO_WORKER", "sent_at"),
)


def task_rows(listing: task_pb2.TaskList) -> list[TaskState]:
    """Live ones first, then those that are over, the latest of each group first."""
    rows = [_live_row(task, listing.kinds[task.kind]) for task in listing.live]
    for group in listing.finished:
        rows.extend(_finished_rows(group, listing.kinds[group.kind]))
    return rows


def _live_row(task: task_pb2.LiveTask, kind: task_pb2.TaskKind) -> TaskState:
    status = task.running or task.status
    times = {name: getattr(task, name) for _, name in _PENDING}
    if task.running and task.started_at:
        times["started_at"] = task.started_at
    return TaskState(
        task_id=task.task_id.hex(),
        attempt_number=task.attempt,
        state=_Status.Name(status),
        parent_task_id=task.parent_id.hex(),
        node_id=task.worker.node_id.hex() or None,
        worker_id=task.worker.worker_id.hex() or None,
        worker_pid=task.worker_pid or None,
        error_type=None,
        pending_reason=task.pending_reason or None,
        **_of_kind(kind),
        **_of_times(times, _Status.Name(status)),
    )


def _finished_rows(group: task_pb2.FinishedTasks, kind: task_pb2.TaskKind) -> Iterator[TaskState]:
    failed = group.status == task_pb2.FAILED
    common: dict[str, Any] = {
        "state": _Status.Name(group.status),
        "node_id": group.worker.node_id.hex() or None,
        "worker_id": group.worker.worker_id.hex() or None,
        "worker_pid": group.worker_pid or None,
        "error_type": group.error_type if failed else None,
        "error_message": group.error_message if failed else None,
        **_of_kind(kind),
    }
    count = len(group.task_ids) // TASK_ID_SIZE
    # Calls of one worker that runs them one by one: where the reply told of several, one ended when the next began.
    following = float("inf")
    in_turn = kind.type == task_pb2.NORMAL_TASK
    for row in reversed(range(count)):
        times = {name: getattr(group, name)[row] for _, name in _PENDING}
        ended, duration = group.ended_at[row], group.execution_us[row] / 1e6
        if in_turn and group.sent_at[row] + duration <= following:
            ended = min(ended, following)
        if duration or not failed:
            times["started_at"] = following = ended - duration
        times["ended_at"] = ended
        parent = group.parent_ids
        if len(parent) > TASK_ID_SIZE:
            parent = parent[row * TASK_ID_SIZE : (row + 1) * TASK_ID_SIZE]
        yield TaskState(
            task_id=group.task_ids[row * TASK_ID_SIZE : (row + 1) * TASK_ID_SIZE].hex(),
            attempt_number=group.attempts[row] if group.attempts else 0,
            parent_task_id=parent.hex(),
            **common,
            **_of_times(times, common["state"]),
        )


def _of_kind(kind: task_pb2.TaskKind) -> dict[str, Any]:
    actor_id, group = kind.actor_id, kind.placement_group_id.hex()
    resources = ResourceSet.from_proto(kind.resources).to_floats()
    return {
        "name": kind.name,
        "job_id": kind.job_id.hex(),
        "actor_id": actor_id.hex() if actor_id and actor_id[: len(NO_ACTOR)] != NO_ACTOR else None,
        "type": task_pb2.TaskType.Name(kind.type),
        "func_or_class_name": kind.function,
        "language": "PYTHON",
        "required_resources": in_group(resources, group, kind.bundle_index - 1) if group else resources,
        "runtime_env_info": {"serialized_runtime_env": kind.runtime_env or json.dumps({})},
        "placement_group_id": group or None,
        "call_site": kind.call_site or None,
    }


def _of_times(times: dict[str, float], state: str) -> dict[str, Any]:
    events = []
    if not times["queued_at"] and times["sent_at"]:
        times = {**times, "queued_at": times["created_at"]}
    # An actor's call: it came to its worker and waits for its turn there.
    waits = ((state, "sent_at"),) if state == "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY" else ()
    for name, key in (*_PENDING, *waits, ("RUNNING", "started_at"), (state, "ended_at")):
        if times.get(key):
            events.append({"state": name, "created_ms": _ms(times[key])})
    return {
        "events": events,
        "creation_time_ms": _ms(times["created_at"]),
        "start_time_ms": _ms(times.get("started_at", 0.0)),
        "end_time_ms": _ms(times.get("ended_at", 0.0)),
    }


def _ms(seconds: float) -> int | None:
    return round(seconds * 1000) if seconds else None
