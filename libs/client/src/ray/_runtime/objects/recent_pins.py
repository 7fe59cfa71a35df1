"""Pins of stored objects that were written or read of late, kept a moment longer: the next read costs no round trip.

A pure table, changed under the process's lock. Time comes in as an argument, in seconds.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ray._runtime.arena.pins import Pinned

# How long a pin outlives the last read. Meanwhile its object can be neither evicted nor spilled.
KEEP_S: Final = 0.5
_MOST: Final = 1024
# Of the arena, beside the latest.
_SHARE: Final = 2


class RecentPins:
    """The latest pins, at most 1,024 and half of the arena."""

    def __init__(self) -> None:
        self._pins: collections.OrderedDict[bytes, tuple[float, Pinned]] = collections.OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._pins)

    def keep(self, object_id: bytes, pin: Pinned, now: float) -> None:
        """The object was read; from now on somebody has to call expire."""
        pins = self._pins
        self.forget(object_id)
        pins[object_id] = (now, pin)
        self._bytes += pin.size
        while len(pins) > _MOST or (len(pins) > 1 and self._bytes > pin.arena_bytes // _SHARE):
            self.forget(next(iter(pins)))

    def forget(self, object_id: bytes) -> None:
        """Nobody here refers to the object any more."""
        kept = self._pins.pop(object_id, None)
        if kept is not None:
            self._bytes -= kept[1].size

    def expire(self, now: float) -> bool:
        """Let go what was not read for KEEP_S. returns: whether there are others, to be looked at again."""
        pins = self._pins
        while pins:
            object_id, (read, _) = next(iter(pins.items()))
            if now - read < KEEP_S:
                return True
            self.forget(object_id)
        return False

    def clear(self) -> None:
        self._pins.clear()
        self._bytes = 0
