"""The kept changes of an embedded store, the compaction schedule, and delays."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from manta_gcs.store.backoff import Backoff
from manta_gcs.store.compaction import CompactionSchedule
from manta_gcs.store.history import History
from manta_gcs.store.interface import EventKind, WatchEvent


def event(revision: int, key: bytes = b"k", size: int = 0) -> WatchEvent:
    return WatchEvent(EventKind.PUT, key, b"x" * size, revision)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([b"a/1", b"a/2", b"b/1"]), min_size=1, max_size=4), max_size=40),
    st.integers(1, 45),
    st.integers(1, 5),
    st.integers(0, 30),
)
def test_a_reader_gets_every_change_once_in_whole_revisions_or_learns_that_some_are_gone(
    revisions: list[list[bytes]], start: int, limit: int, compacted: int
) -> None:
    history = History(floor=0, limit_events=60)
    everything = []
    for number, keys in enumerate(revisions, start=1):
        events = tuple(event(number, key) for key in keys)
        history.append(events)
        everything += events
    history.forget_through(min(compacted, len(revisions)))
    got: list[WatchEvent] = []
    at = start
    while (batch := history.since(b"a/", at, limit)) is not None and batch.revision >= at:
        got += batch.events
        if batch.events:
            last = batch.events[-1].revision
            assert [e for e in batch.events if e.revision == last] == [
                e for e in everything if e.revision == last and e.key.startswith(b"a/")
            ]
        at = batch.revision + 1
    if start <= history.floor:
        assert got == [] and batch is None
    else:
        assert got == [e for e in everything if e.revision >= start and e.key.startswith(b"a/")]


def test_the_oldest_changes_are_dropped_at_the_limits_of_count_and_bytes() -> None:
    by_count = History(floor=0, limit_events=100)
    by_bytes = History(floor=0, limit_bytes=100_000)
    for revision in range(1, 1001):
        by_count.append((event(revision),))
        by_bytes.append((event(revision, size=1000),))
    assert 900 <= by_count.floor <= 925
    assert 905 <= by_bytes.floor <= 935
    assert by_count.since(b"", by_count.floor) is None
    kept = by_count.since(b"", by_count.floor + 1)
    assert kept is not None and [e.revision for e in kept.events] == list(range(by_count.floor + 1, 1001))


def test_compaction_names_the_newest_revision_that_is_old_enough() -> None:
    schedule = CompactionSchedule(keep_s=600)
    assert [schedule.mark(at, revision) for at, revision in ((0, 10), (300, 20), (599, 25))] == [None] * 3
    assert schedule.mark(600, 30) == 10
    assert schedule.mark(900, 40) == 20
    assert schedule.mark(2000, 50) == 40
    assert schedule.mark(2001, 51) is None


def test_delays_grow_to_their_limit_and_start_again_after_a_success() -> None:
    backoff = Backoff(random.Random(1), first_s=1.0, limit_s=8.0)
    delays = [backoff.delay_s() for _ in range(6)]
    for delay, span in zip(delays, [1, 2, 4, 8, 8, 8], strict=True):
        assert span / 2 <= delay <= span
    backoff.reset()
    assert backoff.delay_s() <= 1.0
