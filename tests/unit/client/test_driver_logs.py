"""Which lines of workers are shown at once, and which are counted."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manta_proto.raylet.v1 import raylet_pb2
from ray._runtime.driver_logs import FOLD_S, Fold, LogPrinter


def test_a_line_is_shown_once_and_counted_for_other_processes() -> None:
    fold = Fold()
    assert fold.take("hello", 1, "(f pid=1)", 0.0)
    assert not fold.take("hello", 2, "(f pid=2)", 0.1)
    assert not fold.take("hello", 3, "(f pid=3)", 0.2)
    assert fold.due(FOLD_S - 0.1) == []
    assert fold.due(FOLD_S) == [("(f pid=3)", "hello", 2)]
    assert fold.due(FOLD_S, everything=True) == [] and len(fold) == 0


def test_a_programs_own_repeats_are_shown() -> None:
    fold = Fold()
    assert all(fold.take("tick", 1, "(f pid=1)", at) for at in (0.0, 0.1, 0.2))
    assert fold.due(99.0) == []


def test_after_its_time_a_line_is_new_again() -> None:
    fold = Fold()
    fold.take("hello", 1, "a", 0.0)
    fold.due(FOLD_S)
    assert fold.take("hello", 2, "b", FOLD_S)


def test_the_end_says_everything() -> None:
    fold = Fold()
    fold.take("hello", 1, "a", 0.0)
    fold.take("hello", 2, "b", 0.0)
    assert fold.due(0.0, everything=True) == [("b", "hello", 1)]


def test_memory_is_bounded_whatever_is_printed() -> None:
    fold = Fold()
    for number in range(2000):
        fold.take(f"line {number}", 1, "a", 0.0)
    fold.due(0.0)
    assert len(fold) <= 512


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.floats(0, 3)), max_size=40))
def test_every_line_is_shown_or_counted(prints: list[tuple[str, int, float]]) -> None:
    fold = Fold()
    at, shown, counted = 0.0, 0, 0
    for line, source, step in prints:
        at += step
        counted += sum(count for _, _, count in fold.due(at))
        shown += fold.take(line, source, "w", at)
    counted += sum(count for _, _, count in fold.due(at, everything=True))
    assert shown + counted == len(prints)


def notice(key: str, text: str = "Warning: nobody has it") -> raylet_pb2.LogLines:
    batch = raylet_pb2.LogLines.Batch(name="scheduler", node_ip="2.2.2.2", is_error=True, lines=[text], once=key)
    return raylet_pb2.LogLines(batches=[batch])


def test_a_notice_of_the_scheduler_is_shown_once_whoever_sends_it(capsys: pytest.CaptureFixture[str]) -> None:
    printer = LogPrinter("1.1.1.1", lambda delay, call: None)
    for text in ("of 2 nodes", "of 3 nodes"):
        printer.print(notice("tasks of a shape", text))
    printer.print(notice("another"))
    shown = capsys.readouterr().err.splitlines()
    assert shown == ["(scheduler) of 2 nodes", "(scheduler) Warning: nobody has it"]


def test_notices_of_the_scheduler_can_be_turned_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_SCHEDULER_EVENTS", "0")
    LogPrinter("1.1.1.1", lambda delay, call: None).print(notice("a key"))
    assert capsys.readouterr().err == ""


class FullPipe(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [FullPipe(), io.TextIOWrapper(io.BytesIO(), encoding="ascii"), io.StringIO(), None])
def test_a_stream_that_takes_no_output_fails_nobody(
    monkeypatch: pytest.MonkeyPatch, stream: io.TextIOBase | None
) -> None:
    if type(stream) is io.StringIO:
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    timers = []
    printer = LogPrinter("here", lambda _delay, call: timers.append(call))
    batches = [raylet_pb2.LogLines.Batch(lines=["é"], pid=pid, node_ip="here", name="f") for pid in (1, 2)]
    printer.print(raylet_pb2.LogLines(batches=batches))
    assert len(timers) == 1
    printer.close()
