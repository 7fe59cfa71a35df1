"""Holding back: what is free is kept, for moments, for a request that waits long because it needs much."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from manta_common.resources import ResourceSet

from manta_raylet.leases.lease_queue import Entry

FIRST_AFTER_S: Final = 0.5
_SHARE: Final = 0.25


class HoldBack:
    """Small requests would take every CPU that is given back, and one that needs several at once would never run.

    For the request that was last served longest ago, what it needs is kept free of others. It holds for a quarter of
    the time only, and each time twice as long as before, beginning when it has waited for 0.5 s: so it runs at the
    latest after a fixed multiple of the longest task that is in its way, and what cannot be given back (an actor) costs
    the others a quarter of what is free and no more.
    """

    def __init__(self) -> None:
        self._entry: Entry | None = None

    def choose(self, waiting: Iterable[Entry], at: float) -> None:
        """Before a round of service: whom to hold back for, if for anybody."""
        starving = [
            (entry.refused_since, *entry.id)
            for entry in waiting
            if entry.feasible and entry.refused_since is not None and entry.request.group is None
        ]
        self._entry = None
        if starving:
            oldest = min(starving)
            if holds(at - oldest[0]):
                self._entry = next(entry for entry in waiting if entry.id == oldest[1:])

    def keeps_from(self, entry: Entry, available: ResourceSet) -> bool:
        """Whether `entry` must not be served now, for it would take what is being kept."""
        kept = self._entry
        if kept is None or entry is kept or entry.request.group is not None:
            return False
        wanted = entry.request.resources
        return any(
            available.get(name) < amount + wanted.get(name)
            for name, amount in kept.request.resources.items()
            if wanted.get(name)
        )


def holds(waited_s: float) -> bool:
    """Whether it is a moment to hold back for it: the first quarter of each interval [t, 2t) from FIRST_AFTER_S on."""
    periods = waited_s / FIRST_AFTER_S
    return periods >= 1 and periods < (1 + _SHARE) * 2.0 ** math.floor(math.log2(periods))
