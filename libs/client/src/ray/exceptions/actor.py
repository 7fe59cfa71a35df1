"""Errors of actors: of their lives, their names and the calls to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ray.exceptions.base import RayError, _FixedError, _MessageError, _restore
from ray.exceptions.task import RayTaskError

if TYPE_CHECKING:
    from manta_proto.common.v1 import common_pb2


INIT_FAILED: Final = "The actor died because of an error raised in its creation task,"


class RayActorError(RayError):
    """A call to an actor failed for a reason outside its code: see the two subclasses."""

    BASE_ERROR_MSG = "The actor died unexpectedly before finishing this task."

    def __init__(
        self,
        actor_id: str | None = None,
        error_msg: str = BASE_ERROR_MSG,
        actor_init_failed: bool = False,
        preempted: bool = False,
    ) -> None:
        super().__init__(actor_id, error_msg, actor_init_failed, preempted)
        self._actor_id = actor_id
        self.error_msg = error_msg
        self._actor_init_failed = actor_init_failed
        self._preempted = preempted

    @property
    def actor_id(self) -> str | None:
        """Hex digits of the actor's id."""
        return self._actor_id

    @property
    def actor_init_failed(self) -> bool:
        """Whether the actor's constructor raised."""
        return self._actor_init_failed

    @property
    def preempted(self) -> bool:
        """Whether the actor's node was drained for preemption."""
        return self._preempted

    def __str__(self) -> str:
        return self.error_msg


class ActorDiedError(RayActorError):
    """The actor is gone for good: killed, out of restarts, its constructor raised, or its owner went.

    cause: None; the constructor's RayTaskError; a text; or a manta.common.v1.DeathCause.
    """

    BASE_ERROR_MSG = "The actor died unexpectedly before finishing this task."

    def __init__(
        self,
        cause: RayTaskError | str | common_pb2.DeathCause | None = None,
        *,
        actor_id: str | None = None,
        class_name: str = "",
        name: str = "",
        namespace: str = "",
    ) -> None:
        init_failed = isinstance(cause, RayTaskError)
        first, last, pid = self.BASE_ERROR_MSG, "", 0
        if isinstance(cause, RayTaskError):
            actor_id = actor_id or cause.actor_id
            first = f"{INIT_FAILED} {cause}"
        elif cause is not None and not isinstance(cause, str):
            pid = cause.pid
            last, init_failed = _text_of_death(cause)
            cause = last
        elif cause is not None:
            last = cause
        about = {"class_name": class_name, "actor_id": actor_id, "pid": pid, "name": name, "namespace": namespace}
        lines = [first, *(f"\t{label}: {value}" for label, value in about.items() if value)]
        if last:
            lines.append(last)
        super().__init__(actor_id, "\n".join(lines), init_failed, False)
        self.cause = cause
        self._about = {"actor_id": actor_id, "class_name": class_name, "name": name, "namespace": namespace}

    @staticmethod
    def from_task_error(task_error: RayTaskError) -> ActorDiedError:
        return ActorDiedError(task_error)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (ActorDiedError, (self.cause,), self._about, dict(self.__dict__))


def _text_of_death(cause: common_pb2.DeathCause) -> tuple[str, bool]:
    """The words for a death that the cluster declared, and whether the constructor raised."""
    from manta_proto.common.v1 import common_pb2

    kinds = common_pb2.DeathCause
    words = {
        kinds.UNKNOWN: "The actor is dead, and the cluster does not know why.",
        kinds.WORKER_DIED: "The actor is dead because its worker process has died.",
        kinds.NODE_DIED: "The actor died because its node has died.",
        kinds.OWNER_DIED: "The actor is dead because its owner has died: the process that created it. "
        "lifetime='detached' lets an actor outlive its creator.",
        kinds.JOB_FINISHED: "The actor is dead because its job has finished. "
        "lifetime='detached' lets an actor outlive its job.",
        kinds.KILLED: "The actor is dead because it was killed by `ray.kill`.",
        kinds.INIT_FAILED: f"{INIT_FAILED} which is its constructor.",
        kinds.OUT_OF_SCOPE: "The actor is dead because all references to the actor were removed.",
        kinds.INTENDED: "The actor is dead because it chose to end (exit_actor, sys.exit).",
        kinds.OUT_OF_MEMORY: "The actor is dead because its node was short of memory.",
        kinds.PLACEMENT_GROUP_REMOVED: "The actor is dead because its placement group was removed.",
        kinds.UNSCHEDULABLE: "The actor is dead because no node may hold it.",
        kinds.RUNTIME_ENV_FAILED: "The actor is dead because its runtime environment could not be made.",
        kinds.LEASE_HOLDER_DIED: "The actor is dead because the process that leased its worker died.",
    }
    text = words.get(cause.kind, f"The actor is dead because of cause {cause.kind}.")
    if cause.message and cause.message not in text.replace("`", ""):
        text += f" {cause.message}"
    details = []
    if cause.exit_code < 0:
        details.append(f"signal {-cause.exit_code}")
    elif cause.exit_code:
        details.append(f"exit code {cause.exit_code}")
    if cause.node_id:
        details.append(f"node {cause.node_id.hex()}")
    if details:
        text += f" ({', '.join(details)})"
    if cause.last_log_lines:
        text += "\nIts last lines:\n" + "\n".join(f"  {line}" for line in cause.last_log_lines)
    return text, cause.kind == kinds.INIT_FAILED


class ActorUnavailableError(RayActorError):
    """The actor cannot be reached now, but may come back; the call may have run or not."""

    def __init__(self, error_message: str, actor_id: bytes | str | None) -> None:
        shown = actor_id.hex() if isinstance(actor_id, bytes) else actor_id
        super().__init__(
            shown,
            f"The actor {shown or '(unknown)'} is unavailable: {error_message}. "
            "The call may or may not have run; it can be repeated once the actor is back.",
        )
        self._raw = (error_message, actor_id)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (ActorUnavailableError, self._raw, {}, dict(self.__dict__))


class ActorUnschedulableError(_MessageError):
    """No node may hold the actor, and waiting cannot help."""

    def __str__(self) -> str:
        return f"The actor cannot be scheduled: {self.error_message}"


class ActorPlacementGroupRemoved(ActorDiedError):
    """The placement group that the actor lived in, or was to live in, is gone; make a new group and a new actor."""

    BASE_ERROR_MSG = "The actor's placement group was removed; make a new group and a new actor."

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (ActorPlacementGroupRemoved, (self.cause,), self._about, dict(self.__dict__))


class ActorAlreadyExistsError(ValueError, RayError):
    """An actor with this name exists in the namespace; get_if_exists=True would return its handle."""

    def __init__(self, error_message: str) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return self.error_message


class ActorHandleNotFoundError(ValueError, RayError):
    """The handle is of another cluster, or of one that was shut down since."""

    def __init__(self, error_message: str) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return self.error_message


class PendingCallsLimitExceeded(_FixedError):
    """The handle has max_pending_calls calls under way; wait for some and call again."""

    default_text = "The handle has as many calls under way as max_pending_calls allows; wait for some to finish."


class AsyncioActorExit(RayError):
    """Raised inside an async actor by exit_actor(); the runtime ends the actor on it."""
