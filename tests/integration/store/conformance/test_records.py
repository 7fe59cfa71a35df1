"""What every driver must do with records, txns and groups of writes."""

from __future__ import annotations

import asyncio

import pytest
from manta_gcs.store import Compare, Delete, DeleteRange, Fenced, Op, Put, Record, Store


async def test_a_key_that_was_never_written_is_none(store: Store, prefix: bytes) -> None:
    assert await store.get(prefix + b"absent") is None


async def test_a_record_carries_the_revision_of_its_last_put(store: Store, prefix: bytes) -> None:
    first = await store.put_if(prefix + b"a", b"1", 0)
    assert first.succeeded and await store.get(prefix + b"a") == Record(prefix + b"a", b"1", first.revision)
    second = await store.txn([], [Put(prefix + b"a", b"2")])
    assert second.revision > first.revision
    assert await store.get(prefix + b"a") == Record(prefix + b"a", b"2", second.revision)
    assert await store.revision() >= second.revision


async def test_put_if_refuses_a_key_that_exists_or_changed_and_shows_it(store: Store, prefix: bytes) -> None:
    first = await store.put_if(prefix + b"a", b"1", 0)
    again = await store.put_if(prefix + b"a", b"2", 0)
    assert not again.succeeded and again.seen == (Record(prefix + b"a", b"1", first.revision),)
    assert (await store.put_if(prefix + b"a", b"3", first.revision)).succeeded
    assert not (await store.put_if(prefix + b"a", b"4", first.revision)).succeeded
    record = await store.get(prefix + b"a")
    assert record is not None and record.value == b"3"


async def test_a_deleted_key_counts_as_absent_and_can_be_made_anew(store: Store, prefix: bytes) -> None:
    first = await store.put_if(prefix + b"a", b"1", 0)
    assert not (await store.delete(prefix + b"a", first.revision + 1000)).succeeded
    assert (await store.delete(prefix + b"a", first.revision)).succeeded
    assert await store.get(prefix + b"a") is None
    assert (await store.delete(prefix + b"a")).succeeded
    assert (await store.put_if(prefix + b"a", b"2", 0)).succeeded


async def test_a_delete_that_finds_nothing_does_not_raise_the_revision(store: Store, prefix: bytes) -> None:
    before = await store.revision()
    result = await store.txn([], [Delete(prefix + b"absent"), DeleteRange(prefix + b"none/")])
    assert result.succeeded and result.revision == before == await store.revision()


async def test_a_txn_is_all_or_nothing_and_has_one_revision(store: Store, prefix: bytes) -> None:
    await store.txn([], [Put(prefix + b"gone", b"x"), Put(prefix + b"dir/1", b"x"), Put(prefix + b"dir/2", b"x")])
    guard = await store.put_if(prefix + b"guard", b"", 0)
    ops: list[Op] = [
        Put(prefix + b"a", b"1"),
        Put(prefix + b"b", b"2"),
        Delete(prefix + b"gone"),
        DeleteRange(prefix + b"dir/"),
    ]
    refused = await store.txn([Compare(prefix + b"guard", guard.revision), Compare(prefix + b"gone", 0)], ops)
    assert not refused.succeeded and {r.key for r in refused.seen} == {prefix + b"guard", prefix + b"gone"}
    assert await store.get(prefix + b"a") is None
    done = await store.txn([Compare(prefix + b"guard", guard.revision), Compare(prefix + b"never", 0)], ops)
    assert done.succeeded
    records, revision = await store.range(prefix)
    assert [(r.key, r.revision) for r in records] == [
        (prefix + b"a", done.revision),
        (prefix + b"b", done.revision),
        (prefix + b"guard", guard.revision),
    ]
    assert revision >= done.revision


async def test_a_range_lists_exactly_the_prefix_in_key_order(store: Store, prefix: bytes) -> None:
    inside = [prefix + b"p/" + tail for tail in (b"", b"\x00", b"a", b"a\xff", b"\xff", b"\xff\xff")]
    outside = [prefix + b"p", prefix + b"p.", prefix + b"p0", prefix + b"q/a"]
    await store.txn([], [Put(key, key) for key in inside + outside])
    records, _ = await store.range(prefix + b"p/")
    assert [r.key for r in records] == sorted(inside) and all(r.value == r.key for r in records)
    await store.txn([], [DeleteRange(prefix + b"p/")])
    assert [r.key for r in (await store.range(prefix))[0]] == sorted(outside)


async def test_a_prefix_that_ends_in_ff_bytes_has_its_own_end(store: Store, prefix: bytes) -> None:
    await store.txn([], [Put(prefix + b"\xff\xffa", b""), Put(prefix + b"\xff\xfe", b""), Put(prefix + b"z", b"")])
    assert [r.key for r in (await store.range(prefix + b"\xff\xff"))[0]] == [prefix + b"\xff\xffa"]


async def test_binary_and_empty_values_come_back_whole(store: Store, prefix: bytes) -> None:
    values = [b"", bytes(range(256)), b"\x00" * 1000, b"x" * 900_000]
    for index, value in enumerate(values):
        await store.txn([], [Put(prefix + str(index).encode(), value)])
    assert [r.value for r in (await store.range(prefix))[0]] == values


async def test_a_long_range_comes_complete_over_many_pages(store: Store, prefix: bytes) -> None:
    fence = Compare(prefix + b"leader", (await store.put_if(prefix + b"leader", b"", 0)).revision)
    groups = [[Put(prefix + b"row/%06d" % i, b"%d" % i)] for i in range(1500)]
    await store.write(groups, fence)
    records, _ = await store.range(prefix + b"row/")
    assert [r.value for r in records] == [b"%d" % i for i in range(1500)]


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ([Put(b"k", b"1"), Put(b"k", b"2")], "twice"),
        ([Put(b"k", b"1"), Delete(b"k")], "put and deleted"),
        ([Put(b"k/1", b"1"), DeleteRange(b"k/")], "put and deleted"),
        ([Put(b"", b"1")], "empty key"),
        ([DeleteRange(b"")], "empty key"),
        ([Put(b"k%d" % i, b"") for i in range(101)], "101 operations"),
        ([Put(b"large", b"x" * 1024 * 1024)], "large"),
    ],
)
async def test_a_malformed_txn_is_refused_alike_by_all(store: Store, ops: list[Op], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        await store.txn([], ops)


async def test_500_puts_at_once_all_arrive_with_revisions_of_their_own(store: Store, prefix: bytes) -> None:
    results = await asyncio.gather(*(store.put_if(prefix + b"%03d" % i, b"%d" % i, 0) for i in range(500)))
    assert all(r.succeeded for r in results) and len({r.revision for r in results}) == 500
    records, _ = await store.range(prefix)
    assert [r.revision for r in records] == [r.revision for r in results]


async def test_one_of_many_rivals_wins_a_key(store: Store, prefix: bytes) -> None:
    results = await asyncio.gather(*(store.put_if(prefix + b"key", b"%d" % i, 0) for i in range(50)))
    winners = [i for i, result in enumerate(results) if result.succeeded]
    record = await store.get(prefix + b"key")
    assert len(winners) == 1 and record is not None and record.value == b"%d" % winners[0]


async def test_write_splits_at_the_limits_and_never_through_a_group(store: Store, prefix: bytes) -> None:
    fence = Compare(prefix + b"leader", (await store.put_if(prefix + b"leader", b"me", 0)).revision)
    groups: list[list[Op]] = [[Put(prefix + b"g%02d/%02d" % (g, i), b"v") for i in range(30)] for g in range(20)]
    groups += [[Put(prefix + b"large/%d" % i, b"x" * 300_000)] for i in range(8)]
    last = await store.write(groups, fence)
    records, _ = await store.range(prefix + b"g")
    assert len(records) == 600
    for g in range(20):
        assert len({r.revision for r in records if r.key.startswith(prefix + b"g%02d/" % g)}) == 1
    assert len({r.revision for r in records}) == 7  # three groups of 30 fit a txn of 100
    large, _ = await store.range(prefix + b"large/")
    assert len(large) == 8 and len({r.revision for r in large}) == 3 and max(r.revision for r in large) == last


async def test_write_under_a_stale_fence_changes_nothing_and_names_the_holder(store: Store, prefix: bytes) -> None:
    old = await store.put_if(prefix + b"leader", b"old", 0)
    new = await store.put_if(prefix + b"leader", b"new", old.revision)
    with pytest.raises(Fenced) as caught:
        await store.write([[Put(prefix + b"a", b"1")]], Compare(prefix + b"leader", old.revision))
    assert (caught.value.expected_revision, caught.value.found_revision) == (old.revision, new.revision)
    assert caught.value.holder == b"new" and await store.get(prefix + b"a") is None
    await store.delete(prefix + b"leader")
    with pytest.raises(Fenced, match="no such key"):
        await store.write([], Compare(prefix + b"leader", new.revision))


async def test_write_keeps_the_last_of_several_changes_to_a_key(store: Store, prefix: bytes) -> None:
    fence = Compare(prefix + b"leader", (await store.put_if(prefix + b"leader", b"", 0)).revision)
    await store.write(
        [
            [Put(prefix + b"a", b"1"), Put(prefix + b"b", b"1")],
            [Put(prefix + b"a", b"2"), Delete(prefix + b"b")],
            [Put(prefix + b"dir/x", b"1")],
            [DeleteRange(prefix + b"dir/")],
            [Put(prefix + b"dir/y", b"2")],
        ],
        fence,
    )
    records, _ = await store.range(prefix)
    values = {r.key: r.value for r in records if r.key != fence.key}
    assert values == {prefix + b"a": b"2", prefix + b"dir/y": b"2"}


async def test_close_may_be_called_twice(store: Store) -> None:
    await store.close()
    await store.close()
