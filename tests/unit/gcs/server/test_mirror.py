"""A standby's mirror: complete as of a revision, without what is left out, and honest when it is behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from manta_gcs.server.mirror import Mirror
from manta_gcs.store import Delete, Put, Store, open_store
from manta_gcs.store.interface import Record, Resync

ROOT = b"/manta/v1/default/"


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    opened = await open_store("sqlite:memory")
    yield opened
    await opened.close()


@pytest.fixture
async def mirror(store: Store) -> AsyncIterator[Mirror]:
    await store.txn([], [Put(ROOT + b"node/1", b"one"), Put(ROOT + b"chunks/x", b"large"), Put(b"/other", b"x")])
    one = Mirror(store, ROOT, without=ROOT + b"chunks/")
    assert not await one.reached(1), "nothing was followed yet"
    following = asyncio.create_task(one.follow())
    async with asyncio.timeout(10), one.moved:
        await one.moved.wait_for(lambda: one.revision > 0)
    yield one
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_what_was_there_and_what_changes_is_mirrored(store: Store, mirror: Mirror) -> None:
    assert [record.value for record in (await mirror.range(ROOT))[0]] == [b"one"]
    await store.txn([], [Put(ROOT + b"node/2", b"two"), Put(ROOT + b"job/1", b"job"), Put(ROOT + b"chunks/y", b"l")])
    changed = await store.txn([], [Put(ROOT + b"node/2", b"deux"), Delete(ROOT + b"node/1")])
    assert await mirror.reached(changed.revision)
    records, revision = await mirror.range(ROOT + b"node/")
    assert [(record.key, record.value) for record in records] == [(ROOT + b"node/2", b"deux")]
    assert records == (await store.range(ROOT + b"node/"))[0] and revision == changed.revision
    assert len(mirror) == 2


async def test_a_mirror_that_does_not_hear_of_a_revision_says_so(mirror: Mirror) -> None:
    assert not await mirror.reached(mirror.revision + 1)


async def test_a_resync_forgets_what_is_gone(store: Store) -> None:
    one = Mirror(store, ROOT, without=ROOT + b"chunks/")
    await one._take(Resync((Record(ROOT + b"a", b"1", 1), Record(ROOT + b"b", b"2", 2)), 5))
    await one._take(Resync((Record(ROOT + b"b", b"3", 7),), 9))
    assert await one.range(ROOT) == ([Record(ROOT + b"b", b"3", 7)], 9)
