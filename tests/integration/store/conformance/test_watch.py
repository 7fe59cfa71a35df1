"""What every driver's watch must deliver."""

from __future__ import annotations

import asyncio

import pytest
from manta_gcs.store import Delete, EventKind, Put, Store

from tests.integration.store.waiting import Watcher


async def test_a_watch_delivers_puts_and_deletes_under_its_prefix_in_order(store: Store, prefix: bytes) -> None:
    _, revision = await store.range(prefix)
    async with Watcher(store.watch(prefix + b"in/", revision + 1)) as watcher:
        await store.txn([], [Put(prefix + b"in/a", b"1"), Put(prefix + b"out/a", b"1")])
        await store.txn([], [Put(prefix + b"in/a", b"2")])
        await store.txn([], [Delete(prefix + b"in/a"), Delete(prefix + b"in/never")])
        last = await store.txn([], [Put(prefix + b"in/b", b"3")])
        await watcher.wait_for(lambda: len(watcher.events) >= 4)
    assert [(e.kind, e.key, e.value) for e in watcher.events] == [
        (EventKind.PUT, prefix + b"in/a", b"1"),
        (EventKind.PUT, prefix + b"in/a", b"2"),
        (EventKind.DELETE, prefix + b"in/a", b""),
        (EventKind.PUT, prefix + b"in/b", b"3"),
    ]
    assert watcher.events[-1].revision == last.revision and watcher.resyncs == []


async def test_a_watch_from_an_earlier_revision_catches_up_and_goes_on(store: Store, prefix: bytes) -> None:
    first = await store.txn([], [Put(prefix + b"0", b"")])
    for i in range(1, 300):
        await store.txn([], [Put(prefix + b"%d" % i, b"")])
    async with Watcher(store.watch(prefix, first.revision)) as watcher:
        await watcher.wait_for(lambda: len(watcher.events) >= 300)
        await store.txn([], [Put(prefix + b"300", b"")])
        await watcher.wait_for(lambda: len(watcher.events) >= 301)
    assert [key for key, _ in watcher.puts()] == [prefix + b"%d" % i for i in range(301)]


async def test_the_changes_of_one_revision_come_in_one_batch(store: Store, prefix: bytes) -> None:
    start = await store.revision() + 1
    done = await store.txn([], [Put(prefix + b"%d" % i, b"x" * 9000) for i in range(100)])
    async with asyncio.timeout(10):
        batches = store.watch(prefix, start)
        batch = await anext(batches)
        await batches.aclose()
    assert not hasattr(batch, "records") and batch.revision == done.revision
    assert len(batch.events) == 100


async def test_two_watches_each_get_every_event(store: Store, prefix: bytes) -> None:
    start = await store.revision() + 1
    async with Watcher(store.watch(prefix, start)) as one, Watcher(store.watch(prefix, start)) as two:
        await asyncio.gather(*(store.txn([], [Put(prefix + b"%d" % i, b"")]) for i in range(200)))
        for watcher in (one, two):
            await watcher.wait_for(lambda watcher=watcher: len(watcher.events) >= 200)  # type: ignore[misc]
    assert one.events == two.events and len({e.revision for e in one.events}) == 200


async def test_a_watch_from_a_compacted_revision_yields_the_full_listing_then_changes(
    store: Store, prefix: bytes
) -> None:
    first = await store.txn([], [Put(prefix + b"gone", b"")])
    await store.txn([], [Delete(prefix + b"gone"), Put(prefix + b"kept", b"1")])
    last = await store.txn([], [Put(prefix + b"kept", b"2")])
    await store.compact(last.revision)
    await store.compact(last.revision)  # another replica was faster: no error
    async with Watcher(store.watch(prefix, first.revision)) as watcher:
        await watcher.wait_for(lambda: len(watcher.resyncs) == 1)
        (resync,) = watcher.resyncs
        assert [(r.key, r.value) for r in resync.records] == [(prefix + b"kept", b"2")]
        assert resync.revision >= last.revision
        await store.txn([], [Put(prefix + b"new", b"3")])
        await watcher.wait_for(lambda: watcher.events != [])
    assert watcher.puts() == [(prefix + b"new", b"3")] and len(watcher.resyncs) == 1


async def test_a_compaction_keeps_what_is_not_older(store: Store, prefix: bytes) -> None:
    await store.txn([], [Put(prefix + b"a", b"1")])
    second = await store.txn([], [Put(prefix + b"a", b"2")])
    await store.compact(second.revision)
    async with Watcher(store.watch(prefix, second.revision)) as watcher:
        await watcher.wait_for(lambda: watcher.events != [])
    assert watcher.puts() == [(prefix + b"a", b"2")] and watcher.resyncs == []


async def test_a_compaction_in_the_future_is_the_callers_bug(store: Store) -> None:
    with pytest.raises(ValueError, match=r"revision|compact"):
        await store.compact(await store.revision() + 1000)


async def test_a_watch_from_revision_zero_is_the_callers_bug(store: Store, prefix: bytes) -> None:
    with pytest.raises(ValueError, match="first revision is 1"):
        await anext(store.watch(prefix, 0))


async def test_closing_the_store_ends_its_watches(store: Store, prefix: bytes) -> None:
    start = await store.revision() + 1
    ended = asyncio.Event()

    async def follow() -> None:
        async for _ in store.watch(prefix, start):
            pass
        ended.set()

    task = asyncio.create_task(follow())
    await store.txn([], [Put(prefix + b"a", b"")])
    await store.close()
    async with asyncio.timeout(5):
        await task
    assert ended.is_set()
