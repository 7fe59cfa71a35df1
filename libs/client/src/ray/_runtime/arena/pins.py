"""Pins: what keeps a range of the arena from being used again while somebody here can see its bytes.

A view (a numpy array, an Arrow table) hangs on a buffer, the buffer on its `Pinned`, the `Pinned` on the mapping. The
end of the last view ends the `Pinned`, and that queues the release; nothing is ever unmapped under a view.

Buffers are memoryviews, and what they hang on is an array of ctypes: of all that Python has, it alone can be laid over
memory that is there and hold another object, and neither numpy nor Arrow has to be imported for it.
"""

from __future__ import annotations

import itertools
import mmap
import os
import weakref
from collections.abc import Callable
from typing import Any

from ray._runtime.arena.outbox import Outbox


class Mapping:
    """One arena as this process sees it, with the pins that it holds there. Outlives its connection."""

    def __init__(self, size: int, write_fd: int, read_fd: int) -> None:
        self.size = size
        self.writable = memoryview(mmap.mmap(write_fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE))
        # The descriptor is open for reading only, so not even mprotect makes this one writable.
        self.readable = memoryview(mmap.mmap(read_fd, size, mmap.MAP_SHARED, mmap.PROT_READ))
        self._export: Callable[[], Any] | None = None
        self._pins: dict[bytes, _PinReference] = {}
        # All that have not ended. Apart from the above, where a new pin may take a place at the moment when the end of
        # the old one clears it: without its reference nobody would hear of the end of the new one.
        self._living: dict[int, _PinReference] = {}
        self._numbers = itertools.count()
        self.outbox = Outbox()
        self.on_released: Callable[[bytes], None] | None = None
        # Set when the connection is to end with the last pin.
        self.on_last: Callable[[], None] | None = None
        self._pid = os.getpid()

    def buffer(self, offset: int, size: int, base: object) -> memoryview:
        """A range of the arena, read-only, without a copy. It and whatever is made from it hold `base`. cost: 1 us."""
        export = self._export
        if export is None:
            export = self._export = _exporter(self.readable)
        exporter = export()
        exporter.base = base
        return memoryview(exporter)[offset : offset + size].cast("B").toreadonly()

    @property
    def pins(self) -> int:
        """Objects that this process pins."""
        return len(self._living)

    def find(self, object_id: bytes) -> Pinned | None:
        """The living pin of the object; costs no round trip."""
        reference = self._pins.get(object_id)
        return None if reference is None else reference()

    def is_pinned(self, object_id: bytes) -> bool:
        """Whether a pin of the object may still be there, or its end not yet told."""
        return object_id in self._pins

    def adopt(self, object_id: bytes, offset: int, size: int) -> Pinned:
        """Make a pin that the object manager has just counted into an object, or give it back if there is one."""
        present = self.find(object_id)
        if present is not None:
            self.outbox.release(object_id)
            return present
        pin = Pinned(self, object_id, offset, size)
        number = next(self._numbers)
        self._pins[object_id] = self._living[number] = _PinReference(pin, self._ended, object_id, number)
        return pin

    def _ended(self, reference: weakref.ref[Pinned]) -> None:
        """A pin ended. Runs in a destructor, on any thread, maybe inside another call of ours: appends, no locks.

        A weak reference's callback and not __del__: during that, find() on another thread could still revive the pin.
        """
        assert isinstance(reference, _PinReference)
        object_id = reference.object_id
        if os.getpid() != self._pid:
            return  # a forked child inherited the view; the pin is its parent's
        self.outbox.release(object_id)
        self._living.pop(reference.number, None)
        if self._pins.get(object_id) is reference:  # else a new pin of the object took its place
            self._pins.pop(object_id, None)
        if self.on_released is not None:
            self.on_released(object_id)
        if self.on_last is not None and not self._living:
            self.on_last()


class Pinned:
    """One pinned object. Keep it, or anything made from its buffer, for as long as the bytes are needed."""

    __slots__ = ("__weakref__", "_mapping", "object_id", "offset", "size")

    def __init__(self, mapping: Mapping, object_id: bytes, offset: int, size: int) -> None:
        self._mapping = mapping
        self.object_id = object_id
        self.offset = offset
        self.size = size

    @property
    def arena_bytes(self) -> int:
        """The size of the arena that the object is in."""
        return self._mapping.size

    @property
    def readable(self) -> memoryview:
        """The bytes, read-only, without a copy; only for as long as somebody holds this."""
        return self._mapping.readable[self.offset : self.offset + self.size]

    @property
    def buffer(self) -> memoryview:
        """The bytes, read-only, without a copy; views made from it hold the pin."""
        return self.buffer_on(self)

    def buffer_on(self, base: object) -> memoryview:
        """The bytes, hanging on `base`, which has to hold the pin."""
        return self._mapping.buffer(self.offset, self.size, base)

    def __repr__(self) -> str:
        return f"Pinned({self.object_id.hex()}, {self.size} bytes at {self.offset})"


class View:
    """One read of an object: what its buffers hang on. Holds the pin; `ended` is told its object, in a destructor."""

    __slots__ = ("_ended", "_pin")

    def __init__(self, pin: Pinned, ended: Callable[[bytes], None]) -> None:
        self._pin = pin
        self._ended = ended

    def __del__(self) -> None:
        self._ended(self._pin.object_id)

    @property
    def readable(self) -> memoryview:
        """As Pinned.readable: only for as long as somebody holds this."""
        return self._pin.readable

    @property
    def buffer(self) -> memoryview:
        """As Pinned.buffer; views made from it hold this."""
        return self._pin.buffer_on(self)


class _PinReference(weakref.ref[Pinned]):
    """A weak reference that knows its object, and its own number among those of the mapping."""

    __slots__ = ("number", "object_id")

    number: int
    object_id: bytes

    def __new__(
        cls, pin: Pinned, callback: Callable[[weakref.ref[Pinned]], None], object_id: bytes, number: int
    ) -> _PinReference:
        self = super().__new__(cls, pin, callback)
        self.object_id = object_id
        self.number = number
        return self

    def __init__(
        self, pin: Pinned, callback: Callable[[weakref.ref[Pinned]], None], object_id: bytes, number: int
    ) -> None:
        super().__init__(pin, callback)  # type: ignore[call-arg]  # as the stubs do not know


def _exporter(memory: memoryview) -> Callable[[], Any]:
    """What makes objects that lie over all of `memory` and keep what is assigned to their `base`.

    One type for all ranges, each a slice of such an object: ctypes never forgets the array type of a length.
    """
    import ctypes
    import functools

    from ray._runtime.arena.buffer_address import address_of

    class Exporter(ctypes.Array):  # type: ignore[type-arg]
        _type_ = ctypes.c_ubyte
        _length_ = memory.nbytes
        __slots__ = ("base",)

    return functools.partial(Exporter.from_address, address_of(memory))
