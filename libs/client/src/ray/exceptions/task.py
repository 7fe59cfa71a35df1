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
