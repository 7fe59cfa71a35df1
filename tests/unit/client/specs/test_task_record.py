"""Timing: the pipelining window of the design, clamp(2 ms / average, 1, 256), and 1 when runs cannot be trusted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray._runtime.specs.task_record import TaskRecord, Timing


def ran(*runs_us: int) -> Timing:
    timing = Timing()
    for run in runs_us:
        timing.ran(run)
    return timing


@pytest.mark.parametrize(("run_us", "window"), [(0, 256), (1, 256), (10, 200), (100, 20), (1000, 2), (2000, 1)])
def test_a_steady_function_gets_two_milliseconds_worth(run_us: int, window: int) -> None:
    assert ran(*[run_us] * 50).window == window


def test_an_unknown_function_goes_alone() -> None:
    assert Timing().window == 1


def test_a_failure_makes_it_unknown_again() -> None:
    timing = ran(10, 10)
    timing.failed()
    assert timing.window == 1
    timing.ran(10)
    assert timing.window > 1


def test_a_run_over_two_milliseconds_closes_the_window_at_once() -> None:
    assert ran(*[10] * 100, 2001).window == 1


def test_a_run_of_over_ten_averages_closes_the_window() -> None:
    assert ran(*[10] * 100, 1500).window == 1


def test_one_slow_start_does_not_count_for_ever() -> None:
    timing = ran(50_000, *[10] * 400)
    assert timing.window > 100


@given(st.lists(st.integers(0, 10_000_000), max_size=60))
def test_the_window_stays_within_its_bounds(runs: list[int]) -> None:
    timing = ran(*runs)
    assert 1 <= timing.window <= 256
    if runs and runs[-1] > 2000:
        assert timing.window == 1


def test_return_ids_count_from_one_behind_the_task_id() -> None:
    record = TaskRecord(b"t" * 24, "f", 2, None, None, Timing(), 0)
    assert record.return_ids() == [b"t" * 24 + b"\1\0\0\0", b"t" * 24 + b"\2\0\0\0"]
