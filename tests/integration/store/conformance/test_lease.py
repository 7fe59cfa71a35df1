"""Leases, leadership, chunks and compaction on every driver."""

from __future__ import annotations

import asyncio
import time

import pytest
from manta_gcs.store import (
    Chunks,
    ChunksDamaged,
    Delete,
    EventKind,
    Fenced,
    Leadership,
    LeaseEnded,
    LeaseId,
    Put,
    Store,
    needs_chunks,
    run_compaction,
)

from tests.integration.store.waiting import Watcher


async def test_a_kept_lease_outlives_its_time_and_a_revoked_one_takes_its_keys_along(
    store: Store, prefix: bytes, short_ttl_s: float
) -> None:
    lease = await store.grant_lease(short_ttl_s)
    granted_until = lease.deadline
    put = await store.txn([], [Put(prefix + b"a", b"1", lease.id), Put(prefix + b"b", b"1", lease.id)])
    async with Watcher(store.watch(prefix, put.revision + 1)) as watcher:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(granted_until + 0.2 - time.monotonic()):
                await lease.lost.wait()
        assert lease.deadline > time.monotonic() and await store.get(prefix + b"a") is not None
        await lease.revoke()
        await watcher.wait_for(lambda: len(watcher.events) == 2)
    assert {(e.kind, e.key) for e in watcher.events} == {
        (EventKind.DELETE, prefix + b"a"),
        (EventKind.DELETE, prefix + b"b"),
    }
    assert lease.lost.is_set() and await store.get(prefix + b"a") is None


async def test_an_abandoned_lease_is_lost_at_its_deadline_and_its_keys_go(
    store: Store, prefix: bytes, short_ttl_s: float
) -> None:
    lease = await store.grant_lease(short_ttl_s)
    put = await store.txn([], [Put(prefix + b"a", b"1", lease.id), Put(prefix + b"free", b"1")])
    async with Watcher(store.watch(prefix, put.revision + 1)) as watcher:
        lease.abandon()
        async with asyncio.timeout(5):
            await lease.lost.wait()
        assert time.monotonic() >= lease.deadline - 0.05
        await watcher.wait_for(lambda: watcher.events != [])
    assert [r.key for r in (await store.range(prefix))[0]] == [prefix + b"free"]


async def test_a_put_without_lease_frees_the_key_from_it(store: Store, prefix: bytes) -> None:
    lease = await store.grant_lease(5)
    await store.txn([], [Put(prefix + b"a", b"1", lease.id)])
    await store.txn([], [Put(prefix + b"a", b"2")])
    await lease.revoke()
    record = await store.get(prefix + b"a")
    assert record is not None and record.value == b"2"


async def test_a_put_under_an_ended_lease_is_refused(store: Store, prefix: bytes) -> None:
    lease = await store.grant_lease(5)
    await lease.revoke()
    await lease.revoke()  # again: no error
    for gone in (lease.id, LeaseId(12345)):
        with pytest.raises(LeaseEnded) as caught:
            await store.txn([], [Put(prefix + b"a", b"1", gone)])
        assert caught.value.lease_id == gone
    assert await store.get(prefix + b"a") is None


async def test_a_second_bid_waits_and_leads_with_a_higher_epoch_once_the_first_resigns(
    store: Store, prefix: bytes
) -> None:
    first = Leadership(store, prefix + b"leader", b"one")
    second = Leadership(store, prefix + b"leader", b"two")
    epoch = await first.campaign()
    bid = asyncio.create_task(second.campaign())
    assert first.leads and not second.leads and not bid.done()
    holder = await second.holder()
    assert holder is not None and (holder.value, holder.revision) == (b"one", epoch)
    await store.write([[Put(prefix + b"a", b"1")]], first.fence)
    await first.resign()
    async with asyncio.timeout(5):
        assert await bid > epoch
    assert first.lost.is_set() and not first.leads and second.leads
    with pytest.raises(Fenced) as caught:
        await store.write([[Put(prefix + b"a", b"2")]], first.fence)
    assert caught.value.holder == b"two"
    await store.write([[Put(prefix + b"a", b"3")]], second.fence)
    await second.resign()
    assert await store.get(prefix + b"leader") is None


async def test_a_leader_whose_key_is_deleted_learns_of_it(store: Store, prefix: bytes) -> None:
    leadership = Leadership(store, prefix + b"leader", b"one")
    await leadership.campaign()
    await store.txn([], [Delete(prefix + b"leader")])
    async with asyncio.timeout(5):
        await leadership.lost.wait()
    with pytest.raises(Fenced):
        await store.write([[Put(prefix + b"a", b"1")]], leadership.fence)


async def test_stepping_down_leaves_the_key_to_the_lease(store: Store, prefix: bytes, short_ttl_s: float) -> None:
    first = Leadership(store, prefix + b"leader", b"one", ttl_s=short_ttl_s)
    second = Leadership(store, prefix + b"leader", b"two", ttl_s=short_ttl_s)
    epoch = await first.campaign()
    first.step_down("outcome unknown")
    assert first.lost.is_set() and not first.leads
    async with asyncio.timeout(10):
        assert await second.campaign() > epoch
    await second.resign()


async def test_a_leadership_bids_once(store: Store, prefix: bytes) -> None:
    leadership = Leadership(store, prefix + b"leader", b"one")
    with pytest.raises(RuntimeError, match="never led"):
        _ = leadership.fence
    await leadership.campaign()
    with pytest.raises(RuntimeError, match="works once"):
        await leadership.campaign()
    await leadership.resign()


async def test_a_large_value_is_kept_in_chunks_written_once(store: Store, prefix: bytes) -> None:
    leadership = Leadership(store, prefix + b"leader", b"one")
    await leadership.campaign()
    chunks = Chunks(store, prefix + b"chunks/")
    value = bytes(range(256)) * 4096 * 2 + b"tail"  # 2 MiB
    assert needs_chunks(value) and not needs_chunks(value[: 256 * 1024])
    digest = await chunks.save(value, leadership.fence)
    records, _ = await store.range(prefix + b"chunks/")
    assert len(records) == 10 and max(len(r.value) for r in records) == 256 * 1024
    assert records[-1].key.endswith(b"/manifest")  # written with the last chunks, not before
    assert records[-1].revision == max(r.revision for r in records) > min(r.revision for r in records)
    before = await store.revision()
    assert await chunks.save(value, leadership.fence) == digest
    assert await Chunks(store, prefix + b"chunks/").save(value, leadership.fence) == digest
    assert await store.revision() == before
    assert await chunks.load(digest) == value
    assert await chunks.digests() == {digest}
    empty = await chunks.save(b"", leadership.fence)
    assert await chunks.load(empty) == b""
    await chunks.delete(digest, leadership.fence)
    assert await chunks.digests() == {empty}
    with pytest.raises(ChunksDamaged, match="no manifest"):
        await chunks.load(digest)
    assert await chunks.save(value, leadership.fence) == digest and await chunks.load(digest) == value
    await leadership.resign()
    with pytest.raises(Fenced):
        await chunks.save(b"another", leadership.fence)


async def test_missing_and_altered_chunks_are_told(store: Store, prefix: bytes) -> None:
    leadership = Leadership(store, prefix + b"leader", b"one")
    await leadership.campaign()
    chunks = Chunks(store, prefix + b"chunks/")
    digest = await chunks.save(b"x" * 600_000, leadership.fence)
    folder = prefix + b"chunks/" + digest.encode()
    await store.txn([], [Put(folder + b"/00000001", b"y" * 262_144)])
    with pytest.raises(ChunksDamaged, match="hash"):
        await chunks.load(digest)
    await store.delete(folder + b"/00000001")
    with pytest.raises(ChunksDamaged, match=r"\[1\] of 3 are missing"):
        await chunks.load(digest)
    await leadership.resign()


async def test_the_leaders_compaction_forgets_what_is_old(store: Store, prefix: bytes) -> None:
    first = await store.txn([], [Put(prefix + b"a", b"1")])
    await store.txn([], [Put(prefix + b"a", b"2")])
    compaction = asyncio.create_task(run_compaction(store, interval_s=0.02, keep_s=0.05))
    try:
        async with asyncio.timeout(10):
            while True:  # a new watch each time: only a fresh one shows whether the past is still there
                batches = store.watch(prefix, first.revision)
                batch = await anext(batches)
                await batches.aclose()
                if hasattr(batch, "records"):
                    break
    finally:
        compaction.cancel()
        await asyncio.gather(compaction, return_exceptions=True)
    assert [r.value for r in batch.records] == [b"2"]
