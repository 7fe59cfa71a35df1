"""The timer that lets pins go which were kept for another read."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from ray._runtime.objects.reads import Reads
from ray._runtime.objects.recent_pins import KEEP_S

PIN: Any = SimpleNamespace(size=1, arena_bytes=1000)


class StandIn:
    """What reads need of their process, which is its own reactor."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.reactor = self
        self.objects = {b"a", b"b"}
        self.timers: list[Any] = []

    def call_later(self, _delay_s: float, call: Any) -> None:
        self.timers.append(call)


def test_one_timer_runs_while_pins_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    process: Any = StandIn()
    reads = Reads(process)
    for name in (b"a", b"b", b"a", b"freed meanwhile"):
        reads.keep(name, PIN)
        reads.recent.forget(b"a")  # puts that are dropped at once, in a row
    assert len(process.timers) == 1 and len(reads.recent) == 1
    process.timers.pop()()
    assert len(process.timers) == 1, "there is one left"
    now[0] += 2 * KEEP_S
    process.timers.pop()()
    assert process.timers == [] and len(reads.recent) == 0
    reads.keep(b"b", PIN)
    assert len(process.timers) == 1
