"""Errors of tasks: what the user's code raised, and what kept it from running."""

from __future__ import annotations

from typing import Any

from ray.exceptions.base import RayError, _FixedError, _hex, _MessageError


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
        fields = RayTaskError._fields(self)
        fields["function_name"] = function_name
        fields["traceback_str"] = traceback_str
        fields["cause"] = cause
        fields["proctitle"] = proctitle or f"ray::{function_name}"
        fields["pid"] = pid
        fields["ip"] = ip
        fields["actor_repr"] = actor_repr
        fields["_actor_id"] = actor_id

    def _fields(self) -> dict[str, Any]:
        """The instance's own dict: the user's class, which this may be an instance of too, may guard attributes."""
        fields: dict[str, Any] = object.__getattribute__(self, "__dict__")
        return fields

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
    ) -> RayTaskError:
        """Describe an exception that user code raised in this process.

        An error that already is a RayTaskError, from a task that this one waited for, is not nested: its cause stays
        the cause and its traceback is part of this one's.
        """
        from ray import _bare_error, _traceback_text

        where = f"pid={pid}, ip={ip}"
        if actor_id is not None:
            where += f", actor_id={actor_id}, repr={actor_repr}"
        text = _traceback_text.describe(error, f"ray::{function_name}() ({where})")
        cause = error
        if _bare_error.is_a(error, RayTaskError):
            cause = RayTaskError._fields(error).get("cause", error)  # type: ignore[arg-type]
        return cls(function_name, text, cause, None, pid, ip, actor_repr, actor_id)

    def make_dual_exception_instance(self) -> RayTaskError:
        """The same error as an instance of the cause's class too. raises: TypeError when that class cannot be mixed."""
        from ray import _error_transport

        return _error_transport.dual(self)

    def as_instanceof_cause(self) -> RayTaskError:
        """Like make_dual_exception_instance, but this error itself where that cannot be, or adds nothing."""
        from ray import _bare_error

        cause = RayTaskError._fields(self)["cause"]
        if _bare_error.is_base(type(cause), of=type(self)):
            return self
        try:
            return self.make_dual_exception_instance()
        except TypeError as error:
            import logging

            logging.getLogger("ray").warning(
                "%s, the class of a remote error, can't be subclassed (%s). The error is raised as RayTaskError only; "
                "its attribute `cause` is what was raised.",
                _bare_error.class_name(cause),
                error,
            )
            return self

    def __bool__(self) -> bool:
        # Of the user's class, which may have a length: concurrent.futures takes an error that is false for none.
        return True

    def __str__(self) -> str:
        return str(RayTaskError._fields(self)["traceback_str"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({RayTaskError._fields(self)['cause']!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        from ray import _error_transport

        fields = RayTaskError._fields(self)
        stored = (
            fields["function_name"],
            fields["traceback_str"],
            _error_transport.dump(fields["cause"]),
            *(fields[name] for name in ("proctitle", "pid", "ip", "actor_repr", "_actor_id")),
        )
        return _error_transport.restore_task_error, (stored, type(self) is not RayTaskError)


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


class TaskUnschedulableError(_MessageError):
    """No node may run the task, and waiting cannot help: for instance its node affinity names a dead node."""

    def __str__(self) -> str:
        return f"The task cannot be scheduled: {self.error_message}"


class TaskPlacementGroupRemoved(_FixedError):
    """The placement group that the task was to run in is gone."""

    default_text = "The task's placement group was removed; make a new group and submit the task again."


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
