"""Extents: ranges of the arena that clients hold ahead of need, and fill with objects without asking.

An extent consists of holes, at first one. A part of a hole becomes an object when its creator says so, or goes back to
the arena when it will not be written to; until then it counts as taken. An extent without holes is over.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from manta_object_manager.arena import ALIGNMENT, Arena, Range, rounded
from manta_object_manager.client_id import ClientId, NotAllowed

MIN_BYTES: Final = 1024 * 1024  # less is not worth a message
MAX_BYTES: Final = 64 * 1024 * 1024  # unless a single object is larger
# Of the arena: the most that one extent takes, that all take together, and what stays free for everybody.
_SHARE_OF_ONE: Final = 16
_SHARE_OF_ALL: Final = 4
_SHARE_KEPT_FREE: Final = 4
# The one in use, the one after it, and two of which parts are still being written.
_MOST_PER_CLIENT: Final = 4
# A warm range this much smaller than what was asked for is better than a cold one.
_WORTH_OF_WARM: Final = 4


@dataclass(slots=True, eq=False)
class Extent:
    """holes: by offset; none touches another unless what lay between became an object and was freed."""

    number: int
    client: ClientId
    range: Range
    holes: list[Range] = field(default_factory=list)


class Extents:
    """Every extent of one arena. Pure."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._extents: dict[int, Extent] = {}
        self._of_client: dict[ClientId, dict[int, Extent]] = {}
        self._last = 0
        self.bytes = 0  # in holes

    def __len__(self) -> int:
        return len(self._extents)

    @property
    def clients(self) -> tuple[ClientId, ...]:
        """Those who hold extents."""
        return tuple(self._of_client)

    def grant(self, client: ClientId, wanted: int, at_least: int = 0) -> Extent | None:
        """A new extent of about that size, less when that is warm or all there is; None when room is short.

        at_least: what is of use to the client, bytes.
        Nothing is evicted for it: a client without an extent asks for each object.
        """
        arena = self._arena
        if len(self._of_client.get(client, ())) >= _MOST_PER_CLIENT:
            return None
        most = min(
            max(MAX_BYTES, at_least),
            arena.size // _SHARE_OF_ONE,
            arena.size // _SHARE_OF_ALL - self.bytes,
            arena.available - arena.size // _SHARE_KEPT_FREE,
        )
        size = min(rounded(max(wanted, MIN_BYTES)), most // ALIGNMENT * ALIGNMENT)
        least = max(MIN_BYTES, at_least)
        warm = arena.largest_warm()
        if warm < size and warm >= max(least, size // _WORTH_OF_WARM):
            size = warm
        size = min(size, arena.largest())
        taken = arena.allocate(size) if size >= least else None
        if taken is None:
            return None
        self._last += 1
        extent = Extent(self._last, client, taken, [taken])
        self._extents[extent.number] = extent
        self._of_client.setdefault(client, {})[extent.number] = extent
        self.bytes += taken.size
        return extent

    def take(self, client: ClientId, number: int, offset: int, size: int) -> Range:
        """A part of the client's extent becomes somebody else's: an object's. size: bytes of the object.

        raises: NotAllowed when it is not in a hole of an extent of this client.
        """
        extent = self._extents.get(number)
        if extent is None or extent.client != client:
            raise NotAllowed(f"extent {number} is not held by this process")
        at = bisect_right(extent.holes, offset, key=lambda hole: hole.offset) - 1
        if at < 0:
            raise NotAllowed(f"offset {offset} is not in extent {number}")
        part = Range(offset, rounded(size))
        try:
            extent.holes[at : at + 1] = self._arena.split(extent.holes[at], part.offset, part.size)
        except ValueError as error:
            raise NotAllowed(f"extent {number}: {error}") from error
        self.bytes -= part.size
        if not extent.holes:
            self._forget(extent)
        return part

    def give_back(self, client: ClientId, number: int, offset: int, size: int) -> None:
        """The client will not write to this part. raises: NotAllowed as `take`."""
        self._arena.free(self.take(client, number, offset, size))

    def drop_client(self, client: ClientId) -> None:
        """The process is gone: nobody writes to its extents any more."""
        for extent in list(self._of_client.get(client, {}).values()):
            for hole in extent.holes:
                self._arena.free(hole)
                self.bytes -= hole.size
            self._forget(extent)

    def validate(self) -> None:
        """Check every invariant. raises: AssertionError that names the broken one."""
        held = list(self._of_extents())
        assert self.bytes == sum(hole.size for extent in held for hole in extent.holes), "bytes differ"
        assert {extent.number for extent in held} == set(self._extents), "the indexes differ"
        for extent in held:
            assert extent.holes, f"extent {extent.number} is over and was kept"
            position = extent.range.offset
            for hole in extent.holes:
                assert position <= hole.offset and hole.end <= extent.range.end, f"{hole} is outside its place"
                position = hole.end

    def holes(self) -> Iterable[Range]:
        return (hole for extent in self._extents.values() for hole in extent.holes)

    def _of_extents(self) -> Iterable[Extent]:
        return (extent for extents in self._of_client.values() for extent in extents.values())

    def _forget(self, extent: Extent) -> None:
        del self._extents[extent.number]
        held = self._of_client[extent.client]
        del held[extent.number]
        if not held:
            del self._of_client[extent.client]
