"""Values to bytes and back: pickle 5 with out-of-band buffers, cloudpickle for what plain pickle cannot carry.

A value becomes a `Serialized`: the pickle stream, the buffers that it left out of band, and the refs met inside. In an
arena it is laid out as

    u32 count of buffers, u32 kind, u64 length of the stream, count x (u64 offset, u64 length), stream, buffers

little endian, each buffer at an offset that is a multiple of 64, so that arrays come back aligned, as read-only views.
"""

from __future__ import annotations

import functools
import io
import pickle
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from manta_proto.common.v1 import common_pb2

from ray._runtime.values.ref_lists import RefList, is_ref_list
from ray._runtime.values.ref_pickling import refs_met

if TYPE_CHECKING:
    from ray._runtime.values.object_ref import ObjectRef

Value = common_pb2.Value
PICKLE: Final = Value.PICKLE
ERROR: Final = Value.ERROR
RAW: Final = Value.RAW

DEFAULT_INLINE_LIMIT: Final = 100 * 1024


class Inline:
    """Up to how many bytes values travel in messages; the cluster that this process belongs to may say otherwise."""

    __slots__ = ("limit",)

    def __init__(self) -> None:
        self.limit = DEFAULT_INLINE_LIMIT


inline: Final = Inline()
ALIGNMENT: Final = 64

_HEADER = struct.Struct("<IIQ")
_EXTENT = struct.Struct("<QQ")

# Plain pickle is five times faster than cloudpickle but carries functions, classes and whatever lives in __main__ by
# name only, which means nothing in another process. A stream that names one of these is made again by cloudpickle.
_MAIN: Final = b"__main__"


class Serialized:
    """A value ready to be sent or stored. `buffers` are contiguous memoryviews; sizes in bytes."""

    __slots__ = ("buffers", "contained", "data", "kind", "size")

    def __init__(self, kind: int, data: bytes, buffers: list[memoryview], contained: list[ObjectRef]) -> None:
        self.kind = kind
        self.data = data
        self.buffers = buffers
        self.contained = contained
        self.size = len(data) + sum(buffer.nbytes for buffer in buffers) if buffers else len(data)

    def to_proto(self) -> common_pb2.Value:
        value = Value(kind=self.kind, data=self.data)  # type: ignore[arg-type]
        if self.buffers:
            value.buffers.extend(bytes(buffer) for buffer in self.buffers)
        if self.contained:
            value.contained.extend(reference_to_proto(ref) for ref in self.contained)
        return value

    def stored_size(self) -> int:
        """Bytes that write_to needs."""
        return self._layout()[1]

    def write_to(self, target: memoryview, copy: Callable[[memoryview, memoryview], None]) -> None:
        """Lay the value out in `target`; `copy(destination, source)` moves the large parts."""
        offsets, _ = self._layout()
        _HEADER.pack_into(target, 0, len(self.buffers), self.kind, len(self.data))
        position = _HEADER.size
        for offset, buffer in zip(offsets, self.buffers, strict=True):
            _EXTENT.pack_into(target, position, offset, buffer.nbytes)
            position += _EXTENT.size
        target[position : position + len(self.data)] = self.data
        for offset, buffer in zip(offsets, self.buffers, strict=True):
            if buffer.nbytes:
                copy(target[offset : offset + buffer.nbytes], buffer)

    def _layout(self) -> tuple[list[int], int]:
        position = _HEADER.size + _EXTENT.size * len(self.buffers) + len(self.data)
        offsets: list[int] = []
        for buffer in self.buffers:
            position = -(-position // ALIGNMENT) * ALIGNMENT
            offsets.append(position)
            position += buffer.nbytes
        return offsets, position


_custom: dict[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {}


def register_serializer(cls: type, *, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]) -> None:
    """Pickle instances of `cls` (not of its subclasses) as deserializer(serializer(instance))."""
    _custom[cls] = (serializer, deserializer)


def deregister_serializer(cls: type) -> None:
    _custom.pop(cls, None)


def plain(value: Any) -> bytes | None:
    """The pickle stream of a small value that needs nothing else; None for any other, which `serialize` then takes.

    The commonest arguments and results are numbers, strings and small containers of them. cost: one pickling.
    """
    if _custom or (type(value) is list and is_ref_list(value)):
        return None
    buffers: list[pickle.PickleBuffer] = []
    contained: list[ObjectRef] = []
    outer, refs_met.contained = refs_met.contained, contained
    try:
        data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    finally:
        refs_met.contained = outer
    if buffers or contained or len(data) > inline.limit or _MAIN in data:
        return None
    return data


def is_large_array(value: Any) -> bool:
    """Whether `plain` would pickle it in vain."""
    # By its name: numpy may not be imported.
    kind = type(value)
    return kind.__name__ == "ndarray" and kind.__module__ == "numpy" and value.nbytes > inline.limit


def serialize(value: Any) -> Serialized:
    """Make a value ready to travel.

    raises: TypeError naming what cannot be pickled; ray.util.inspect_serializability tells more.
    """
    if type(value) is bytes:
        return Serialized(RAW, value, [], [])
    return _pickled(PICKLE, RefList(value) if not _custom and is_ref_list(value) else value)


def serialize_error(error: BaseException) -> Serialized:
    """Like serialize; getting it raises the error."""
    return _pickled(ERROR, error)


def _pickled(kind: int, value: Any) -> Serialized:
    raw: list[pickle.PickleBuffer] = []
    contained: list[ObjectRef] = []
    outer, refs_met.contained = refs_met.contained, contained
    try:
        data = _dumps(value, raw, contained)
    finally:
        refs_met.contained = outer
    return Serialized(kind, data, [_flat(buffer) for buffer in raw], contained)


def _dumps(value: Any, raw: list[pickle.PickleBuffer], contained: list[ObjectRef]) -> bytes:
    if not _custom:
        try:
            data = pickle.dumps(value, protocol=5, buffer_callback=raw.append)
            if _MAIN not in data:
                return data
        except (pickle.PicklingError, AttributeError, TypeError):
            pass  # a lambda, a local class, an open file: cloudpickle carries it, or says why it cannot
        raw.clear()
        contained.clear()
    from ray._runtime.values.pickler import Pickler

    file = io.BytesIO()
    make = _custom_pickler() if _custom else Pickler
    pickler = make(file, protocol=5, buffer_callback=raw.append)
    try:
        pickler.dump(value)
    except (pickle.PicklingError, AttributeError, TypeError, ValueError) as error:
        raise TypeError(
            f"Could not serialize {_describe(value)}: {error}. "
            "ray.util.inspect_serializability() shows which part of it cannot be pickled."
        ) from error
    return file.getvalue()


@functools.cache
def _custom_pickler() -> type[Any]:
    """The pickler that knows the registered serializers."""
    from ray._runtime.values import pickler

    class Pickler(pickler.Pickler):
        # Not by a dispatch_table: one that is set after the pickler was made is never looked at.
        def reducer_override(self, value: Any) -> Any:
            custom = _custom.get(type(value))
            if custom is None:
                return super().reducer_override(value)
            serializer, deserializer = custom
            return _call, (deserializer, serializer(value))

    return Pickler


def _call(function: Callable[[Any], Any], argument: Any) -> Any:
    return function(argument)


def _describe(value: Any) -> str:
    return shown(value) if callable(value) else shown(type(value))


def shown(value: Any) -> str:
    """A value of the user's in an error about it, which its own __repr__ must not replace by another."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__} whose repr() raises {type(error).__name__}>"
    return text if len(text) < 200 else text[:200] + "..."


def _flat(buffer: pickle.PickleBuffer) -> memoryview:
    # raw() refuses non-contiguous memory; picklers only emit contiguous buffers.
    return buffer.raw()


def load(kind: int, data: Any, buffers: Any) -> Any:
    """The value of a stream and its buffers; an ERROR's value is the exception, not raised here."""
    if kind == RAW:
        return bytes(data)
    return pickle.loads(data, buffers=buffers)


def load_proto(value: common_pb2.Value) -> Any:
    return load(value.kind, value.data, value.buffers)


def read_layout(view: memoryview) -> tuple[int, memoryview, list[tuple[int, int]]]:
    """Take a stored value apart: kind, stream, and (offset, length) of each buffer.

    raises: ValueError when the range does not hold a value.
    """
    if view.nbytes < _HEADER.size:
        raise ValueError(f"a stored value has at least {_HEADER.size} bytes, not {view.nbytes}")
    count, kind, length = _HEADER.unpack_from(view, 0)
    position = _HEADER.size + count * _EXTENT.size
    if position + length > view.nbytes:
        raise ValueError(f"a stored value of {view.nbytes} bytes names a stream of {length}")
    extents = [_EXTENT.unpack_from(view, _HEADER.size + i * _EXTENT.size) for i in range(count)]
    return kind, view[position : position + length], extents


def reference_to_proto(ref: ObjectRef) -> common_pb2.ObjectReference:
    message = common_pb2.ObjectReference(object_id=ref._id)
    if ref._owner is not None:
        message.owner.node_id, message.owner.worker_id = ref._owner
    return message
