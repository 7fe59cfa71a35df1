"""Results into replies: small ones inline, large ones into the arena, errors in place of all of them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, Final

from manta_proto.worker.v1 import worker_pb2

from ray._runtime.execution.execution import END, Failure, advance
from ray._runtime.objects.stored_values import store
from ray._runtime.values import serialization
from ray._runtime.values.serialization import DEFAULT_INLINE_LIMIT, Serialized
from ray._runtime.values.wire import item_id, plain_return

if TYPE_CHECKING:
    from ray._runtime.execution.execution import Execution
    from ray._runtime.process.process import Process

# Values for the arena, and the messages that are to name them: `store_all` writes them.
Large = list[tuple[worker_pb2.Return, Serialized]]

# What the state tables show of an error, characters.
ERROR_TEXT_LIMIT: Final = 4000
_ERRORS: Final = (worker_pb2.TaskReply.RAISED, worker_pb2.TaskReply.ACTOR_LEFT)
# Values whose pickles hold no refs, buffers or code; and how long those are at most, with their message.
_NUMBERS: Final = frozenset((int, float, bool, type(None)))
_NUMBER_BYTES: Final = 48


def pack_returns(
    execution: Execution, reply: worker_pb2.TaskReply, result: Any, large: Large
) -> dict[bytes, list[tuple[bytes, bytes]]]:
    """Put the results, or the error that stands for all of them, into the reply; those for the arena into `large`.

    A generator that makes fewer items than num_returns says, or raises, leaves those that it made, and an error for
    each of the others. returns: the refs inside each result that has some, as (id, owner). raises: Failure when a
    result cannot be pickled, or is not as many values as num_returns says.
    """
    count = execution.task.num_returns
    if reply.outcome in _ERRORS:
        error = pack_error(execution, result)
        reply.message = str(result)[-ERROR_TEXT_LIMIT:]
        value = error.to_proto()
        owners = _owners(execution.process, error)
        object_ids = [_return_id(execution, index) for index in range(1, count + 1)]
        if count < 0:
            # A generator's error is one more item.
            made = execution.flow.made if execution.flow is not None else 0
            object_ids = [item_id(execution.task.task_id, made)]
        for object_id in object_ids:
            reply.returns.add(object_id=object_id).value.CopyFrom(value)
        return dict.fromkeys(object_ids, owners) if owners else {}
    if count < 0 and execution.flow is not None:
        reply.items_made = execution.flow.made
    if count <= 0:
        return {}
    contained: dict[bytes, list[tuple[bytes, bytes]]] = {}
    failure: Failure | None = None
    if count == 1:
        values = [_single(execution, result)]
    elif issubclass(type(result), Generator):
        values, failure = _first_items(execution, result, count)
    else:
        values = _several(execution, result, count)
    room = execution.process.tuning.call_inline_bytes
    numbers: list[bytes] = []
    for index, value in enumerate(values, 1):
        object_id = _return_id(execution, index)
        if type(value) in _NUMBERS and len(data := pickle.dumps(value, 5)) <= _NUMBER_BYTES <= room:
            # A task may have thousands of results, and most of what the way below takes is for what these cannot be.
            numbers.append(plain_return(object_id, data))
            room -= _NUMBER_BYTES
            continue
        try:
            serialized = _serialize(execution, value)
        except Failure as unpickled:
            if index == 1 or not issubclass(type(result), Generator):
                raise
            failure, values = unpickled, values[: index - 1]
            break
        message = reply.returns.add(object_id=object_id)
        if serialized.size <= min(serialization.inline.limit, room):
            message.value.CopyFrom(serialized.to_proto())
        else:
            large.append((message, serialized))
        owners = _owners(execution.process, serialized)
        room = max(0, room - message.value.ByteSize()) if message.HasField("value") else room
        if owners:
            contained[object_id] = owners
    # Behind the others: a caller goes by the ids.
    reply.MergeFromString(b"".join(numbers))
    if failure is not None:
        contained.update(_pack_rest(execution, reply, failure.value, range(len(values) + 1, count + 1)))
    return contained


def _pack_rest(
    execution: Execution, reply: worker_pb2.TaskReply, result: BaseException, indices: Iterable[int]
) -> dict[bytes, list[tuple[bytes, bytes]]]:
    """Put the error into the reply for these results, behind the others."""
    error = pack_error(execution, result)
    reply.outcome = worker_pb2.TaskReply.RAISED
    reply.message = str(result)[-ERROR_TEXT_LIMIT:]
    owners = _owners(execution.process, error)
    object_ids = [_return_id(execution, index) for index in indices]
    value = error.to_proto()
    for object_id in object_ids:
        reply.returns.add(object_id=object_id).value.CopyFrom(value)
    return dict.fromkeys(object_ids, owners) if owners else {}


def _return_id(execution: Execution, index: int) -> bytes:
    return execution.task.task_id + index.to_bytes(4, "little")


def _single(execution: Execution, result: Any) -> Any:
    """The one result of a call; of a generator that is told to have one, its first item."""
    # By its type: isinstance also asks the value's own __class__.
    if not issubclass(type(result), Generator):
        return result
    value = advance(execution, result)
    if value is END:
        raise _wrong_number(execution, 0, 1)
    return value


def _several(execution: Execution, result: Any, count: int) -> list[Any]:
    """The results of a call that has `count` of them."""
    if not issubclass(type(result), Iterable):
        raise execution.failure(
            TypeError(f"{execution.name} has num_returns={count} but returned {type(result).__name__}, not a sequence")
        )
    values = list(result)
    if len(values) != count:
        raise _wrong_number(execution, len(values), count)
    return values


def _first_items(
    execution: Execution, generator: Generator[Any, Any, Any], count: int
) -> tuple[list[Any], Failure | None]:
    """At most `count` items, and the error of those that are missing.

    raises: Failure when there are none, or the call was cancelled, or its process is to end.
    """
    items: list[Any] = []
    try:
        while len(items) < count:
            item = advance(execution, generator)
            if item is END:
                return items, _wrong_number(execution, len(items), count)
            items.append(item)
    except Failure as failure:
        if not items or execution.cancelled or (execution.exits and not execution.retires):
            raise
        return items, failure
    return items, None


def _wrong_number(execution: Execution, made: int, wanted: int) -> Failure:
    return execution.failure(ValueError(f"Task returned {made} objects, but num_returns={wanted}."))


def pack_item(execution: Execution, message: worker_pb2.Return, value: Any) -> tuple[list[tuple[bytes, bytes]], Large]:
    """Put one item into its message, which names the object, unless it is large.

    returns: the refs inside, as (id, owner), and what `store_all` has to write. raises: Failure when it cannot be
    pickled.
    """
    serialized = _serialize(execution, value)
    large: Large = []
    if serialized.size <= serialization.inline.limit:
        message.value.CopyFrom(serialized.to_proto())
    else:
        large.append((message, serialized))
    return _owners(execution.process, serialized), large


def _serialize(execution: Execution, value: Any) -> Serialized:
    try:
        return serialization.serialize(value)
    except Exception as error:
        raise execution.failure(error) from None


def store_all(execution: Execution, large: Large) -> None:
    """Write values into the arena; it may have to wait for room. raises: Failure when there is none."""
    process = execution.process
    try:
        for message, serialized in large:
            store(process, message.object_id, serialized, execution.owner)
            message.stored.size = serialized.stored_size()
            message.stored.node_ids.append(process.node_id)
            message.contained.extend(serialization.reference_to_proto(ref) for ref in serialized.contained)
    except Exception as error:
        raise execution.failure(error) from None


def _owners(process: Process, serialized: Serialized) -> list[tuple[bytes, bytes]]:
    return [(ref._id, (ref._owner or process.address)[1]) for ref in serialized.contained]


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
    if serialized.size > DEFAULT_INLINE_LIMIT * 10:
        from ray.exceptions import RayTaskError

        cause = RuntimeError(f"the exception raised in {execution.name} is {serialized.size} bytes when pickled")
        text = str(getattr(error, "traceback_str", error))[-DEFAULT_INLINE_LIMIT:]
        serialized = serialization.serialize_error(RayTaskError(execution.name, text, cause, pid=os.getpid()))
    return serialized
