"""What a process said before it ended: read to the end before its death is judged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from manta_raylet.kernel.lease import ClientId

# A process that user code forked may hold the connection open; then what arrived until now is all.
LAST_WORDS_S: Final = 0.25


class LastWords:
    """The news that a process ended may overtake, by another way, why it ended."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[ClientId, tuple[asyncio.TimerHandle, Callable[[], None]]] = {}

    def wait(self, client_id: ClientId, then: Callable[[], None]) -> None:
        """Call `then` when the connection of that process has ended, at the latest after LAST_WORDS_S."""
        timer = self._loop.call_later(LAST_WORDS_S, self.heard, client_id)
        self._waiting[client_id] = timer, then

    def heard(self, client_id: ClientId) -> None:
        """Its connection has ended, and all that came by it was taken."""
        waiting = self._waiting.pop(client_id, None)
        if waiting is not None:
            timer, then = waiting
            timer.cancel()
            then()
