"""When the raylet tells the GCS: at once what somebody waits for, what may be told together a little later."""

from __future__ import annotations

import asyncio
import contextlib


class Bell:
    """Rung by whoever has news; one task waits for it. On one event loop."""

    def __init__(self) -> None:
        self._any = asyncio.Event()
        self._now = asyncio.Event()
        self._soon: asyncio.TimerHandle | None = None

    def ring(self) -> None:
        """There is news that others may join."""
        self._any.set()

    def ring_now(self) -> None:
        """There is news that somebody waits for; it also ends the wait of news that others may have joined."""
        self._now.set()
        self._any.set()

    def ring_within(self, seconds: float) -> None:
        """There is news that somebody waits for, and more is about to come: after so long, counted from the first."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(seconds, self.ring_now)

    async def wait(self, latest: float, together_until: float) -> None:
        """Return when there is news to be told, or at `latest`; times of the loop's clock, in seconds.

        together_until: how long news that others may join waits for them.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(latest):
                await self._any.wait()
            async with asyncio.timeout_at(together_until):
                await self._now.wait()
        self._any.clear()
        self._now.clear()
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
