from __future__ import annotations

from ray._runtime.loop.spinning import SPIN_S, Spinning


def test_a_reader_sleeps_at_once_until_its_waits_have_been_short() -> None:
    spinning = Spinning(2)
    assert not spinning.worthwhile()
    for _ in range(20):
        spinning.waited(SPIN_S / 4)
    assert spinning.worthwhile()


def test_one_long_wait_ends_the_spinning() -> None:
    spinning = Spinning(2)
    for _ in range(100):
        spinning.waited(SPIN_S / 100)
    spinning.waited(60.0)
    assert not spinning.worthwhile()


def test_however_long_a_wait_was_some_short_ones_make_it_worthwhile_again() -> None:
    spinning = Spinning(2)
    for seconds in (3600.0, *[SPIN_S / 4] * 20):
        spinning.waited(seconds)
    assert spinning.worthwhile()


def test_on_one_processor_nobody_spins() -> None:
    spinning = Spinning(1)
    for _ in range(100):
        spinning.waited(SPIN_S / 100)
    assert not spinning.worthwhile()
