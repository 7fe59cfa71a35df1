"""Virtual time: what is to happen, in order, and nothing that waits."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from random import Random

Action = Callable[[], None]


class Stuck(AssertionError):
    """What was waited for did not come about. The seed and the time tell where to look."""


class Clock:
    """Runs actions at their virtual times; those of one time in the order in which they were planned.

    rng: the only source of chance of a simulation, so that its seed repeats it.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.now = 0.0
        self.steps = 0
        self._plan: list[tuple[float, int, Action]] = []
        self._numbers = itertools.count()

    def at(self, time: float, action: Action) -> None:
        heapq.heappush(self._plan, (max(time, self.now), next(self._numbers), action))

    def after(self, delay_s: float, action: Action) -> None:
        self.at(self.now + delay_s, action)

    def every(self, interval_s: float, action: Callable[[], bool]) -> None:
        """Again and again until it returns False."""

        def again() -> None:
            if action():
                self.after(interval_s, again)

        self.after(interval_s, again)

    def run_until(self, reached: Callable[[], bool], limit_s: float, what: str) -> None:
        """raises: Stuck when nothing is planned any more, or limit_s of virtual time have passed."""
        end = self.now + limit_s
        while not reached():
            if not self._plan or self._plan[0][0] > end:
                raise Stuck(f"seed {self.seed}: not reached by {self.now:.3f} s of virtual time: {what}")
            self.now, _, action = heapq.heappop(self._plan)
            self.steps += 1
            action()
