"""Requests that wait for room which is about to come: somebody let go of references, and their owners will free."""

import asyncio
from collections.abc import Callable
from typing import Final

# From the last word of a process to the word of an owner, perhaps on another node.
ROOM_S: Final = 2.0


class RoomWaits:
    """In order of arrival. For the event loop's thread only."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[Callable[[], bool], asyncio.TimerHandle]] = {}
        self._last = 0

    def wait(self, attempt: Callable[[], bool], give_up: Callable[[], object]) -> None:
        """Have `attempt` made whenever something was freed, until it succeeds, or `give_up` once the time is over."""
        self._last += 1
        number = self._last
        timer = asyncio.get_running_loop().call_later(ROOM_S, self._overdue, number, give_up)
        self._waiting[number] = attempt, timer

    def look(self) -> None:
        """Something was freed, or its last pin has gone."""
        for number, (attempt, timer) in tuple(self._waiting.items()):
            if attempt():
                timer.cancel()
                del self._waiting[number]

    def __len__(self) -> int:
        return len(self._waiting)

    def _overdue(self, number: int, give_up: Callable[[], object]) -> None:
        del self._waiting[number]
        give_up()
