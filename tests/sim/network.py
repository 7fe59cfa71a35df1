"""Messages between simulated processes: late, lost, or out of order between links as the weather says."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from tests.sim.clock import Action, Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """delay_s: the least and the most that a message takes, drawn for each. loss: the share of the messages that may
    be lost (news that are repeated; what a stream carries is never lost while the stream lives)."""

    delay_s: tuple[float, float] = (0.0002, 0.002)
    loss: float = 0.0


CALM = Weather()


class Network:
    """Messages of one link arrive in the order in which they were sent, as on a stream; links do not wait for each
    other. What is sent to or from the dead does not arrive."""

    def __init__(self, clock: Clock, weather: Weather) -> None:
        self.weather = weather
        self._clock = clock
        self._last: dict[tuple[Hashable, Hashable], float] = {}
        self._dead: set[Hashable] = set()

    def send(self, source: Hashable, target: Hashable, deliver: Action, *, may_be_lost: bool = False) -> None:
        clock = self._clock
        if may_be_lost and clock.rng.random() < self.weather.loss:
            return
        link = (source, target)
        arrives = max(clock.now + clock.rng.uniform(*self.weather.delay_s), self._last.get(link, 0.0))
        self._last[link] = arrives
        clock.at(arrives, lambda: self._deliver(link, deliver))

    def kill(self, process: Hashable) -> None:
        self._dead.add(process)

    def is_dead(self, process: Hashable) -> bool:
        return process in self._dead

    def _deliver(self, link: tuple[Hashable, Hashable], deliver: Action) -> None:
        if not self._dead.intersection(link):
            deliver()
