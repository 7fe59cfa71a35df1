"""One run of a task or method: its arguments in, its results or its error out."""

from __future__ import annotations

import os
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from inspect import isgenerator
from time import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from manta_common.resources import ResourceSet
from manta_proto.worker.v1 import worker_pb2

from ray import _bare_error
from ray._own_code import is_ours
from ray._runtime.arena.arena_errors import ObjectNotFound
from ray._runtime.execution.forked_child import end_forked_child, exit_status
from ray._runtime.objects.stored_values import load_stored
from ray._runtime.tasks import arguments
from ray._runtime.values import serialization
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.ref_pickling import receiving

if TYPE_CHECKING:
    from ray._runtime.execution.generator_flow import GeneratorFlow
    from ray._runtime.loop.latch import Gate
    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Peer
    from ray._runtime.values.object_ref import ObjectRef

# The call that the present thread of a threaded actor, or the present task of an async one, runs. Where one call runs
# at a time its lane knows it without this.
RUNNING: Final[ContextVar[Execution | None]] = ContextVar("ray_running_call", default=None)


class ArgumentLost(Exception):
    """No copy of an argument of a task is where its caller said. The task goes back: what it holds may be needed."""

    def __init__(self, argument: worker_pb2.Argument, lost_at: list[bytes]) -> None:
        super().__init__(argument.ref.object_id.hex(), lost_at)
        self.argument = argument
        self.lost_at = lost_at


class Failure(Exception):
    """The task is over with an error; `value` is the exception that its results shall raise."""

    def __init__(self, value: BaseException) -> None:
        super().__init__(value)
        self.value = value


class Execution:
    """A task while it runs, since `started_at` (Unix time).

    `exits` says why the worker ends after it, if it does, and `exit_code` how.
    """

    def __init__(self, process: Process, peer: Peer, batch: worker_pb2.Tasks, task: worker_pb2.Task) -> None:
        self.process = process
        self.peer = peer
        self.batch = batch
        self.task = task
        self.started_at = time()
        self.exits = ""
        self.exit_code = 0
        # It ends for max_calls, and not because the call asked for it; then the call has its reply.
        self.retires = False
        self.function_name = ""
        self.module = ""
        # Its code has come to its end, and what follows is the runtime's.
        self.returned = False
        # ray.cancel reached it; its result is not wanted.
        self.cancelled = False
        # Its lane is done with it.
        self.over = False
        # Its code is to be interrupted, and was not yet.
        self.to_interrupt = False
        # Its code is stopped for good: its caller has the reply.
        self.stopped = False
        # Of a generator, while it runs and after: how many items it made.
        self.flow: GeneratorFlow | None = None
        # Where its thread waits inside the runtime: there an interrupt opens it instead of a signal.
        self.gate: Gate | None = None
        # How many threads of a threaded actor's call wait for other processes; its lane's guard is held to change it.
        self.waits = 0
        self.caller = batch.caller.worker_id
        self.owner = (batch.caller.node_id, batch.caller.worker_id)

    @property
    def name(self) -> str:
        """As its caller named it, else that of the function, or of the class and the method."""
        task = self.task
        if task.name:
            return task.name
        actor = self.process.executor.actor
        if actor is not None and task.method:
            return actor.name_of(task.method)
        return self.function_name.rpartition(".")[2] or task.method

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call's arguments. raises: Failure when one cannot be brought or unpickled."""
        task = self.task
        try:
            if not task.arguments and not task.args.contained:
                return arguments.decode(serialization.load_proto(task.args), [])
            with receiving(self._count):
                resolved = [self._resolve(argument) for argument in task.arguments]
                return arguments.decode(serialization.load_proto(task.args), resolved)
        except (Failure, ArgumentLost):
            raise
        except KeyboardInterrupt as error:
            raise self.cancellation(error) from None
        except BaseException as error:
            raise self.failure(error) from None

    def _resolve(self, argument: worker_pb2.Argument) -> Any:
        if argument.HasField("value"):
            return serialization.load_proto(argument.value)
        owner = (argument.ref.owner.node_id, argument.ref.owner.worker_id)
        object_id = argument.ref.object_id
        # The ref lives as long as its views do; without it a value kept by the task would lose its object.
        ref = ObjectRef(object_id, owner)
        self._count([ref])
        if not argument.HasField("stored"):  # a small one beyond what the message may hold
            return self.process.fetcher.get([ref], None)[0]
        nodes = list(argument.stored.node_ids)
        try:
            return load_stored(self.process, object_id, nodes, owner, None, self._receiver(object_id))
        except ObjectNotFound as error:
            if not self.task.definition:
                # The copies named are gone; the owner may know others, or have it made again. An actor waits for that.
                return self.process.fetcher.get([ref], None)[0]
            raise ArgumentLost(argument, [*nodes, *error.lost_at]) from None

    def _count(self, refs: list[ObjectRef]) -> None:
        """Refs among the arguments: the caller protects them until our reply."""
        task_id, caller = self.task.task_id, self.caller
        self.process.receive_refs(refs, lambda counter, items: counter.received_in_task(items, task_id, caller))

    def _receiver(self, outer: bytes) -> Callable[[list[ObjectRef]], None]:
        process = self.process
        return lambda refs: process.receive_refs(refs, lambda counter, items: counter.received_in_object(items, outer))

    def failure(self, error: BaseException) -> Failure:
        """What the caller is to see of an error of the user's code, with its traceback as text."""
        from ray.exceptions import RayTaskError

        actor = self.process.executor.actor
        described = RayTaskError.from_exception(
            self.name,
            error,
            pid=os.getpid(),
            ip=self.process.ip_address,
            actor_repr=actor.repr_name if actor is not None else None,
            # Of a constructor too, whose task names no actor.
            actor_id=actor.actor_id.hex() if actor is not None else None,
        )
        clear_frames(error)
        return Failure(described)

    def begin(self, function: Callable[..., Any]) -> None:
        """The user's code is about to run."""
        self.function_name = getattr(function, "__qualname__", "") or self.task.method
        self.module = getattr(function, "__module__", "") or ""
        self.process.output_name(self.process.executor.actor, self.name)

    def ended_by(self, error: BaseException) -> Failure:
        """The user's code raised: what the caller is to see, and whether the worker ends."""
        if self.process.is_fork:
            end_forked_child(error)
        from ray.exceptions import AsyncioActorExit

        if _bare_error.is_a(error, AsyncioActorExit):
            self.exits, self.retires = EXIT_ACTOR, False
        elif _bare_error.is_a(error, SystemExit):
            self.retires = False
            if type(error) is SystemExit and getattr(error, EXIT_MARK, False):
                self.exits = EXIT_ACTOR
            else:
                code = _bare_error.exit_code(error)
                self.exits = f"sys.exit({repr_or_class(code)}) was called in {self.name}"
                self.exit_code = exit_status(code)
        elif _bare_error.is_a(error, KeyboardInterrupt, CancelledError):
            return self.cancellation(error)
        return self.failure(error)

    def cancellation(self, error: BaseException) -> Failure:
        """The user's code ended by an interrupt, or as a cancelled coroutine."""
        from ray.exceptions import TaskCancelledError

        self.cancelled = True
        cancelled = TaskCancelledError(self.task.task_id.hex())
        trace = _bare_error.traceback_of(error)
        _end_at_user_code(trace)
        return self.failure(cancelled.with_traceback(trace))

    def context(self) -> dict[str, Any]:
        batch = self.batch
        return {
            "task_id": self.task.task_id,
            "task_name": self.name,
            "function_name": f"{self.module}.{self.function_name}" if self.module else self.function_name,
            "resources": ResourceSet.from_proto(batch.resources).to_floats(),
            "gpu_ids": list(batch.gpu_ids),
            "attempt": self.task.attempt,
            "canceled": self.cancelled,
        }


# Why a worker ends whose actor asked for it.
EXIT_ACTOR: Final = "exit_actor() was called"
# On a SystemExit: exit_actor() raised it, and not sys.exit().
EXIT_MARK: Final = "is_ray_terminate"


def _end_at_user_code(trace: TracebackType | None) -> None:
    """Cut a traceback where the user's code called the runtime: how an interrupt came says nothing to the user."""
    in_user_code = False
    while trace is not None and trace.tb_next is not None:
        ours = is_ours(trace.tb_next.tb_frame.f_code.co_filename)
        if in_user_code and ours:
            trace.tb_next = None
        in_user_code = in_user_code or not ours
        trace = trace.tb_next


def repr_or_class(value: Any) -> str:
    """repr() of a value of the user's, or its class's name where that raises."""
    try:
        return repr(value)
    except BaseException:  # of the user's class, which must not end the worker in another way than was meant
        return f"<{type(value).__name__}>"


def clear_frames(error: BaseException) -> None:
    """Drop tracebacks: their frames hold the task's arguments, which must not outlive it."""
    seen: set[int] = set()
    queue = [error]
    while queue:
        current = queue.pop()
        if id(current) not in seen:
            seen.add(id(current))
            _bare_error.drop_traceback(current)
            queue.extend(_bare_error.related(current))


def run(execution: Execution, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the user's code. raises: Failure with what it raised."""
    execution.begin(function)
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        raise execution.ended_by(error) from None
    if execution.process.is_fork:
        end_forked_child()
    return result


END: Final = object()


def advance(execution: Execution, iterator: Iterator[Any], sent: Any = None) -> Any:
    """Run the user's generator to its next yield; END when it returned. raises: Failure with what it raised.

    sent: the value of the yield where it is, for one that is a generator and has begun.
    """
    try:
        takes = sent is not None and _takes_value(iterator)
        value = iterator.send(sent) if takes else next(iterator, END)  # type: ignore[attr-defined]
    except StopIteration:
        value = END
    except BaseException as error:
        raise execution.ended_by(error) from None
    if execution.process.is_fork:
        end_forked_child()
    return value


def _takes_value(iterator: Any) -> bool:
    """Whether a generator's present yield has a value: that of `yield from` a list, say, has none."""
    while (inner := iterator.gi_yieldfrom) is not None:
        if not isgenerator(inner):
            return hasattr(inner, "send")
        iterator = inner
    return True


USER_CODE_BEGINS: Final = frozenset({run.__code__, advance.__code__})
