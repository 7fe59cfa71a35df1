"""One Redis killed, frozen, cut off, trimmed and filled up under the driver; and failovers by Sentinel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from manta_gcs.store import (
    Changes,
    Compare,
    Delete,
    DeleteRange,
    Fenced,
    Leadership,
    OutcomeUnknown,
    Put,
    Resync,
    Store,
    StoreConfigError,
    StoreUnavailable,
    open_store,
    redis_channel,
)

from tests.certificates import Authority
from tests.integration.etcd_server import free_ports
from tests.integration.redis_server import RedisServer, SentinelGroup
from tests.integration.store.tcp_proxy import TcpProxy
from tests.integration.store.waiting import Watcher, until

PREFIX = b"/manta/v1/faults/"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the test's own, to be harmed."""
    with RedisServer() as redis:
        yield redis


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[Store]:
    opened = await open_store(server.url + "?timeout_s=3")
    yield opened
    await opened.close()


async def fence_of(store: Store) -> Compare:
    return Compare(PREFIX + b"leader", (await store.put_if(PREFIX + b"leader", b"", 0)).revision)


class Writer:
    """Writes one new key after the other under a fence, until stopped; knows which are acknowledged."""

    def __init__(self, store: Store, fence: Compare) -> None:
        self._store, self._fence = store, fence
        self.applied: set[bytes] = set()
        self.unknown: set[bytes] = set()
        self.fenced = False
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._write())

    async def _write(self) -> None:
        number = 0
        while not self._stop.is_set():
            key = PREFIX + b"k/%06d" % number
            number += 1
            try:
                await self._store.write([[Put(key, b"")]], self._fence)
                self.applied.add(key)
            except OutcomeUnknown:
                self.unknown.add(key)
            except StoreUnavailable:
                continue
            except Fenced:
                self.fenced = True
                return

    async def goes_on(self, deadline_s: float = 30) -> None:
        before = len(self.applied)
        await until(lambda: len(self.applied) > before + 50, "50 more writes", deadline_s)

    async def stop(self) -> None:
        self._stop.set()
        await self._task


async def test_writes_go_on_while_redis_is_killed_again_and_again_and_nothing_acknowledged_is_lost(
    server: RedisServer, store: Store
) -> None:
    fence = await fence_of(store)
    async with Watcher(store.watch(PREFIX + b"k/", fence.revision + 1)) as watcher:
        writer = Writer(store, fence)
        for _ in range(2):
            await writer.goes_on()
            server.kill()
            await asyncio.to_thread(server.start)
        await writer.goes_on()
        await writer.stop()
        present = {record.key for record in (await store.range(PREFIX + b"k/"))[0]}
        known = lambda: {e.key for e in watcher.events} | {r.key for batch in watcher.resyncs for r in batch.records}  # noqa: E731
        await watcher.wait_for(lambda: known() == present)
    assert writer.applied <= present <= writer.applied | writer.unknown


async def test_a_watch_whose_past_was_trimmed_gets_the_full_listing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_channel, "LIMIT_ENTRIES", 50)
    first = await store.txn([], [Put(PREFIX + b"gone", b"")])
    await store.txn([], [Delete(PREFIX + b"gone")])
    for number in range(100):
        last = await store.txn([], [Put(PREFIX + b"kept", b"%d" % number)])
    async with Watcher(store.watch(PREFIX, first.revision)) as watcher:
        await watcher.wait_for(lambda: len(watcher.resyncs) == 1)
        (resync,) = watcher.resyncs
        assert [(r.key, r.value) for r in resync.records] == [(PREFIX + b"kept", b"99")]
        assert resync.revision >= last.revision
    async with Watcher(store.watch(PREFIX, last.revision)) as watcher:
        await watcher.wait_for(lambda: watcher.puts() == [(PREFIX + b"kept", b"99")])


async def test_a_long_listing_is_of_one_revision_though_others_write(store: Store) -> None:
    """Redis keeps no old states: what changes between two pages is read from the stream."""
    fence = await fence_of(store)
    await store.write([[Put(PREFIX + b"row/%06d" % i, b"0" * 3000)] for i in range(4000)], fence)
    stop = asyncio.Event()

    async def move() -> None:
        """Always exactly one key "at", under a name that wanders through the whole range."""
        number = 0
        while not stop.is_set():
            number = (number + 1237) % 4000
            await store.txn([], [Put(PREFIX + b"row/%06d/at" % number, b""), Put(PREFIX + b"moved", b"%d" % number)])
            await store.txn([], [Delete(PREFIX + b"row/%06d/at" % number)])

    mover = asyncio.create_task(move())
    for _ in range(5):
        records, revision = await store.range(PREFIX)
        assert len([r for r in records if r.key.endswith(b"/at")]) <= 1
        assert max(r.revision for r in records) <= revision
    stop.set()
    await mover


async def test_calls_to_a_frozen_server_end_in_time_and_the_store_recovers(server: RedisServer) -> None:
    store = await open_store(server.url + "?timeout_s=1.5")
    fence = await fence_of(store)
    async with Watcher(store.watch(PREFIX + b"k", fence.revision + 1)) as watcher:
        await store.write([[Put(PREFIX + b"k", b"before")]], fence)
        await watcher.wait_for(lambda: len(watcher.events) == 1)
        server.freeze()
        put, get = await asyncio.gather(
            store.write([[Put(PREFIX + b"k", b"frozen")]], fence), store.get(PREFIX + b"k"), return_exceptions=True
        )
        assert isinstance(put, OutcomeUnknown) and isinstance(get, StoreUnavailable)
        server.thaw()
        await store.write([[Put(PREFIX + b"k", b"after")]], fence)
        await watcher.wait_for(lambda: (PREFIX + b"k", b"after") in watcher.puts())
    await store.close()
    assert [v for _, v in watcher.puts()] in ([b"before", b"after"], [b"before", b"frozen", b"after"])


async def test_a_store_that_is_down_fails_surely_unapplied_and_recovers(server: RedisServer) -> None:
    store = await open_store(server.url + "?timeout_s=0.8")
    patient = await open_store(server.url + "?timeout_s=20")
    fence = await fence_of(store)
    server.kill()
    for _ in range(3):
        try:
            await store.write([[Put(PREFIX + b"down", b"")]], fence)
        except OutcomeUnknown:
            continue  # met the dead connection
        except StoreUnavailable:
            break
    with pytest.raises(StoreUnavailable):
        await store.write([[Put(PREFIX + b"down", b"")]], fence)
    waiting = asyncio.create_task(patient.put_if(PREFIX + b"waited", b"", 0))
    await asyncio.to_thread(server.start)
    assert (await waiting).succeeded
    assert await patient.get(PREFIX + b"down") is None
    await store.close()
    await patient.close()


async def test_a_txn_whose_answer_is_lost_has_an_unknown_outcome_and_is_not_sent_again(server: RedisServer) -> None:
    async with TcpProxy(server.endpoint) as proxy:
        store = await open_store(f"redis://{proxy.endpoint}?timeout_s=1")
        await store.revision()
        proxy.lose_replies(b"lost")
        with pytest.raises(OutcomeUnknown, match="read again"):
            await store.put_if(PREFIX + b"lost", b"1", 0)
        assert proxy.reply_lost.is_set()
        proxy.lose_replies(None)
        record = await store.get(PREFIX + b"lost")
        assert record is not None and record.value == b"1"
        await store.close()


async def test_a_lease_is_lost_by_its_own_clock_while_redis_is_frozen(server: RedisServer, store: Store) -> None:
    leadership = Leadership(store, PREFIX + b"leader", b"one", ttl_s=1)
    await leadership.campaign()
    server.freeze()
    async with asyncio.timeout(10):
        await leadership.lost.wait()
    assert not leadership.leads
    server.thaw()


async def test_a_leader_cut_off_is_deposed_and_cannot_write_when_it_comes_back(server: RedisServer) -> None:
    """The fence, not the clock, is what protects the records."""
    key = PREFIX + b"deposed/leader"
    async with TcpProxy(server.endpoint) as proxy:
        cut_off, well = await open_store(f"redis://{proxy.endpoint}?timeout_s=2"), await open_store(server.url)
        old, new = Leadership(cut_off, key, b"old", ttl_s=1), Leadership(well, key, b"new", ttl_s=1)
        await old.campaign()
        await cut_off.write([[Put(PREFIX + b"deposed/a", b"old")]], old.fence)
        proxy.hold()
        bid = asyncio.create_task(new.campaign())
        async with asyncio.timeout(20):
            await old.lost.wait()
            assert await bid > old.epoch
        await well.write([[Put(PREFIX + b"deposed/a", b"new")]], new.fence)
        proxy.release()
        with pytest.raises(Fenced) as caught:
            await cut_off.write([[Put(PREFIX + b"deposed/a", b"late")]], old.fence)
        assert caught.value.holder == b"new" and caught.value.found_revision == new.epoch
        record = await well.get(PREFIX + b"deposed/a")
        assert record is not None and record.value == b"new"
        await new.resign()
        await cut_off.close()
        await well.close()


async def test_a_full_redis_refuses_surely_unapplied_and_goes_on_when_it_has_room() -> None:
    with RedisServer("--maxmemory", "4mb", "--maxmemory-policy", "noeviction") as full:
        store = await open_store(full.url + "?timeout_s=2")
        written: list[int] = []
        refused: list[str] = []
        while not refused:
            try:
                await store.txn([], [Put(PREFIX + b"%d" % len(written), b"x" * 500_000)])
                written.append(len(written))
            except StoreUnavailable as error:
                refused.append(str(error))
        assert "OutOfMemoryError" in refused[0]
        assert await store.get(PREFIX + b"%d" % len(written)) is None
        full.ask("CONFIG", "SET", "maxmemory", "100mb")
        assert (await store.put_if(PREFIX + b"more", b"", 0)).succeeded
        await store.close()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), "evicts records"),
        (("--cluster-enabled", "yes", "--cluster-port", str(free_ports(1)[0])), "is a Redis Cluster"),
        (("--requirepass", "secret"), "already authenticated"),
    ],
)
async def test_a_server_that_would_lose_records_or_refuses_us_is_a_configuration_error(
    arguments: tuple[str, ...], problem: str
) -> None:
    with RedisServer(*arguments) as server:
        store = await open_store(server.url)
        with pytest.raises(StoreConfigError, match=problem):
            await store.revision()
        await store.close()


async def test_a_password_lets_in_and_a_wrong_one_is_named() -> None:
    with RedisServer("--requirepass", "secret") as server:
        store = await open_store(f"redis://:secret@{server.endpoint}")
        assert (await store.put_if(PREFIX + b"a", b"", 0)).succeeded
        await store.close()
        wrong = await open_store(f"redis://:guess@{server.endpoint}")
        with pytest.raises(StoreConfigError, match="user and password"):
            await wrong.revision()
        await wrong.close()


async def test_mutual_tls_lets_in_only_who_has_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    theirs, ours = authority.issue("redis"), authority.issue("gcs")
    tls = ("--tls-ca-cert-file", theirs.ca, "--tls-cert-file", theirs.cert, "--tls-key-file", theirs.key)
    with RedisServer() as plain:
        port = str(plain.port + 1 if plain.port < 65_000 else plain.port - 1)
        plain.kill()
        server = RedisServer("--tls-port", port, *tls, port=plain.port)
        with server:
            store = await open_store(f"rediss://127.0.0.1:{port}?ca={ours.ca}&cert={ours.cert}&key={ours.key}")
            assert (await store.put_if(PREFIX + b"a", b"", 0)).succeeded
            await store.close()
            stranger = await open_store(f"rediss://127.0.0.1:{port}?ca={ours.ca}&timeout_s=1")
            with pytest.raises(StoreUnavailable):
                await stranger.revision()
            await stranger.close()
        plain.start()


async def test_a_replica_is_not_taken_for_the_primary(server: RedisServer) -> None:
    with RedisServer("--replicaof", "127.0.0.1", str(server.port)) as replica:
        store = await open_store(replica.url + "?timeout_s=1")
        with pytest.raises(StoreUnavailable, match="replica"):
            await store.put_if(PREFIX + b"a", b"", 0)
        await store.close()


async def test_a_change_that_too_few_replicas_hold_is_not_acknowledged(server: RedisServer) -> None:
    store = await open_store(server.url + "?wait_replicas=1&timeout_s=1")
    with pytest.raises(OutcomeUnknown):
        await store.put_if(PREFIX + b"a", b"", 0)
    with RedisServer("--replicaof", "127.0.0.1", str(server.port)):
        other = await open_store(server.url + "?wait_replicas=1&timeout_s=20")
        assert (await other.put_if(PREFIX + b"b", b"", 0)).succeeded
        await other.close()
    await store.close()


async def test_a_wait_that_is_refused_does_not_pass_for_a_change_that_was_not_made(server: RedisServer) -> None:
    server.ask("ACL", "SETUSER", "gcs", "on", ">secret", "~*", "&*", "+@all", "-wait")
    store = await open_store(f"redis://gcs:secret@{server.endpoint}?wait_replicas=1")
    with pytest.raises(OutcomeUnknown, match="WAIT was refused"):
        await store.put_if(PREFIX + b"a", b"1", 0)
    record = await store.get(PREFIX + b"a")
    assert record is not None and record.value == b"1"
    await store.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_a_failover_by_sentinel_loses_no_acknowledged_write_and_the_deposed_leader_changes_nothing(
    fault: str,
) -> None:
    with SentinelGroup() as group:
        store = await open_store(group.url)
        old = Leadership(store, PREFIX + b"leader", b"old", ttl_s=2)
        await old.campaign()
        async with Watcher(store.watch(PREFIX + b"k/", old.epoch + 1)) as watcher:
            writer = Writer(store, old.fence)
            await writer.goes_on()
            began = time.monotonic()
            group.primary.kill() if fault == "killed" else group.primary.freeze()
            other = await open_store(group.url)
            async with asyncio.timeout(90):
                await until(lambda: old.lost.is_set() or writer.fenced, "the lease is lost", 80)
                new = Leadership(other, PREFIX + b"leader", b"new", ttl_s=2)
                assert await new.campaign() > old.epoch
            print(f"{fault}: another leads {time.monotonic() - began:.1f} s after")
            if fault == "frozen":
                group.primary.thaw()
            await other.write([[Put(PREFIX + b"k/new", b"")]], new.fence)
            await writer.stop()
            await refuses(store, old.fence)
            present = {record.key for record in (await other.range(PREFIX + b"k/"))[0]}
            assert writer.applied <= present <= writer.applied | writer.unknown | {PREFIX + b"k/new"}
            known = lambda: {e.key for e in watcher.events} | {r.key for b in watcher.resyncs for r in b.records}  # noqa: E731
            await watcher.wait_for(lambda: known() >= present, 60)
        await new.resign()
        await other.close()
        await store.close()


async def refuses(store: Store, fence: Compare) -> None:
    """The deposed leader's write is fenced; until its store has found the new primary it fails otherwise."""
    while True:
        try:
            await store.write([[Put(PREFIX + b"k/late", b"")]], fence)
        except Fenced:
            return
        except (OutcomeUnknown, StoreUnavailable):
            continue
        raise AssertionError("a deposed leader has written")


async def test_the_changes_of_a_revision_stay_together_however_many_they_are(store: Store) -> None:
    fence = await fence_of(store)
    await store.write([[Put(PREFIX + b"many/%05d" % i, b"")] for i in range(2500)], fence)
    start = await store.revision() + 1
    done = await store.txn([], [DeleteRange(PREFIX + b"many/")])
    batches = store.watch(PREFIX, start)
    async with asyncio.timeout(20):
        batch = await anext(batches)
    await batches.aclose()
    assert isinstance(batch, Changes) and not isinstance(batch, Resync)
    assert batch.revision == done.revision and len(batch.events) == 2500
