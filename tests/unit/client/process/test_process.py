"""What is queued under a process's lock is done, whatever single callbacks do."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from ray._runtime.objects import stored_values as stored
from ray._runtime.objects.dropped_refs import Drops
from ray._runtime.process.process import Process
from ray._runtime.values.serialization import serialize


def test_a_callback_that_exits_leaves_the_others_to_the_next_that_comes() -> None:
    process = Process(is_driver=True)
    process.reactor.open()
    woken: list[bytes] = []
    process.woken += [(lambda _object_id: sys.exit(3), b"1"), (woken.append, b"2"), (woken.append, b"3")]
    with pytest.raises(SystemExit):
        process.after_lock()
    assert not woken
    process.reactor.poll(0.0)
    assert woken == [b"2", b"3"]
    process.reactor.close()


def test_what_a_put_counts_before_it_asks_for_room_is_told_before_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(is_driver=True)
    process.reactor.open()
    told: list[str] = []

    class Link:
        def flush(self) -> None:
            told.append("flushed")

    link: Any = Link()

    def count(drops: Drops) -> None:
        # The end of a borrow: its owner is to hear of it, and may then free what takes the room.
        drops.refs.clear()
        process.dirty.add(link)

    def store_put(*_args: Any) -> None:
        told.append("stores")
        raise KeyboardInterrupt

    monkeypatch.setattr(Drops, "count", count)
    monkeypatch.setattr(stored, "store_put", store_put)
    process.drops.refs.append(b"r" * 28)
    with pytest.raises(KeyboardInterrupt):
        process.put_serialized(serialize(b"x" * (1 << 20)), b"o" * 28)
    assert told == ["flushed", "stores"]
    process.reactor.close()
