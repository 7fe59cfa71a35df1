"""Ends of references: gathered for a moment, never forgotten."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from ray._runtime.objects.dropped_refs import GATHER_S, Drops

REF = b"r" * 28


class StandIn:
    """What drops need of their process; its reactor, counter and arena are itself."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.reactor = self.refs = self.arena = self.actors = self.frees = self
        self.closing = False
        self.to_free: list[Any] = []
        self.soon: list[Any] = []
        self.later: list[tuple[float, Any]] = []
        self.counted: list[bytes] = []
        self.handles: list[tuple[bytes, bool]] = []
        self.unsent = False
        self.flushes = 0
        self.drops = Drops(self)  # type: ignore[arg-type]

    def call_soon(self, call: Any) -> None:
        self.soon.append(call)

    def call_later(self, delay_s: float, call: Any) -> None:
        self.later.append((delay_s, call))

    def drop_some(self, ended: Any) -> tuple[list[bytes], tuple[()]]:
        self.counted += ended
        ended.clear()
        return [], ()

    def drop_handle(self, actor_id: bytes, weak: bool) -> None:
        self.handles.append((actor_id, weak))

    def after_lock(self) -> None:
        self.to_free.clear()

    def has_unsent(self) -> bool:
        return self.unsent

    def flush(self) -> None:
        self.flushes += 1
        self.unsent = False

    def turn(self) -> None:
        """What the reader does when it is woken, or its timer is due."""
        for call in [self.soon.pop(0)] if self.soon else [self.later.pop(0)[1]]:
            call()


@pytest.fixture
def process() -> StandIn:
    return StandIn()


def test_many_ends_share_one_wake_up_until_nothing_follows(process: StandIn) -> None:
    drops = process.drops
    for _ in range(3):
        drops.note(REF)
    assert len(process.soon) == 1 and process.counted == []
    process.turn()
    assert process.counted == [REF] * 3 and process.later[0][0] == GATHER_S and process.flushes == 1
    drops.note(REF)
    drops.note_handle(b"actor", True)
    assert process.soon == [] and len(process.later) == 1
    process.turn()
    assert process.counted == [REF] * 4 and process.handles == [(b"actor", True)]
    process.turn()  # nothing came: the next one asks anew
    assert process.later == [] and not drops.asked
    drops.note(REF)
    assert len(process.soon) == 1


def test_what_the_object_manager_is_to_hear_is_sent(process: StandIn) -> None:
    process.unsent = True
    process.drops.ask()
    process.turn()
    assert process.flushes == 1
    process.to_free.append(REF)
    process.turn()
    assert process.to_free == []


def test_an_end_noted_while_the_last_round_ends_is_not_forgotten(process: StandIn) -> None:
    drops = process.drops
    drops.note(REF)
    process.turn()
    looked = iter((False, True))
    original = drops._anything

    def anything() -> bool:
        """Between the two looks a destructor notes an end; it sees that the reader was asked already."""
        found = original()
        if next(looked, None) is False:
            drops.refs.append(REF)
            return found
        return original()

    type(drops)._anything, saved = (lambda _self: anything()), type(drops)._anything  # type: ignore[method-assign]
    try:
        process.turn()
    finally:
        type(drops)._anything = saved  # type: ignore[method-assign]
    assert process.counted == [REF] * 2 and drops.asked and len(process.later) == 1


def test_an_error_in_a_round_does_not_end_the_rounds(process: StandIn) -> None:
    def fails() -> None:
        raise OSError("broken")

    process.flush = fails  # type: ignore[method-assign]
    process.drops.note(REF)
    with pytest.raises(OSError, match="broken"):
        process.turn()
    assert process.drops.asked and len(process.later) == 1
