"""Waiting with a deadline for what a watch delivers, and for conditions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

from manta_gcs.store import Changes, EventKind, Resync, WatchBatch, WatchEvent

DEADLINE_S = 20.0


class Watcher:
    """Collects a watch in a task; wait_for() wakes at each batch."""

    def __init__(self, batches: AsyncGenerator[WatchBatch, None]) -> None:
        self._batches = batches
        self.events: list[WatchEvent] = []
        self.resyncs: list[Resync] = []
        self._arrived = asyncio.Condition()
        self._task = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        async for batch in self._batches:
            async with self._arrived:
                if isinstance(batch, Changes):
                    self.events += batch.events
                else:
                    self.resyncs.append(batch)
                self._arrived.notify_all()

    async def wait_for(self, condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
        """raises: what the watch raised, or AssertionError with what arrived when the deadline passes."""

        async def met() -> None:
            async with self._arrived:
                await self._arrived.wait_for(condition)

        waiting = asyncio.create_task(met())
        done, _ = await asyncio.wait({waiting, self._task}, timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED)
        if waiting in done:
            return
        waiting.cancel()
        if self._task in done:
            self._task.result()
        raise AssertionError(f"not within {deadline_s} s: {len(self.events)} events, last {self.events[-3:]}")

    def puts(self) -> list[tuple[bytes, bytes]]:
        return [(event.key, event.value) for event in self.events if event.kind is EventKind.PUT]

    async def __aenter__(self) -> Watcher:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._batches.aclose()


async def until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """For a condition that nothing announces, looked at every 10 ms."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(0.01)
