"""Values that stand for failures of the system: getting one raises the matching error of ray.exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ray._runtime.values.serialization import serialize_error

if TYPE_CHECKING:
    from manta_proto.common.v1 import common_pb2


# Said of a task whose worker ended in the middle of it, before what is known of the death.
CRASHED: Final = "A worker died or was killed while executing a task by an unexpected system error"


def error_value(error: BaseException) -> common_pb2.Value:
    """The value that raises `error` when it is got."""
    return serialize_error(error).to_proto()


def task_cancelled(task_id: bytes) -> common_pb2.Value:
    from ray.exceptions import TaskCancelledError

    return error_value(TaskCancelledError(task_id.hex()))


def object_lost(object_id: bytes, why: str) -> common_pb2.Value:
    from ray.exceptions import ObjectLostError

    return error_value(ObjectLostError(object_id.hex(), why))


def not_computed(object_id: bytes, reason: str, culprit: bytes) -> common_pb2.Value:
    """For an object that was lost and cannot be computed again, because of itself or of what it is made from."""
    from ray.exceptions import ObjectReconstructionFailedError

    message = None
    if culprit != object_id:
        why = ObjectReconstructionFailedError.REASON_MESSAGES[reason]
        message = f"its task needs object {culprit.hex()}, which is gone too: {why}"
    return error_value(ObjectReconstructionFailedError(object_id.hex(), reason, message))


def owner_died(object_id: bytes) -> common_pb2.Value:
    from ray.exceptions import OwnerDiedError

    return error_value(OwnerDiedError(object_id.hex()))


def worker_crashed(name: str, cause: common_pb2.DeathCause | None) -> common_pb2.Value:
    """For a task whose worker died, or whose node did."""
    from manta_proto.common.v1 import common_pb2 as common

    from ray.exceptions import NodeDiedError, OutOfMemoryError, TaskPlacementGroupRemoved, WorkerCrashedError

    text = describe_death(cause)
    if cause is not None and cause.kind == common.DeathCause.NODE_DIED:
        return error_value(NodeDiedError(f"node {cause.node_id.hex()}, which ran task {name}, died: {text}"))
    if cause is not None and cause.kind == common.DeathCause.PLACEMENT_GROUP_REMOVED:
        return error_value(TaskPlacementGroupRemoved(f"task {name}: {text}"))
    if cause is not None and cause.kind == common.DeathCause.OUT_OF_MEMORY:
        return error_value(OutOfMemoryError(f"task {name}: {text}"))
    return error_value(WorkerCrashedError(f"the worker of task {name} died: {text}"))


def describe_death(cause: common_pb2.DeathCause | None) -> str:
    """One or a few lines: what ended the process, with its last output."""
    if cause is None:
        return "no cause is known"
    parts = [cause.message or "no cause is known"]
    if cause.exit_code < 0:
        parts.append(f"(signal {-cause.exit_code})")
    elif cause.exit_code > 0 and f"exit code {cause.exit_code}" not in cause.message:
        parts.append(f"(exit code {cause.exit_code})")
    if cause.last_log_lines:
        parts.append("\nits last lines:\n  " + "\n  ".join(cause.last_log_lines))
    return " ".join(parts)


def actor_not_found(actor_id: bytes) -> Exception:
    from ray.exceptions import ActorHandleNotFoundError

    return ActorHandleNotFoundError(
        f"Can't find actor {actor_id.hex()}. It might be dead or it's from a different cluster."
    )


def as_raised(error: BaseException) -> BaseException:
    """What ray.get raises for a stored error: a task's error as an instance of its cause's class too."""
    from ray.exceptions import RayTaskError

    return error.as_instanceof_cause() if isinstance(error, RayTaskError) else error
