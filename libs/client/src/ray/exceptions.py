"""Every error that the public API raises, as one tree; each says what happened and what to do next.

RayError
|- RayTaskError                      the user's code raised; also an instance of what it raised
|- TaskCancelledError                ray.cancel reached the task
|- TaskUnschedulableError            no node may run the task, and waiting cannot help
|- TaskPlacementGroupRemoved         the task's placement group is gone
|- WorkerCrashedError                the process that ran the task died
|- OutOfMemoryError                  the node was short of memory and its raylet ended the process
|- NodeDiedError, LocalRayletDiedError
|- RayActorError                     a call did not reach, or not come back from, an actor
|  |- ActorDiedError                 the actor is gone for good
|  `- ActorUnavailableError          the actor may come back: it restarts, or the network is down
|- ActorUnschedulableError, ActorPlacementGroupRemoved
|- ActorAlreadyExistsError           (a ValueError) the name is taken
|- ActorHandleNotFoundError          (a ValueError) the handle belongs to another cluster
|- PendingCallsLimitExceeded         max_pending_calls was reached
|- AsyncioActorExit                  internal: an async actor ends itself
|- GetTimeoutError                   (a TimeoutError) ray.get waited for `timeout`
|- ObjectStoreFullError, OutOfDiskError, PlasmaObjectNotAvailable
|- ObjectLostError                   no copy of the object is left
|  |- ObjectFetchTimedOutError, ObjectFreedError, OwnerDiedError
|  |- ReferenceCountingAssertionError
|  `- ObjectReconstructionFailedError
|- ObjectRefStreamEndOfStreamError   a streaming generator has no further object
|- RuntimeEnvSetupError              the runtime environment could not be made
|- UnserializableException           an error came whose pickled form cannot be read here
|- CrossLanguageError                a worker of another language failed
|- AuthenticationError               the cluster refused the token
|- RpcError                          a service did not answer as it should
`- RaySystemError                    the runtime itself failed, or has not what was asked for
   |- StreamingGeneratorReplayInconsistentError
   |- RayChannelError                a compiled graph's channel failed
   |  `- RayChannelTimeoutError      (a TimeoutError)
   `- RayCgraphCapacityExceeded
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manta.proto.common.v1 import common_pb2


class RayError(Exception):
    """The root of all errors of this package. `to_bytes` and `from_bytes` carry one between processes."""

    def to_bytes(self) -> bytes:
        """A serialized manta.common.v1.Value of kind ERROR. cost: one pickling."""
        return _to_value(self).SerializeToString()

    @staticmethod
    def from_bytes(b: bytes) -> BaseException:
        """Read what `to_bytes` wrote; an error that cannot be read comes back as UnserializableException."""
        from manta.proto.common.v1 import common_pb2

        return RayError.from_ray_exception(common_pb2.Value.FromString(b))

    @staticmethod
    def from_ray_exception(ray_exception: common_pb2.Value) -> BaseException:
        from ray import _error_transport

        error = _error_transport.load(ray_exception.data)
        return error if error is not None else UnserializableException(_error_transport.text_of(ray_exception.data))


def _to_value(error: BaseException) -> common_pb2.Value:
    from manta.proto.common.v1 import common_pb2

    from ray import _error_transport

    return common_pb2.Value(kind=common_pb2.Value.ERROR, data=_error_transport.dump(error))


class RayTaskError(RayError):
    """A task, an actor's constructor or a method raised. `cause` is what it raised, str() its remote traceback.

    ray.get raises it as an instance of the cause's class too, so `except ValueError` catches a remote ValueError.
    """

    def __init__(
        self,
        function_name: str,
        traceback_str: str,
        cause: BaseException,
        proctitle: str | None = None,
        pid: int | None = None,
        ip: str | None = None,
        actor_repr: str | None = None,
        actor_id: str | None = None,
    ) -> None:
        super().__init__(function_name, traceback_str, cause)
        self._set_fields(function_name, traceback_str, cause, proctitle, pid, ip, actor_repr, actor_id)

    def _set_fields(
        self,
        function_name: str,
        traceback_str: str,
        cause: BaseException,
        proctitle: str | None,
        pid: int | None,
        ip: str | None,
        actor_repr: str | None,
        actor_id: str | None,
    ) -> None:
        # The user's class may forbid or redirect setting attributes.
        fields = object.__getattribute__(self, "__dict__")
        fields["function_name"] = function_name
        fields["traceback_str"] = traceback_str
        fields["cause"] = cause
        fields["proctitle"] = proctitle or f"ray::{function_name}"
        fields["pid"] = pid
        fields["ip"] = ip
        fields["actor_repr"] = actor_repr
        fields["_actor_id"] = actor_id

    # Declared for type checkers; _set_fields fills them.
    function_name: str
    traceback_str: str
    cause: BaseException
    proctitle: str
    pid: int | None
    ip: str | None
    actor_repr: str | None
    _actor_id: str | None

    @property
    def actor_id(self) -> str | None:
        """Hex digits of the actor's id, where an actor ran the code."""
        return self._actor_id

    @classmethod
    def from_exception(
        cls,
        function_name: str,
        error: BaseException,
        *,
        pid: int,
        ip: str,
        actor_repr: str | None = None,
        actor_id: str | None = None,
        skip_frames: int = 0,
    ) -> RayTaskError:
        """Describe an exception that user code raised in this process.

        skip_frames: innermost-last frames of ours at the top of the traceback, not to be shown. An error that
        already is a RayTaskError, from a task that this one waited for, is not nested: its cause stays the cause and
        its traceback is part of this one's.
        """
        import traceback

        shown = error.__traceback__
        for _ in range(skip_frames):
            if shown is None or shown.tb_next is None:
                break
            shown = shown.tb_next
        where = f"pid={pid}, ip={ip}"
        if actor_id is not None:
            where += f", actor_id={actor_id}, repr={actor_repr}"
        try:
            body = "".join(traceback.format_exception(type(error), error, shown)).rstrip("\n")
        except Exception as unformattable:  # the user's __str__ or __notes__ may raise
            body = f"{type(error).__name__} (its text could not be made: {type(unformattable).__name__})"
        header = "Traceback (most recent call last):\n"
        if body.startswith(header):
            body = body[len(header) :]
        cause = error.cause if isinstance(error, RayTaskError) else error
        text = f"ray::{function_name}() ({where})\n{body}"
        return cls(function_name, text, cause, None, pid, ip, actor_repr, actor_id)

    def make_dual_exception_instance(self) -> RayTaskError:
        """The same error as an instance of the cause's class too. raises: TypeError when that class cannot be mixed."""
        from ray import _error_transport

        return _error_transport.dual(self)

    def as_instanceof_cause(self) -> RayTaskError:
        """Like make_dual_exception_instance, but this error itself where that cannot be, or adds nothing."""
        if isinstance(self, type(self.cause)):
            return self
        try:
            return self.make_dual_exception_instance()
        except TypeError as error:
            import logging

            logging.getLogger("ray").warning(
                "the remote error is raised as RayTaskError only: %s cannot be a base class (%s)",
                type(self.cause).__qualname__,
                error,
            )
            return self

    def __str__(self) -> str:
        return str(self.traceback_str)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.cause!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        from ray import _error_transport

        fields = (
            self.function_name,
            self.traceback_str,
            _error_transport.dump(self.cause),
            self.proctitle,
            self.pid,
            self.ip,
            self.actor_repr,
            self._actor_id,
        )
        return _error_transport.restore_task_error, (fields, type(self) is not RayTaskError)


class TaskCancelledError(RayError):
    """ray.cancel reached this task, or a task that its arguments come from."""

    def __init__(self, task_id: Any = None, error_message: str | None = None) -> None:
        super().__init__(task_id, error_message)
        self.task_id, self.error_message = task_id, error_message

    def __str__(self) -> str:
        if self.error_message:
            return self.error_message
        task = "This task" if self.task_id is None else f"Task {_hex(self.task_id)}"
        return f"{task} was cancelled, or takes the result of one that was."


class _MessageError(RayError):
    """An error whose text its maker gives."""

    def __init__(self, error_message: str) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return str(self.error_message)


class _FixedError(RayError):
    """An error with a text of its own, used where none is given."""

    default_text = ""

    def __str__(self) -> str:
        return super().__str__() or self.default_text


class TaskUnschedulableError(_MessageError):
    """No node may run the task, and waiting cannot help: for instance its node affinity names a dead node."""

    def __str__(self) -> str:
        return f"The task cannot be scheduled: {self.error_message}"


class ActorUnschedulableError(_MessageError):
    """No node may hold the actor, and waiting cannot help."""

    def __str__(self) -> str:
        return f"The actor cannot be scheduled: {self.error_message}"


class TaskPlacementGroupRemoved(_FixedError):
    """The placement group that the task was to run in is gone."""

    default_text = "The task's placement group was removed; make a new group and submit the task again."


class ActorPlacementGroupRemoved(_FixedError):
    """The placement group that the actor lived in is gone."""

    default_text = "The actor's placement group was removed; make a new group and a new actor."


class WorkerCrashedError(_FixedError):
    """The process that ran the task died: killed, a crash in native code, or os._exit."""

    default_text = (
        "The worker process that ran this task died. Its log (logs/worker-*.err in the session folder) may say why; "
        "max_retries lets such a task run again."
    )


class OutOfMemoryError(RayError):
    """A node was short of memory, and its raylet ended the process that ran this task or actor."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return str(self.message)


class NodeDiedError(RayError):
    """The node is gone, or unreachable for long enough to count as gone."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return str(self.message)


class LocalRayletDiedError(_FixedError):
    """The raylet of this process's own node died."""

    default_text = "The raylet of this node died; its log (logs/raylet.err in the session folder) may say why."


class RayActorError(RayError):
    """A call to an actor failed for a reason outside its code: see the two subclasses."""

    BASE_ERROR_MSG = "The actor died unexpectedly before finishing this call."

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

    BASE_ERROR_MSG = "The actor died unexpectedly before finishing this call."

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
        if isinstance(cause, RayTaskError):
            actor_id = actor_id or cause.actor_id
            text = f"The actor died because its constructor raised:\n{cause}"
        elif cause is None:
            text = self.BASE_ERROR_MSG
        elif isinstance(cause, str):
            text = f"{self.BASE_ERROR_MSG}\n{cause}"
        else:
            text, init_failed = _text_of_death(cause)
            cause = text
        lines = [text]
        for label, value in (("class", class_name), ("actor_id", actor_id), ("name", name), ("namespace", namespace)):
            if value:
                lines.append(f"\t{label}: {value}")
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
    from manta.proto.common.v1 import common_pb2

    kinds = common_pb2.DeathCause
    words = {
        kinds.UNKNOWN: "the cluster does not know why",
        kinds.WORKER_DIED: "its worker process died",
        kinds.NODE_DIED: "its node died",
        kinds.OWNER_DIED: "the process that created it died; lifetime='detached' lets an actor outlive its creator",
        kinds.JOB_FINISHED: "its job ended; lifetime='detached' lets an actor outlive its job",
        kinds.KILLED: "it was killed by ray.kill",
        kinds.INIT_FAILED: "its constructor raised",
        kinds.OUT_OF_SCOPE: "no handle to it was left",
        kinds.INTENDED: "it chose to end (exit_actor, sys.exit)",
        kinds.OUT_OF_MEMORY: "its node was short of memory",
        kinds.PLACEMENT_GROUP_REMOVED: "its placement group was removed",
        kinds.UNSCHEDULABLE: "no node may hold it",
        kinds.RUNTIME_ENV_FAILED: "its runtime environment could not be made",
        kinds.LEASE_HOLDER_DIED: "the process that leased its worker died",
    }
    text = f"The actor is dead: {words.get(cause.kind, f'cause {cause.kind}')}."
    if cause.message:
        text += f" {cause.message}"
    details = []
    if cause.exit_code < 0:
        details.append(f"signal {-cause.exit_code}")
    elif cause.exit_code:
        details.append(f"exit code {cause.exit_code}")
    if cause.pid:
        details.append(f"pid {cause.pid}")
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


class GetTimeoutError(RayError, TimeoutError):
    """ray.get waited for `timeout` seconds and not all objects were there."""


class ObjectStoreFullError(_FixedError):
    """The node's arena has no room for the object, also after evicting what may go."""

    default_text = (
        "The local object store is full of objects that are in use. Drop references, or start the node with a "
        "larger object_store_memory."
    )

    def __str__(self) -> str:
        given = RayError.__str__(self)
        return f"{given}\n{self.default_text}" if given else self.default_text


class OutOfDiskError(_FixedError):
    """The node's disk is too full to spill objects to."""

    default_text = "The local disk is too full to spill objects to. Free space, or drop references."

    def __str__(self) -> str:
        given = RayError.__str__(self)
        return f"{given}\n{self.default_text}" if given else self.default_text


class PlasmaObjectNotAvailable(RayError):
    """The object was not in the local object store within the time given."""


class ObjectLostError(RayError):
    """No copy of the object is left, and it could not be computed again.

    object_ref_hex: the object. owner_address: the process that made the ref, as text or raw bytes. call_site: where.
    """

    what = "was lost: every copy is gone, because nodes or object managers died"

    def __init__(self, object_ref_hex: str, owner_address: Any = None, call_site: str = "") -> None:
        super().__init__(object_ref_hex, owner_address, call_site)
        self.object_ref_hex, self.owner_address, self.call_site = object_ref_hex, owner_address, call_site

    def __str__(self) -> str:
        text = f"Object {self.object_ref_hex} {self.what}."
        if self.call_site:
            text += f" Its reference was made at: {self.call_site}"
        return text


class ObjectFetchTimedOutError(ObjectLostError):
    """No holder of the object answered in time."""

    what = "could not be fetched in time from the nodes that hold it"


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The object is freed although a reference exists: a bug, or a reference made by hand."""

    what = "was freed while a reference to it exists; references must not be made by hand from bytes"


class ObjectFreedError(ObjectLostError):
    """The program freed the object itself and used it afterwards."""

    what = "was freed by the program before this use"


class OwnerDiedError(ObjectLostError):
    """The process that made the ref is gone, and with it what it knew of the object."""

    what = "is lost because its owner, the process that made the reference, died"


class ObjectReconstructionFailedError(ObjectLostError):
    """The object was lost and could not be computed again. reason: a key of REASON_MESSAGES."""

    REASON_MESSAGES = {  # noqa: RUF012 - a constant table, public upstream
        "PUT": "it was made by ray.put, which leaves nothing to compute it from",
        "MAX_ATTEMPTS_EXCEEDED": "the task that makes it has used its max_retries",
        "LINEAGE_EVICTED": "the record of how to compute it was dropped to stay within the lineage limit",
        "CANCELLED": "the task that makes it was cancelled",
        "BORROWED": "its owner, not this process, would have to compute it",
        "LOCAL_MODE": "local mode keeps no record of how to compute it",
        "REF_NOT_FOUND": "its owner knows no such reference any more",
        "RETRIES_DISABLED": "the task that makes it has max_retries=0",
        "LINEAGE_DISABLED": "keeping records of how to compute objects is off",
    }

    def __init__(
        self,
        object_ref_hex: str,
        reason: Any = None,
        reason_message: str | None = None,
        owner_address: Any = None,
        call_site: str = "",
    ) -> None:
        super().__init__(object_ref_hex, owner_address, call_site)
        self.args = (object_ref_hex, reason, reason_message, owner_address, call_site)
        self.reason, self.reason_message = reason, reason_message

    @property
    def what(self) -> str:  # type: ignore[override]
        why = self.reason_message or self.REASON_MESSAGES.get(str(self.reason), "of an unknown reason")
        return f"was lost and cannot be computed again: {why}"


class ObjectRefStreamEndOfStreamError(RayError):
    """A streaming generator has no further object."""


class RuntimeEnvSetupError(RayError):
    """The runtime environment of a task, actor or job could not be made."""

    def __init__(self, error_message: str | None = None) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        reason = f": {self.error_message}" if self.error_message else ""
        return f"The runtime environment could not be set up{reason}"


class UnserializableException(RayError):
    """An error came from another process and cannot be rebuilt here; its text is kept."""

    def __init__(self, original_stack_trace: str) -> None:
        super().__init__(original_stack_trace)
        self.original_stack_trace = original_stack_trace

    def __str__(self) -> str:
        return (
            "The remote code raised an error whose class or content cannot be rebuilt in this process. "
            f"What is known of it:\n{self.original_stack_trace}"
        )


class CrossLanguageError(_MessageError):
    """A worker of another language failed."""


class AuthenticationError(RayError):
    """The cluster refused this process's token, or it has none."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return (
            f"{self.message}. The token is looked for in MANTA_TOKEN, MANTA_TOKEN_FILE, RAY_AUTH_TOKEN, "
            "RAY_AUTH_TOKEN_PATH and the session folder."
        )


class RpcError(RayError):
    """A service did not answer as it should. rpc_code: the gRPC status code's number, where there is one."""

    def __init__(self, message: str, rpc_code: int | None = None) -> None:
        super().__init__(message, rpc_code)
        self.message, self.rpc_code = message, rpc_code

    def __str__(self) -> str:
        return str(self.message)


class RaySystemError(RayError):
    """The runtime itself failed, or has not what was asked for."""

    def __init__(self, client_exc: Any, traceback_str: str | None = None) -> None:
        super().__init__(client_exc, traceback_str)
        self.client_exc, self.traceback_str = client_exc, traceback_str

    def __str__(self) -> str:
        text = f"System error: {self.client_exc}"
        return f"{text}\n{self.traceback_str}" if self.traceback_str else text


class StreamingGeneratorReplayInconsistentError(RaySystemError):
    """A streaming generator, run again after a failure, made other objects than the first time."""


class RayChannelError(RaySystemError):
    """A compiled graph's channel failed."""


class RayChannelTimeoutError(RayChannelError, TimeoutError):
    """A compiled graph's channel had nothing within the time given."""


class RayCgraphCapacityExceeded(RaySystemError):
    """A compiled graph has as many executions under way as it may."""


def _hex(identity: Any) -> str:
    return identity.hex() if hasattr(identity, "hex") else str(identity)


def _restore(cls: type[RayError], args: tuple[Any, ...], about: dict[str, Any], state: dict[str, Any]) -> RayError:
    """Rebuild an error whose text is made of arguments that Exception.args does not hold."""
    error = cls(*args, **about)
    error.__dict__.update(state)
    return error


# Upstream keeps the list of what ray.get may raise under this name.
RAY_EXCEPTION_TYPES = tuple(
    kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, RayError) and not kind.__name__.startswith("_")
)
