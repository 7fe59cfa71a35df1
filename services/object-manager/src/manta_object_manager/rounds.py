"""Rounds of questions to the clients that hold extents.

A client's answer comes behind everything that it sent before, on the same connection. So once a round is over, what
any of them had sent when it began has arrived: an object that some process was told of is here, or is not on its way.
"""

from collections.abc import Iterable
from typing import Final, NewType

from manta_object_manager.client_id import ClientId

RoundId = NewType("RoundId", int)

_NOBODY: Final[frozenset[ClientId]] = frozenset()


class Rounds:
    """Pure."""

    def __init__(self) -> None:
        self._waiting: dict[RoundId, set[ClientId]] = {}
        self._silent: set[ClientId] = set()
        self._last = 0

    def begin(self, clients: Iterable[ClientId]) -> RoundId:
        self._last += 1
        number = RoundId(self._last)
        self._waiting[number] = set(clients)
        return number

    def attentive(self, clients: Iterable[ClientId]) -> list[ClientId]:
        """Those that did not let the time of a round pass, or have answered since."""
        return [client for client in clients if client not in self._silent]

    def is_over(self, number: RoundId) -> bool:
        return not self._waiting.get(number)

    def awaited(self, number: RoundId) -> frozenset[ClientId]:
        """Who has not answered."""
        waiting = self._waiting.get(number)
        return frozenset(waiting) if waiting else _NOBODY

    def answered(self, client: ClientId, number: RoundId) -> bool:
        """Whether that ends the round."""
        self._silent.discard(client)
        waiting = self._waiting.get(number)
        if waiting is None or client not in waiting:
            return False
        waiting.remove(client)
        return not waiting

    def gone(self, client: ClientId) -> list[RoundId]:
        """Nothing comes from this client any more; returns the rounds that ends."""
        self._silent.discard(client)
        ended = []
        for number, waiting in self._waiting.items():
            if client in waiting:
                waiting.remove(client)
                if not waiting:
                    ended.append(number)
        return ended

    def overdue(self, number: RoundId) -> frozenset[ClientId]:
        """The round's time has passed; returns who did not answer, and it is over."""
        late = self.awaited(number)
        self._silent |= late
        self._waiting[number] = set()
        return late

    def end(self, number: RoundId) -> None:
        """What waited for the round has been told."""
        self._waiting.pop(number, None)
