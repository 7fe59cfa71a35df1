"""The bounded queue of events before the core."""

from __future__ import annotations

import asyncio

from manta_gcs.kernel.events import Event


class Inbox:
    """Full: client requests are refused, everything else waits, which slows its sender's stream down."""

    def __init__(self, limit: int) -> None:
        self._queue: asyncio.Queue[Event] = asyncio.Queue(limit)
        self._closed = False

    def __len__(self) -> int:
        return self._queue.qsize()

    def offer(self, event: Event) -> bool:
        """Take the event unless the inbox is full."""
        if self._closed or self._queue.full():
            return False
        self._queue.put_nowait(event)
        return True

    async def put(self, event: Event) -> None:
        """Wait for room. Nothing once closed."""
        if not self._closed:
            await self._queue.put(event)

    def close(self) -> None:
        """Nobody takes events any more: drop those that wait, and let go of who waits to put one."""
        self._closed = True
        while not self._queue.empty():
            self._queue.get_nowait()

    async def batch(self, limit: int, timeout_s: float | None) -> list[Event]:
        """At least one event and at most `limit`; none when the time ran out first."""
        if self._queue.empty():
            try:
                async with asyncio.timeout(timeout_s):
                    events = [await self._queue.get()]
            except TimeoutError:
                return []
        else:
            events = [self._queue.get_nowait()]
        while len(events) < limit and not self._queue.empty():
            events.append(self._queue.get_nowait())
        return events
