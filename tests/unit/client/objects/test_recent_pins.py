from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ray._runtime.objects.recent_pins import KEEP_S, RecentPins


@dataclass(frozen=True)
class Pin:
    """Stands for a pin: only its sizes matter here."""

    size: int
    arena_bytes: int = 2000


def kept(pins: RecentPins, name: bytes, now: float, size: int = 0) -> None:
    pin: Any = Pin(size)
    pins.keep(name, pin, now)


def test_a_pin_goes_when_its_object_was_not_read_for_a_while() -> None:
    pins = RecentPins()
    kept(pins, b"a", 0.0)
    kept(pins, b"b", KEEP_S / 2)
    assert pins.expire(KEEP_S)
    assert len(pins) == 1
    assert not pins.expire(2 * KEEP_S)
    assert len(pins) == 0


def test_another_read_keeps_it_longer() -> None:
    pins = RecentPins()
    kept(pins, b"a", 0.0)
    kept(pins, b"b", 0.0)
    kept(pins, b"a", KEEP_S)
    assert pins.expire(KEEP_S)
    pins.forget(b"a")
    assert len(pins) == 0


def test_the_number_of_pins_is_bounded() -> None:
    pins = RecentPins()
    for number in range(5000):
        kept(pins, b"%d" % number, float(number))
    assert len(pins) == 1024


def test_together_they_keep_half_of_the_arena_from_eviction_or_one_object() -> None:
    pins = RecentPins()
    for number in range(10):
        kept(pins, b"%d" % number, 0.0, size=300)
        kept(pins, b"%d" % number, 0.0, size=300)
    assert len(pins) == 3
    kept(pins, b"large", 0.0, size=5000)
    assert len(pins) == 1
    pins.forget(b"large")
    kept(pins, b"a", 0.0, size=1000)
    assert len(pins) == 1


def test_a_freed_object_is_let_go_at_once() -> None:
    pins = RecentPins()
    kept(pins, b"a", 0.0)
    pins.forget(b"a")
    pins.forget(b"a")
    assert len(pins) == 0
