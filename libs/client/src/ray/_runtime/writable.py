"""A range of the arena that this process fills."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from manta.proto.object_manager.v1 import object_manager_pb2 as pb
from ray._runtime.arena_errors import ArenaRefused
from ray._runtime.outbox import News
from ray._runtime.pins import Mapping, Pinned

if TYPE_CHECKING:
    from manta.proto.common.v1.common_pb2 import WorkerAddress
    from ray._runtime.arena_connection import ArenaConnection
    from ray._runtime.extents import Part

# From here a second thread pays for itself.
_PARALLEL_BYTES: Final = 1024 * 1024
_COPY_THREADS: Final = 4
# Blocks for each thread: one that the machine slows down leaves the rest to the others.
_COPY_BLOCKS: Final = 4


class Writable:
    """A reserved range: fill `view`, then seal. As a context it aborts what was not sealed.

    part: of an extent, if it lies in one; the object manager hears of the object, and of its owner, when it is sealed.
    """

    __slots__ = ("_connection", "_offset", "_open", "_owner", "_part", "object_id", "size", "view")

    def __init__(
        self,
        connection: ArenaConnection,
        object_id: bytes,
        size: int,
        offset: int,
        part: Part | None = None,
        owner: WorkerAddress | None = None,
    ) -> None:
        self._connection = connection
        self._offset = offset
        self._part = part
        self._owner = owner
        self._open = True
        self.object_id = object_id
        self.size = size
        self.view = connection.mapping.writable[offset : offset + size]

    def seal(self, *, keep_pin: bool = False) -> Pinned | None:
        """The bytes are final: others may read them. keep_pin: returns a pin of ours, made without a round trip.

        With a pin and in an extent the news goes out with the next flush, for which the caller has to see: before it
        says to anybody that the object is here.
        raises: ArenaDisconnected; the object is lost then.
        """
        self.view = self._connection.mapping.writable[:0]
        if not self._open:
            raise ArenaRefused(f"object {self.object_id.hex()} was sealed or aborted before")
        self._open = False
        mapping: Mapping = self._connection.mapping
        if self._part is not None and keep_pin:
            mapping.outbox.news(News(self.object_id, self._part, self.size, self._owner))
            return mapping.adopt(self.object_id, self._offset, self.size)
        seal = pb.Seal(object_id=self.object_id, keep_pin=keep_pin)
        if self._part is not None:
            seal = pb.Seal(
                object_id=self.object_id,
                extent=self._part.extent,
                offset=self._offset,
                size=self.size,
                owner=self._owner,
            )
        self._connection.queue(pb.SEAL, seal)
        pin = mapping.adopt(self.object_id, self._offset, self.size) if keep_pin else None
        self._connection.flush()
        return pin

    def abort(self) -> None:
        """Give the range back. Nothing of it may be written after this. raises: ArenaDisconnected."""
        self._give_up()
        self._connection.flush()

    def _give_up(self) -> None:
        self.view = self._connection.mapping.writable[:0]
        if self._open:
            self._open = False
            if self._part is None:
                self._connection.queue(pb.ABORT, pb.Abort(object_id=self.object_id))
                return
            returned = pb.ExtentReturned()
            returned.parts.add(extent=self._part.extent, offset=self._part.offset, size=self._part.size)
            self._connection.queue(pb.EXTENT_RETURNED, returned)

    def __enter__(self) -> Writable:
        return self

    def __exit__(self, *error: object) -> None:
        if self._open:
            self.abort()

    def __del__(self) -> None:
        if self._open:
            self._give_up()  # goes out with the next message


def copy_into(destination: memoryview, source: Any) -> None:
    """Copy a contiguous buffer into a view of the same size; large ones by several threads, without the GIL.

    cost: here 10 GB/s with one thread into warm memory, 14 GB/s with two; 1.3 GB/s into memory not yet mapped.
    """
    view = memoryview(source).cast("B") if not isinstance(source, memoryview) else source
    if view.nbytes != destination.nbytes:
        raise ValueError(f"{view.nbytes} bytes do not fill a range of {destination.nbytes}")
    if view.nbytes < _PARALLEL_BYTES:
        destination[:] = view if view.format == "B" and view.ndim == 1 else view.cast("B")
        return
    import pyarrow as pa

    writer = pa.FixedSizeBufferWriter(pa.py_buffer(destination))
    # Arrow takes the number of blocks here; the threads are those of its pool.
    writer.set_memcopy_threads(_COPY_BLOCKS * min(_COPY_THREADS, len(os.sched_getaffinity(0))))
    writer.write(pa.py_buffer(view))
