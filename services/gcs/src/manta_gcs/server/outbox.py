"""What waits to be sent on one stream; all of it leaves in one message."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

LIMIT_BYTES = 256 * 1024 * 1024  # beyond it the reader is too slow and its stream is ended
BATCH_BYTES = 8 * 1024 * 1024  # of one message; a single larger item goes alone


class Outbox:
    """Of encoded items; the same bytes may wait in many. put() never waits. The stream's handler sends batches() until
    the outbox is closed and empty."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES, batch_bytes: int = BATCH_BYTES) -> None:
        self._limit, self._batch = limit_bytes, batch_bytes
        self._items: deque[bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self.closed_because: str | None = None

    def put(self, item: bytes) -> None:
        """Queue an item; nothing once closed. A reader over the limit loses its stream and what waits for it."""
        if self.closed_because is not None:
            return
        self._items.append(item)
        self._bytes += len(item)
        if self._bytes > self._limit:
            self._items.clear()
            self._bytes = 0
            self.close(f"its reader is too slow: over {self._limit} bytes were waiting")
        self._wake.set()

    def close(self, reason: str) -> None:
        """No more items; what was put before is still sent. The first reason stays."""
        if self.closed_because is None:
            self.closed_because = reason
        self._wake.set()

    async def batches(self) -> AsyncGenerator[list[bytes], None]:
        while True:
            if self._items:
                yield self._take()
            elif self.closed_because is not None:
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _take(self) -> list[bytes]:
        taken: list[bytes] = []
        total = 0
        while self._items and (not taken or total + len(self._items[0]) <= self._batch):
            taken.append(self._items.popleft())
            total += len(taken[-1])
        self._bytes -= total
        return taken
