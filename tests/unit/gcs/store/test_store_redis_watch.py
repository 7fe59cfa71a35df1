"""A watch on Redis whose reads fail now and then."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from manta_gcs.store import Changes, StoreUnavailable
from manta_gcs.store import redis_store as driver


class Channel:
    """Answers the second time; the first read fails."""

    def __init__(self, url: object) -> None:
        self.closed = asyncio.Event()
        self.reads = 0

    async def read(self, operation: str, *arguments: Any) -> Any:
        assert operation == "changes"
        self.reads += 1
        if self.reads == 1:
            raise StoreUnavailable(operation, "no answer in time")
        return SimpleNamespace(items=[b"ok", b"7", (b"7", [b"/k", b"Pvalue"])], history="h")


class Tail:
    """It has told of everything already, and nothing more happens."""

    def __init__(self, channel: object) -> None:
        self._never = asyncio.Event()

    def changed(self) -> asyncio.Event:
        return self._never

    async def wait(self, seen: asyncio.Event) -> None:
        await seen.wait()


async def test_a_change_that_could_not_be_read_at_first_is_delivered_without_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "RedisChannel", Channel)
    monkeypatch.setattr(driver, "RedisTail", Tail)
    url: Any = None
    store = driver.RedisStore(url)
    async with asyncio.timeout(10):
        batch = await anext(store.watch(b"/", 1))
    assert isinstance(batch, Changes) and [event.value for event in batch.events] == [b"value"]
