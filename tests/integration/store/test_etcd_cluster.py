"""Three etcd members: failover, lost quorum, frozen members."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from manta_gcs.store import OutcomeUnknown, StoreUnavailable, open_store
from manta_gcs.store.etcd import EtcdStore

from tests.integration.etcd_server import EtcdCluster
from tests.integration.store.waiting import Watcher, until

PREFIX = b"/manta/v1/cluster/"
QUORUM = b"/manta/v1/quorum/"


@pytest.fixture(scope="module")
def cluster() -> Iterator[EtcdCluster]:
    with EtcdCluster() as running:
        yield running


async def test_a_watch_and_writes_move_to_another_member_when_theirs_is_killed_or_frozen(cluster: EtcdCluster) -> None:
    """Note 7: without keepalive a frozen member cost a third of all calls for 32 s."""
    store = await open_store(cluster.url + "?timeout_s=3")
    start = await store.revision() + 1
    failed = number = 0
    async with Watcher(store.watch(PREFIX, start)) as watcher:

        async def write(count: int, may_fail: int) -> None:
            nonlocal failed, number
            wanted = number - failed + count
            while number - failed < wanted:
                number += 1
                try:
                    await store.put_if(PREFIX + b"%06d" % number, b"", 0)
                except (OutcomeUnknown, StoreUnavailable):
                    failed += 1
                    assert failed <= may_fail

        await write(20, 0)
        cluster.members[0].freeze()
        await write(50, 2)  # calls that met the frozen member
        cluster.members[0].thaw()
        await asyncio.to_thread(cluster.members[0].wait_healthy)
        cluster.members[1].kill()
        await write(50, 5)  # those and the ones that met the killed member or the election after it
        present = [record.key for record in (await store.range(PREFIX))[0]]
        await watcher.wait_for(lambda: len(watcher.events) >= len(present))
    await asyncio.to_thread(cluster.members[1].start)
    # Sorted: what timed out at the frozen member may have been applied late, when that member woke.
    assert sorted(event.key for event in watcher.events) == present and watcher.resyncs == []
    assert len(present) >= number - failed
    await store.close()


async def test_a_watch_notices_a_lost_quorum_and_goes_on_when_it_is_back(cluster: EtcdCluster) -> None:
    """Notes 4 and 5: without hasleader the stream stays open and silent."""
    alone, *others = cluster.members
    store = await open_store(f"etcd://{alone.endpoint}?timeout_s=2")
    assert isinstance(store, EtcdStore)
    start = await store.revision() + 1
    async with Watcher(store.watch(QUORUM, start)) as watcher:
        await store.put_if(QUORUM + b"before", b"", 0)
        await watcher.wait_for(lambda: len(watcher.events) == 1)
        for member in others:
            member.kill()
        await until(lambda: "no leader" in store.watch_stats.last_break, "the watch hears that the quorum is lost")
        with pytest.raises((OutcomeUnknown, StoreUnavailable)):
            async with asyncio.timeout(10):
                await store.put_if(QUORUM + b"none", b"", 0)
        for member in others:
            member.spawn()
        for member in others:
            await asyncio.to_thread(member.wait_healthy)
        # It serves again, and is busy: it follows the log of what it missed.
        other = await open_store(f"etcd://{others[0].endpoint}?timeout_s=20")
        await other.put_if(QUORUM + b"z-after", b"", 0)
        await watcher.wait_for(lambda: watcher.events[-1].key == QUORUM + b"z-after")
        await other.close()
    keys = [event.key for event in watcher.events]
    assert len(keys) == len(set(keys)) and keys[0] == QUORUM + b"before"
    await store.close()
