"""What the caller of a generator knows of its items: a pure core, changed under the process's lock.

Items are numbered from 0 and arrive in order. One that arrives is held until it is read or the stream is dropped. An
attempt that runs after a failure is told how many items have arrived, and sends only what comes behind them; whatever
it sends again counts as the same item and changes nothing.

    OPEN -> ENDED            the generator returned, raised or failed; what has arrived can still be read
    OPEN -> DROPPED          nobody will read any more; what still arrives is freed
    ENDED, DROPPED -> CLOSED  ended and dropped: nothing is left to do
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from enum import Enum, auto
from typing import Final, NamedTuple

# So many items may be under way to the caller, each at most 100 KiB: larger ones are in the arena.
WINDOW: Final = 256


class StreamState(Enum):
    OPEN = auto()
    ENDED = auto()
    DROPPED = auto()
    CLOSED = auto()


S = StreamState
LEGAL: Final[Mapping[StreamState, Set[StreamState]]] = {
    S.OPEN: {S.ENDED, S.DROPPED},
    S.ENDED: {S.CLOSED},
    S.DROPPED: {S.CLOSED},
    S.CLOSED: set(),
}


class Progress(NamedTuple):
    """What the worker is to be told: how many items have arrived, and how many of them were read."""

    arrived: int
    read: int


class GeneratorStream:
    """The items of one call. limit: how many unread items the worker may be ahead; 0 for any number.

    first: of a run that makes items anew, the first that is wanted.
    """

    __slots__ = ("_again_from", "_state", "_told", "arrived", "limit", "read")

    def __init__(self, limit: int = 0, first: int = 0) -> None:
        self.limit = limit
        self.arrived = first
        # The first item that arrived and was lost since the present attempt began; `arrived` or more: none.
        self._again_from = first
        self.read = 0
        self._state = S.OPEN
        self._told = Progress(0, 0)

    @property
    def state(self) -> StreamState:
        return self._state

    def _move(self, state: StreamState) -> None:
        if state not in LEGAL[self._state]:
            raise RuntimeError(f"a stream cannot go from {self._state.name} to {state.name}; please report this bug")
        self._state = state

    @property
    def at_end(self) -> bool:
        """Whether there is nothing to read and there never will be."""
        return self._state is S.ENDED and self.read == self.arrived

    def take(self, first: int, count: int) -> range:
        """Items first, first + 1, ... came in. returns: the new ones among them.

        raises: ValueError when some before them are missing, which no correct worker leaves out.
        """
        if first > self.arrived:
            raise ValueError(f"generator items from {first} on arrived, and {self.arrived} is the next one due")
        new = range(self.arrived, max(self.arrived, first + count))
        if self._again_from == self.arrived:
            self._again_from = new.stop
        self.arrived = new.stop
        return new

    def next_item(self) -> int | None:
        """Read the oldest unread item; None when none is here, yet or any more."""
        if self.read == self.arrived:
            return None
        self.read += 1
        return self.read - 1

    def due(self) -> Progress | None:
        """What to tell the worker now; None while it can go on with what it knows."""
        if self._state is not S.OPEN:
            return None
        told = self._told
        out_of_window = self.arrived - told.arrived >= WINDOW // 2
        held_up = self.limit > 0 and self.read > told.read and self.arrived - told.read >= self.limit
        if not (out_of_window or held_up):
            return None
        self._told = Progress(self.arrived, self.read)
        return self._told

    def lost(self, index: int) -> None:
        """An item that arrived has to be made again; if another attempt comes, by that."""
        self._again_from = min(self._again_from, index)

    def attempted(self) -> int:
        """Another attempt begins, which knows of no progress but the number returned: of items that it need not send.

        They have arrived, and none of them is lost.
        """
        first, self._again_from = min(self.arrived, self._again_from), self.arrived
        self._told = Progress(first, 0)
        return first

    def end(self) -> None:
        """No further item will come. A stream that was dropped is closed by it."""
        if self._state is S.OPEN or self._state is S.DROPPED:
            self._move(S.ENDED if self._state is S.OPEN else S.CLOSED)

    def drop(self) -> range:
        """Nobody will read on. returns: the items that arrived and were not read, which are to be freed."""
        unread = range(self.read, self.arrived)
        self._move(S.DROPPED if self._state is S.OPEN else S.CLOSED)
        return unread
