"""Values in the node's arena: written by puts and results, read back as views of the same memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, TypeVar

from manta_proto.common.v1.common_pb2 import Value

from ray._runtime.arena.arena_client import Garbage
from ray._runtime.arena.arena_errors import ArenaAway, ArenaDisconnected, ArenaEntered, ArenaFull, ArenaTimeout
from ray._runtime.arena.copying import copy_into
from ray._runtime.values import serialization
from ray._runtime.values.gc_pause import LARGE_PICKLE_BYTES, held_back
from ray._runtime.values.ref_pickling import receiving
from ray._runtime.values.system_errors import as_raised

if TYPE_CHECKING:
    from ray._runtime.arena.pins import Pinned
    from ray._runtime.process.process import Process
    from ray._runtime.values.object_ref import ObjectRef
    from ray._runtime.values.serialization import Serialized

log = logging.getLogger("ray.runtime")
_T = TypeVar("_T")

# An object manager that dies more often while one value is written is not worth waiting for.
_ATTEMPTS: Final = 3


def store_put(process: Process, object_id: bytes, serialized: Serialized) -> Pinned | None:
    """Write a value of our own, under an id that was never used before, as `store`; returns a pin of it."""
    return _store(process, object_id, serialized, process.address, keep_pin=True)


def store(process: Process, object_id: bytes, serialized: Serialized, owner: tuple[bytes, bytes]) -> None:
    """Write a value of stored_size() bytes into the arena as a primary copy.

    raises: ObjectStoreFullError when it finds no room; ObjectManagerUnavailableError when the node's stays away.
    """
    _store(process, object_id, serialized, owner, keep_pin=False)


def _store(
    process: Process, object_id: bytes, serialized: Serialized, owner: tuple[bytes, bytes], *, keep_pin: bool
) -> Pinned | None:
    size = serialized.stored_size()
    for left in reversed(range(_ATTEMPTS)):
        try:
            return _write(process, object_id, serialized, size, owner, keep_pin)
        except ArenaFull as full:
            from ray.exceptions import ObjectStoreFullError

            raise ObjectStoreFullError(str(full)) from None
        except ArenaEntered as entered:
            raise _refused(entered) from None
        except ArenaDisconnected as gone:
            # What was written went with the object manager; the next attempt waits for its successor.
            if not left or isinstance(gone, ArenaAway):
                raise unavailable(gone) from None
            log.debug("store_again object_id=%s reason=%s", object_id.hex(), gone)
    raise AssertionError("the last attempt returns or raises")


def _refused(entered: ArenaEntered) -> Exception:
    from ray.exceptions import RaySystemError

    return RaySystemError(str(entered))


def unavailable(gone: ArenaDisconnected) -> Exception:
    """The public error for an object manager that stays away."""
    from ray.exceptions import ObjectManagerUnavailableError

    return ObjectManagerUnavailableError(str(gone))


def _write(
    process: Process, object_id: bytes, serialized: Serialized, size: int, owner: tuple[bytes, bytes], keep_pin: bool
) -> Pinned | None:
    try:
        writable = process.arena.writable(object_id, size, owner)
    except ArenaFull:
        arena = process.arena
        writable = _after_dropping(process, lambda garbage: arena.create(object_id, size, owner, garbage))
    if writable is None:  # an earlier attempt of the same task had stored it
        return None
    with writable:
        serialized.write_to(writable.view, copy_into)
        return writable.seal(keep_pin=keep_pin)


def load_stored(
    process: Process,
    object_id: bytes,
    nodes: list[bytes],
    owner: tuple[bytes, bytes],
    timeout: float | None,
    count: Callable[[list[ObjectRef]], None],
) -> Any:
    """The value of a stored object, brought here from one of `nodes` if need be.

    Arrays and tables in it are read-only views; they keep the object pinned. raises: its error, if it is one;
    ObjectNotFound; GetTimeoutError; ObjectManagerUnavailableError when this node's object manager stays away.
    """
    try:
        pinned = _pin(process, object_id, nodes, owner, timeout)
    except ArenaTimeout as error:
        from ray.exceptions import GetTimeoutError

        raise GetTimeoutError(f"Get timed out: object {object_id.hex()} could not be brought here in time") from error
    view = process.reads.view(object_id, pinned)
    # The stream is read here, while this frame holds the pin; buffers, which the value keeps, hold the view.
    kind, stream, extents = serialization.read_layout(pinned.readable)
    buffers: list[memoryview] = []
    if extents:
        buffer = view.buffer
        buffers = [buffer[offset : offset + length] for offset, length in extents]
    with held_back() if len(stream) >= LARGE_PICKLE_BYTES else nullcontext(), receiving(count):
        value = serialization.load(kind, stream, buffers)
    if kind == serialization.ERROR:
        raise as_raised(value)
    return value


def read_stored(process: Process, object_id: bytes, nodes: list[bytes], owner: tuple[bytes, bytes]) -> Value:
    """A copy of a stored object as a message, unpickled by nobody. raises: as load_stored, without its time limit."""
    view = process.reads.view(object_id, _pin(process, object_id, nodes, owner, None))
    readable = view.readable
    kind, stream, extents = serialization.read_layout(readable)
    buffers = [bytes(readable[offset : offset + length]) for offset, length in extents]
    return Value(kind=kind, data=bytes(stream), buffers=buffers)  # type: ignore[arg-type]


def _after_dropping(process: Process, ask: Callable[[Garbage], _T]) -> _T:
    """Ask again for what was refused for lack of room: what was dropped, or is garbage, makes some.

    Its frees go out ahead on the same connection. What is merely kept for another read goes too. raises: ArenaFull.
    """
    process.drops.settle()
    try:
        return ask(Garbage.UNKNOWN)
    except ArenaFull:
        let_go = process.drops.collect_everywhere()
    return ask(Garbage.LET_GO if let_go else Garbage.NONE)


def _get(
    process: Process, object_id: bytes, nodes: list[bytes], owner: tuple[bytes, bytes], timeout: float | None
) -> Pinned:
    try:
        return process.arena.get(object_id, nodes, owner, timeout)
    except ArenaFull:
        arena = process.arena
        return _after_dropping(process, lambda garbage: arena.get(object_id, nodes, owner, timeout, garbage))


def _pin(
    process: Process, object_id: bytes, nodes: list[bytes], owner: tuple[bytes, bytes], timeout: float | None
) -> Pinned:
    deadline = None if timeout is None else time.monotonic() + timeout
    for left in reversed(range(_ATTEMPTS)):
        remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            return _get(process, object_id, nodes, owner, remaining)
        except ArenaEntered as entered:
            raise _refused(entered) from None
        except ArenaDisconnected as gone:
            # Its successor has none of its objects, but says which nodes still have a copy.
            if not left or isinstance(gone, ArenaAway):
                raise unavailable(gone) from None
            log.debug("get_again object_id=%s reason=%s", object_id.hex(), gone)
    raise AssertionError("the last attempt returns or raises")
