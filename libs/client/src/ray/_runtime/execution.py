"""One run of a task or method: its arguments in, its results or its error out."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from manta.common.resources import ResourceSet
from manta.proto.worker.v1 import worker_pb2
from ray._runtime import arguments, serialization
from ray._runtime.arena_errors import ObjectNotFound
from ray._runtime.serialization import INLINE_LIMIT, Serialized
from ray._runtime.stored import load_stored, store

if TYPE_CHECKING:
    from ray._runtime.links import Peer
    from ray._runtime.object_ref import ObjectRef
    from ray._runtime.process import Process


class Failure(Exception):
    """The task is over with an error; `value` is the exception that its results shall raise."""

    def __init__(self, value: BaseException) -> None:
        super().__init__(value)
        self.value = value


class Execution:
    """A task while it runs. `exits` says why the worker ends after it, if it does."""

    def __init__(self, process: Process, peer: Peer, batch: worker_pb2.Tasks, task: worker_pb2.Task) -> None:
        self.process = process
        self.peer = peer
        self.batch = batch
        self.task = task
        self.exits = ""
        self.function_name = ""
        self.caller = batch.caller.worker_id
        self.owner = (batch.caller.node_id, batch.caller.worker_id)

    @property
    def name(self) -> str:
        return self.task.name or self.function_name or self.task.method

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call's arguments. raises: Failure when one cannot be brought or unpickled."""
        task = self.task
        try:
            if not task.arguments and not task.args.contained:
                return arguments.decode(serialization.load_proto(task.args), [])
            with serialization.receiving(self.receive):
                resolved = [self._resolve(argument) for argument in task.arguments]
                return arguments.decode(serialization.load_proto(task.args), resolved)
        except Failure:
            raise
        except BaseException as error:
            raise self.failure(error) from None

    def _resolve(self, argument: worker_pb2.Argument) -> Any:
        if argument.HasField("value"):
            return serialization.load_proto(argument.value)
        owner = (argument.ref.owner.node_id, argument.ref.owner.worker_id)
        object_id = argument.ref.object_id
        # The ref lives as long as its views do; without it a value kept by the task would lose its object.
        ref = self.receive(object_id, owner)
        nodes = list(argument.stored.node_ids)
        try:
            return load_stored(self.process, object_id, nodes, owner, None, self._receiver(object_id))
        except ObjectNotFound:
            # The copies named are gone; the owner may know others.
            return self.process.fetcher.get([ref], None)[0]

    def receive(self, object_id: bytes, owner: tuple[bytes, bytes] | None) -> ObjectRef:
        """A ref among the arguments: the caller protects it until our reply."""
        task_id = self.task.task_id
        caller = self.caller
        return self.process.receive_ref(
            object_id, owner, lambda refs, owner_id: refs.received_in_task(object_id, owner_id, task_id, caller)
        )

    def _receiver(self, outer: bytes) -> Callable[[bytes, tuple[bytes, bytes] | None], ObjectRef]:
        return lambda object_id, owner: self.process.receive_ref(
            object_id, owner, lambda refs, owner_id: refs.received_in_object(object_id, owner_id, outer)
        )

    def failure(self, error: BaseException) -> Failure:
        """What the caller is to see of an error of the user's code, with its traceback as text."""
        from ray.exceptions import RayTaskError

        actor = self.process.executor.actor
        # The frames of the runtime say nothing to the user: start at the first that is not ours.
        ours = 0
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
            trace = trace.tb_next
            ours += 1
        described = RayTaskError.from_exception(
            self.name,
            error,
            pid=os.getpid(),
            ip=self.process.ip_address,
            actor_repr=actor.repr_name if actor is not None else None,
            actor_id=self.task.actor_id.hex() or None,
            skip_frames=ours if trace is not None else 0,
        )
        clear_frames(error)
        return Failure(described)

    def context(self) -> dict[str, Any]:
        batch = self.batch
        return {
            "task_id": self.task.task_id,
            "task_name": self.name,
            "function_name": self.function_name,
            "resources": ResourceSet.from_proto(batch.resources).to_floats(),
            "gpu_ids": list(batch.gpu_ids),
            "attempt": self.task.attempt,
        }


_OURS = os.path.dirname(os.path.abspath(__file__))


def clear_frames(error: BaseException) -> None:
    """Drop tracebacks: their frames hold the task's arguments, which must not outlive it."""
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        current = queue.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            current.__traceback__ = None
            queue.extend((current.__cause__, current.__context__))


def run(execution: Execution, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the user's code. raises: Failure with what it raised."""
    execution.function_name = getattr(function, "__qualname__", "") or execution.task.method
    execution.process.output_name(execution.process.executor.actor, execution.name)
    try:
        return function(*args, **kwargs)
    except SystemExit as error:
        execution.exits = f"sys.exit({error.code!r}) was called in {execution.name}"
        raise execution.failure(error) from None
    except BaseException as error:
        if type(error).__name__ == "AsyncioActorExit":
            execution.exits = "exit_actor() was called"
            return None
        raise execution.failure(error) from None


def pack_returns(
    execution: Execution, reply: worker_pb2.TaskReply, result: Any
) -> dict[bytes, list[tuple[bytes, bytes]]]:
    """Put the results, or the error that stands for all of them, into the reply.

    returns: the refs inside each result that has some, as (id, owner). raises: Failure when a result cannot be
    pickled, finds no room, or is not as many values as num_returns says.
    """
    count = execution.task.num_returns
    if reply.outcome == worker_pb2.TaskReply.RAISED:
        error = pack_error(execution, result)
        value = error.to_proto()
        owners = _owners(execution.process, error)
        for index in range(1, count + 1):
            reply.returns.add(object_id=_return_id(execution, index)).value.CopyFrom(value)
        return {_return_id(execution, index): owners for index in range(1, count + 1)} if owners else {}
    if count == 0:
        return {}
    contained: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for index, value in enumerate([result] if count == 1 else _several(execution, result, count), 1):
        object_id = _return_id(execution, index)
        _pack(execution, reply.returns.add(object_id=object_id), value, contained)
    return contained


def _return_id(execution: Execution, index: int) -> bytes:
    return execution.task.task_id + index.to_bytes(4, "little")


def _several(execution: Execution, result: Any, count: int) -> list[Any]:
    try:
        values = list(result)
    except TypeError as error:
        raise execution.failure(
            ValueError(f"{execution.name} has num_returns={count} but returned {type(result).__name__}, not a sequence")
        ) from error
    if len(values) != count:
        raise execution.failure(
            ValueError(f"{execution.name} has num_returns={count} but returned {len(values)} values")
        )
    return values


def _pack(
    execution: Execution,
    message: worker_pb2.Return,
    value: Any,
    contained: dict[bytes, list[tuple[bytes, bytes]]],
) -> None:
    process = execution.process
    try:
        serialized = serialization.serialize(value)
        if serialized.size <= INLINE_LIMIT:
            message.value.CopyFrom(serialized.to_proto())
        else:
            _store(process, execution, message, serialized)
    except Exception as error:
        raise execution.failure(error) from None
    if serialized.contained:
        contained[message.object_id] = _owners(process, serialized)


def _owners(process: Process, serialized: Serialized) -> list[tuple[bytes, bytes]]:
    return [(ref._id, (ref._owner or process.address)[1]) for ref in serialized.contained]


def _store(process: Process, execution: Execution, message: worker_pb2.Return, serialized: Serialized) -> None:
    message.stored.size = store(process, message.object_id, serialized, execution.owner)
    message.stored.node_ids.append(process.node_id)
    message.contained.extend(serialization.reference_to_proto(ref) for ref in serialized.contained)


def pack_error(execution: Execution, error: BaseException) -> Serialized:
    """The error as a value; one that cannot be pickled or is too large is told by its text."""
    try:
        serialized = serialization.serialize_error(error)
    except TypeError as problem:
        from ray.exceptions import RayTaskError

        # The user's exception cannot be pickled; its traceback can.
        text = getattr(error, "traceback_str", str(error))
        cause = RuntimeError(f"the exception raised in {execution.name} cannot be pickled: {problem}")
        stand_in = RayTaskError(execution.name, text, cause, pid=os.getpid(), ip=execution.process.ip_address)
        serialized = serialization.serialize_error(stand_in)
    if serialized.size > INLINE_LIMIT * 10:
        from ray.exceptions import RayTaskError

        cause = RuntimeError(f"the exception raised in {execution.name} is {serialized.size} bytes when pickled")
        text = str(getattr(error, "traceback_str", error))[-INLINE_LIMIT:]
        serialized = serialization.serialize_error(RayTaskError(execution.name, text, cause, pid=os.getpid()))
    return serialized
