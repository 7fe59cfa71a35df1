"""Pins of stored objects that were read of late, kept a moment longer: reading one again costs no round trip.

A pure table, changed under the process's lock. Time comes in as an argument, in seconds.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ray._runtime.pins import Pinned

# How long a pin outlives the last read. Meanwhile its object can be neither evicted nor spilled.
KEEP_S: Final = 0.1
_MOST: Final = 32


class RecentPins:
    """At most 32 pins, the latest."""

    def __init__(self) -> None:
        self._pins: collections.OrderedDict[bytes, tuple[float, Pinned]] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._pins)

    def keep(self, object_id: bytes, pin: Pinned, now: float) -> bool:
        """The object was read. returns: whether this is the only pin, so that somebody has to call expire."""
        pins = self._pins
        pins[object_id] = (now, pin)
        pins.move_to_end(object_id)
        if len(pins) > _MOST:
            pins.popitem(last=False)
        return len(pins) == 1

    def forget(self, object_id: bytes) -> None:
        """Nobody here refers to the object any more."""
        self._pins.pop(object_id, None)

    def expire(self, now: float) -> bool:
        """Let go what was not read for KEEP_S. returns: whether there are others, to be looked at again."""
        pins = self._pins
        while pins:
            object_id, (read, _) = next(iter(pins.items()))
            if now - read < KEEP_S:
                return True
            del pins[object_id]
        return False

    def clear(self) -> None:
        self._pins.clear()
