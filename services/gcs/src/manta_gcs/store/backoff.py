"""Growing, jittered delays between attempts."""

from __future__ import annotations

import random
from typing import Final

FIRST_S: Final = 0.02
LIMIT_S: Final = 1.0


class Backoff:
    """Delays that double from first_s to limit_s, each drawn from the upper half of its span, in seconds."""

    def __init__(self, rng: random.Random, first_s: float = FIRST_S, limit_s: float = LIMIT_S) -> None:
        self._rng, self._first_s, self._limit_s = rng, first_s, limit_s
        self._next_s = first_s

    def delay_s(self) -> float:
        span = self._next_s
        self._next_s = min(span * 2, self._limit_s)
        return span * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        self._next_s = self._first_s
