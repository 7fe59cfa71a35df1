"""Whether a wait for events begins awake, from how long the waits before it were.

Putting a process to sleep and waking it costs both sides more than the answer of a small task takes to come: 40 us of
the sender's time for each wake-up here, against 12 us for a whole round trip between processes that are awake. So while
waits are short the reader polls for a moment before it sleeps. Figures: docs/adr/0010-short-waits-stay-awake.md.
"""

from __future__ import annotations

from typing import Final

# How long a wait stays awake at the most, while waits are that short.
SPIN_S: Final = 200e-6
# A turn of the spin takes some microseconds. A longer one means that another process got the processor in between.
OTHERS_RAN_S: Final = 30e-6
# What one wait weighs in the moving average, and how long it may count there: one long wait ends the spinning.
_WEIGHT: Final = 0.25
_LONGEST_S: Final = 10 * SPIN_S


class Spinning:
    """The moving average of one reader's waits. processors: how many it may run on; on one it never spins."""

    __slots__ = ("_allowed", "_usual_s")

    def __init__(self, processors: int) -> None:
        self._allowed = processors > 1
        self._usual_s = _LONGEST_S

    def worthwhile(self) -> bool:
        """Whether the next wait is likely to be over before a sleep would pay."""
        return self._allowed and self._usual_s < SPIN_S

    def waited(self, seconds: float) -> None:
        """A wait is over."""
        self._usual_s += (min(seconds, _LONGEST_S) - self._usual_s) * _WEIGHT
