"""A range of the arena that this process fills."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manta_proto.object_manager.v1 import object_manager_pb2 as pb

from ray._runtime.arena.arena_errors import ArenaRefused
from ray._runtime.arena.outbox import News
from ray._runtime.arena.pins import Mapping, Pinned

if TYPE_CHECKING:
    from manta_proto.common.v1.common_pb2 import WorkerAddress

    from ray._runtime.arena.arena_connection import ArenaConnection
    from ray._runtime.arena.extents import Part


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
