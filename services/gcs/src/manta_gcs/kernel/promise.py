"""What was promised out of a place - a node, a bundle - but is not counted as taken there yet."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from manta_common.resources import ResourceSet

Place = TypeVar("Place", bound=Hashable)
_NOTHING = ResourceSet()


class Promises(Generic[Place]):
    """From when a node is told to take something until its own count of what is free shows it."""

    def __init__(self, changed: Callable[[Place], None] = lambda place: None) -> None:
        """changed: hears of each place out of which something else is promised than before."""
        self._tell = changed
        self._made: dict[Hashable, tuple[Place, ResourceSet]] = {}
        self._sums: dict[Place, ResourceSet] = {}

    def make(self, key: Hashable, place: Place, amount: ResourceSet) -> None:
        """key: who it is for; a second promise takes the place of the first."""
        self.keep(key)
        self._made[key] = (place, amount)
        self._sums[place] = self.out_of(place) + amount
        self._tell(place)

    def keep(self, key: Hashable) -> bool:
        """The place's own count speaks from now on. returns: whether there was a promise."""
        made = self._made.pop(key, None)
        if made is None:
            return False
        place, amount = made
        left = self.out_of(place) - amount
        if left:
            self._sums[place] = left
        else:
            self._sums.pop(place, None)
        self._tell(place)
        return True

    def out_of(self, place: Place) -> ResourceSet:
        """The sum of what was promised there."""
        return self._sums.get(place, _NOTHING)
