"""Any store that fails: at each of its calls in turn, in each way that the interface allows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import TypeVar

import pytest
from manta_gcs.store import (
    Compare,
    Lease,
    Op,
    OutcomeUnknown,
    Record,
    Store,
    StoreUnavailable,
    TxnResult,
    WatchBatch,
    open_store,
)

from tests.unit.gcs.replica_life import DEADLINE_S, live

T = TypeVar("T")
SIDE_BY_SIDE = 40


class Way(Enum):
    UNAVAILABLE = auto()
    LOST_ON_THE_WAY = auto()  # a write of unknown outcome that was not applied
    ANSWER_LOST = auto()  # and one that was


class FaultyStore(Store):
    """As another, but that calls from number `first` on fail, `length` in a row, while it is armed."""

    def __init__(self, store: Store, way: Way, first: int, length: int) -> None:
        self._store, self._way, self._first, self._length = store, way, first, length
        self.armed = False
        self.count = 0

    async def call(self, run: Callable[[], Awaitable[T]], *, writes: bool = False) -> T:
        self.count += self.armed
        if not (self.armed and self._first <= self.count < self._first + self._length):
            return await run()
        if not writes or self._way is Way.UNAVAILABLE:
            raise StoreUnavailable("call", "no leader")
        if self._way is Way.ANSWER_LOST:
            await run()
        raise OutcomeUnknown("call", "the connection broke")

    async def get(self, key: bytes) -> Record | None:
        return await self.call(lambda: self._store.get(key))

    async def range(self, prefix: bytes) -> tuple[list[Record], int]:
        return await self.call(lambda: self._store.range(prefix))

    async def revision(self) -> int:
        return await self.call(self._store.revision)

    async def compact(self, revision: int) -> None:
        await self.call(lambda: self._store.compact(revision))

    async def txn(self, compares: Sequence[Compare], ops: Sequence[Op]) -> TxnResult:
        return await self.call(lambda: self._store.txn(compares, ops), writes=True)

    def watch(self, prefix: bytes, from_revision: int) -> AsyncGenerator[WatchBatch, None]:
        return self._store.watch(prefix, from_revision)

    async def grant_lease(self, ttl_s: float) -> Lease:
        return FaultyLease(self, await self.call(lambda: self._store.grant_lease(ttl_s)))

    async def close(self) -> None:
        await self._store.close()


class FaultyLease(Lease):
    def __init__(self, store: FaultyStore, lease: Lease) -> None:
        super().__init__(lease.id, lease.ttl_s, lease.deadline)
        self._store, self._lease = store, lease
        self.lost = lease.lost

    @property
    def deadline(self) -> float:
        return self._lease.deadline

    @deadline.setter
    def deadline(self, value: float) -> None:
        pass  # the lease's own counts

    async def revoke(self) -> None:
        await self._store.call(self._lease.revoke, writes=True)

    def abandon(self) -> None:
        self._lease.abandon()


async def a_life(way: Way, first: int, length: int) -> int:
    """returns: the calls that it made while armed."""
    store = FaultyStore(await open_store("sqlite:memory"), way, first, length)
    try:
        async with asyncio.timeout(DEADLINE_S):
            await live(store, lambda armed: setattr(store, "armed", armed))
    except Exception as error:
        raise AssertionError(f"{way.name}, {length} calls from the {first}th on") from error
    finally:
        await store.close()
    return store.count


@pytest.mark.parametrize("way", Way, ids=lambda way: way.name.lower())
async def test_whichever_call_of_a_store_fails_the_service_goes_on_and_loses_nothing_acknowledged(way: Way) -> None:
    calls = await a_life(way, 1 << 60, 0)
    assert calls > 10
    room = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(first: int, length: int) -> None:
        async with room:
            await a_life(way, first, length)

    await asyncio.gather(*(one(first, length) for first in range(1, calls + 1) for length in (1, 4)))
