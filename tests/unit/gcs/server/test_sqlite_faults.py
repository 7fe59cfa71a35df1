"""SQLite that fails: at each statement of a replica's life in turn, in each way that a statement can fail."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from manta_common.metrics import Metrics
from manta_gcs.server.gcs_metrics import GcsMetrics
from manta_gcs.server.replica import Replica
from manta_gcs.store import OutcomeUnknown, Put, Store, StoreConfigError, StoreUnavailable, open_store, sqlite
from manta_gcs.store.sqlite_file import connect as connect_really
from manta_gcs.store.url import SqliteUrl

from tests.unit.gcs.replica_life import DEADLINE_S, OPTIONS, ROOT, live

SIDE_BY_SIDE = 40


def full() -> Exception:
    return sqlite3.OperationalError("database or disk is full")


Way = Callable[[sqlite3.Connection, Callable[[], Any]], Any]


def refused(connection: sqlite3.Connection, run: Callable[[], Any]) -> Any:
    raise full()


def done_all_the_same(connection: sqlite3.Connection, run: Callable[[], Any]) -> Any:
    """As a commit that reached the log before its fsync failed."""
    run()
    raise full()


def rolled_back(connection: sqlite3.Connection, run: Callable[[], Any]) -> Any:
    """As SQLite does by itself after some errors."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    raise full()


def out_of_memory(connection: sqlite3.Connection, run: Callable[[], Any]) -> Any:
    raise MemoryError


# With how many statements lie between those that each way is tried at; make soak leaves none out.
WAYS = {refused: 1, done_all_the_same: 2, rolled_back: 5, out_of_memory: 5}
# Statements that fail in a row: a moment, and long enough that ROLLBACK, leases and campaigns meet it as well.
LENGTHS = (1, 12)


@dataclass(slots=True)
class Plan:
    """Statements, counted once `armed`, fail from number `first` on, `length` in a row."""

    way: Way = refused
    first: int = 1 << 60
    length: int = 1
    armed: bool = False
    count: int = 0

    def due(self) -> bool:
        if not self.armed:
            return False
        self.count += 1
        return self.first <= self.count < self.first + self.length


class FaultyConnection:
    """A connection whose statements fail by plan."""

    def __init__(self, real: sqlite3.Connection, plan: Plan) -> None:
        self._real, self._plan = real, plan

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        def run() -> Any:
            return self._real.execute(query, parameters)

        return self._plan.way(self._real, run) if self._plan.due() else run()

    @property
    def in_transaction(self) -> bool:
        return self._real.in_transaction

    def close(self) -> None:
        self._real.close()


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> dict[str, Plan]:
    """Plans by the path of the file that they are for."""
    found: dict[str, Plan] = {}

    def connect(url: SqliteUrl) -> Any:
        real = connect_really(url)
        plan = found.get(url.path or "")
        return real if plan is None else FaultyConnection(real, plan)

    monkeypatch.setattr(sqlite, "connect", connect)
    return found


async def a_life(path: Path, plan: Plan) -> None:
    """The plan counts from the campaign on."""
    store = await open_store(f"sqlite://{path}?synchronous=off")
    await live(store, lambda armed: setattr(plan, "armed", armed))
    await store.close()
    assert await stored(path) == {b"small", b"large", b"last"}


async def stored(path: Path) -> set[bytes]:
    """The keys of the KV records that are in the file."""
    store = await open_store(f"sqlite://{path}?synchronous=off")
    records, _ = await store.range(ROOT + b"kv/")
    await store.close()
    return {bytes.fromhex(record.key.rpartition(b"/")[2].decode()) for record in records}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_whichever_statement_fails_the_service_goes_on_and_loses_nothing_acknowledged(
    tmp_path: Path, plans: dict[str, Plan], way: Way
) -> None:
    await lives(tmp_path, plans, way, WAYS[way])


@pytest.mark.soak
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_every_statement_fails_in_every_way(tmp_path: Path, plans: dict[str, Plan], way: Way) -> None:
    await lives(tmp_path, plans, way, 1)


async def lives(folder: Path, plans: dict[str, Plan], way: Way, step: int) -> None:
    counting = plans[str(folder / "counted.db")] = Plan()
    async with asyncio.timeout(DEADLINE_S):
        await a_life(folder / "counted.db", counting)
    assert counting.count > 50
    room = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(first: int, length: int) -> None:
        path = folder / f"{first}-{length}.db"
        plan = plans[str(path)] = Plan(way, first, length)
        try:
            async with room, asyncio.timeout(DEADLINE_S):
                await a_life(path, plan)
        except Exception as error:
            raise AssertionError(f"{way.__name__}, {length} statements from the {first}th on") from error

    # A moment's failure at each; longer ones overlap, so fewer of them meet everything.
    cases = [
        (first, length) for length in LENGTHS for first in range(1, counting.count + 1, step * max(1, length // 4))
    ]
    await asyncio.gather(*(one(*case) for case in cases))


async def test_a_lease_whose_end_cannot_be_written_ends_once_there_is_room(
    tmp_path: Path, plans: dict[str, Plan]
) -> None:
    path = tmp_path / "gcs.db"
    plan = plans[str(path)] = Plan(length=1 << 60)
    store = await open_store(f"sqlite://{path}")
    revoked, expired = await store.grant_lease(60), await store.grant_lease(0.05)
    result = await store.txn([], [Put(b"/revoked", b"", revoked.id), Put(b"/expired", b"", expired.id)])
    gone = asyncio.create_task(both_deleted(store, result.revision + 1))
    plan.armed, plan.first = True, 1
    with pytest.raises(StoreUnavailable, match="full"):
        await revoked.revoke()
    expired.abandon()
    async with asyncio.timeout(DEADLINE_S):
        await expired.lost.wait()
    assert reads(path) == {b"/revoked", b"/expired"}
    assert not gone.done()
    plan.armed = False
    async with asyncio.timeout(DEADLINE_S):
        await gone
    assert reads(path) == set()
    await store.close()


async def both_deleted(store: Store, revision: int) -> None:
    keys: set[bytes] = set()
    async for batch in store.watch(b"/", revision):
        keys.update(event.key for event in getattr(batch, "events", ()))
        if len(keys) == 2:
            return


def reads(path: Path) -> set[bytes]:
    """The keys in the file, seen past the store and its faults."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {key for (key,) in connection.execute("SELECT key FROM records")}


async def test_a_read_never_has_an_unknown_outcome(tmp_path: Path, plans: dict[str, Plan]) -> None:
    path = tmp_path / "gcs.db"
    plan = plans[str(path)] = Plan(way=done_all_the_same)
    store = await open_store(f"sqlite://{path}")
    plan.armed = True
    for first in range(1, 6):
        plan.first, plan.count = first, 0
        with contextlib.suppress(StoreUnavailable):
            await store.get(b"/k")
    plan.first, plan.count = 1 << 60, 0
    await store.txn([], [Put(b"/k", b"v")])
    plan.first = plan.count
    plan.count = 0
    with pytest.raises(OutcomeUnknown, match="full"):
        await store.txn([], [Put(b"/k", b"w")])
    await store.close()


async def test_a_damaged_file_ends_the_service_with_what_to_do(tmp_path: Path, plans: dict[str, Plan]) -> None:
    def damaged(connection: sqlite3.Connection, run: Callable[[], Any]) -> Any:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    path = tmp_path / "gcs.db"
    plan = plans[str(path)] = Plan(way=damaged, first=1, length=1 << 60)
    store = await open_store(f"sqlite://{path}")
    plan.armed = True
    replica = Replica(store, OPTIONS, GcsMetrics(Metrics("gcs")))
    with pytest.raises(StoreConfigError, match=r"damaged.*restore it"):
        await asyncio.wait_for(replica.run(), DEADLINE_S)
    await store.close()


async def test_a_file_system_that_is_full_at_the_start_is_not_called_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gcs.db"
    await (await open_store(f"sqlite://{path}")).close()

    def connect(url: SqliteUrl) -> Any:
        return FaultyConnection(connect_really(url), Plan(first=1, length=1 << 60, armed=True))

    monkeypatch.setattr(sqlite, "connect", connect)
    for _ in range(2):  # the lock of the failed attempt must be free again
        with pytest.raises((StoreUnavailable, OutcomeUnknown), match="full"):
            await open_store(f"sqlite://{path}")
