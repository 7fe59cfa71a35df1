"""Which lines of workers are shown at once, and which are counted."""

from __future__ import annotations

import io
import itertools
import os
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manta_proto.raylet.v1 import raylet_pb2
from ray._runtime.process.driver_logs import DEFAULT_WINDOW_S, Fold, LogPrinter, OutputOptions


def printer_of(own_ip: str, call_later: Callable[[float, Callable[[], None]], object]) -> LogPrinter:
    return LogPrinter(own_ip, call_later, OutputOptions.read(os.environ))  # type: ignore[arg-type]


ONE, TWO, THREE = ("10.0.0.1", 1), ("10.0.0.1", 2), ("10.0.0.2", 1)
WINDOW_S = DEFAULT_WINDOW_S


def test_a_line_is_shown_once_and_counted_for_other_processes() -> None:
    fold = Fold()
    assert fold.take("hello", ONE, "(f pid=1)", 0.0)
    assert not fold.take("hello", TWO, "(f pid=2)", 0.1)
    assert not fold.take("hello", THREE, "(f pid=1, ip=10.0.0.2)", 0.2)
    assert fold.due(WINDOW_S - 0.1) == []
    assert fold.due(WINDOW_S) == [("(f pid=1, ip=10.0.0.2)", "hello", 2, 1)]


def test_lines_that_differ_in_numbers_are_of_one_pattern_and_the_latest_is_shown() -> None:
    fold = Fold()
    assert fold.take("epoch 1 took 0.31s at 0xff", ONE, "a", 0.0)
    assert not fold.take("epoch 2 took 0.32s at 0xfe", TWO, "b", 0.0)
    assert not fold.take("epoch 3  took 0.33s at", THREE, "c", 0.0)
    assert fold.take("step 3 took 0.33s", THREE, "c", 0.0)
    assert fold.due(WINDOW_S) == [("c", "epoch 3  took 0.33s at", 2, 1)]


def test_lines_of_nothing_but_numbers_are_all_shown() -> None:
    fold = Fold()
    assert all(fold.take(line, source, "w", 0.0) for line in ("1", "2 3.5", "0x1f") for source in (ONE, TWO))


def test_a_long_word_costs_no_more_than_its_length() -> None:
    # Quadratic in it, this would take minutes.
    assert Fold().take("x" * 5_000_000 + " 1 " + "1" * 5_000_000, ONE, "w", 0.0)


def test_a_programs_own_repeats_are_shown_until_another_process_joins_in() -> None:
    fold = Fold()
    assert all(fold.take("tick", ONE, "(f pid=1)", at) for at in (0.0, 0.1, 0.2))
    assert not fold.take("tick", TWO, "(f pid=2)", 0.3)
    assert not fold.take("tick", ONE, "(f pid=1)", 0.4)


def test_a_pattern_is_counted_on_while_it_comes_often_and_is_new_again_after_that() -> None:
    fold = Fold()
    fold.take("hello", ONE, "a", 0.0)
    for source in (TWO, THREE):
        fold.take("hello", source, "b", 1.0)
    assert [count for _, _, count, _ in fold.due(WINDOW_S)] == [2]
    assert not fold.take("hello", ONE, "a", WINDOW_S + 1)
    assert [count for _, _, count, _ in fold.due(2 * WINDOW_S)] == [1]
    assert fold.take("hello", ONE, "a", 2 * WINDOW_S)


def test_the_end_says_everything() -> None:
    fold = Fold()
    fold.take("hello", ONE, "a", 0.0)
    fold.take("hello", TWO, "b", 0.0)
    assert fold.due(0.0, everything=True) == [("b", "hello", 1, 2)]
    assert len(fold) == 0


def test_memory_is_bounded_whatever_is_printed() -> None:
    fold = Fold()
    words = ["".join(letters) for letters in itertools.product("abcdefghijklm", repeat=3)]
    for word in words:
        for source in (ONE, TWO, THREE):
            fold.take(f"line {word}", source, "a", 0.0)
    assert len(words) > 2_000
    assert len(fold.due(0.0)) == len(words) - 512
    assert len(fold) <= 512


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([ONE, TWO, THREE]), st.floats(0, 3)), max_size=40))
def test_every_line_is_shown_or_counted(prints: list[tuple[str, tuple[str, int], float]]) -> None:
    fold = Fold()
    at, shown, counted = 0.0, 0, 0
    for line, source, step in prints:
        at += step
        counted += sum(folded.repeats for folded in fold.due(at))
        shown += fold.take(line, source, "w", at)
    counted += sum(folded.repeats for folded in fold.due(at, everything=True))
    assert shown + counted == len(prints)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Prints texts as of pids 1, 2, ..., as many as there are texts, then ends; the lines of stdout and stderr."""

    def lines(*texts: str, terminal: bool = False, is_error: bool = False, **env: str) -> list[str]:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        out, error = (Terminal() if terminal else io.StringIO() for _ in range(2))
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", error)
        printer = printer_of("here", lambda delay, call: None)
        for pid, text in enumerate(texts, 1):
            batch = raylet_pb2.LogLines.Batch(name="f", node_ip="here", pid=pid, lines=[text], is_error=is_error)
            printer.print(raylet_pb2.LogLines(batches=[batch]))
        printer.close()
        assert not (out if is_error else error).getvalue()
        return (error if is_error else out).getvalue().splitlines()

    return lines


def test_a_count_goes_to_the_stream_of_its_lines_with_a_hint_at_first(say: Callable[..., list[str]]) -> None:
    shown = say("at 1", "at 2", "at 3", is_error=True)
    assert shown[0] == "(f pid=1) at 1"
    assert shown[1].startswith("(f pid=3) at 3 [repeated 2x across cluster] (")
    assert "RAY_DEDUP_LOGS=0" in shown[1]
    # One more is no repeat that is worth a count.
    assert say("at 1", "at 2") == ["(f pid=1) at 1", "(f pid=2) at 2"]


def test_the_environment_says_what_is_folded(say: Callable[..., list[str]]) -> None:
    assert len(say("same", "same", "same", RAY_DEDUP_LOGS="0")) == 3
    allow, skip = "RAY_DEDUP_LOGS_ALLOW_REGEX", "RAY_DEDUP_LOGS_SKIP_REGEX"
    assert len(say("same", "same", "same", "bad", RAY_DEDUP_LOGS="1", **{allow: "^sa", skip: "same|bad"})) == 3
    assert say("bad", "good", **{allow: ""}) == ["(f pid=2) good"]
    assert say("good", RAY_DISABLE_WORKER_LOG_PREFIX="1") == ["good"]


@pytest.mark.parametrize(
    ("name", "value"), [("RAY_DEDUP_LOGS_AGG_WINDOW_S", "soon"), ("RAY_DEDUP_LOGS_SKIP_REGEX", "(")]
)
def test_a_variable_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=name):
        printer_of("here", lambda delay, call: None)


def test_the_prefix_has_a_colour_on_a_terminal_and_where_it_is_asked_for(say: Callable[..., list[str]]) -> None:
    assert say("a", terminal=True) == ["\x1b[36m(f pid=1)\x1b[0m a"]
    assert say("a", "b", terminal=False, RAY_COLOR_PREFIX="1") == [
        "\x1b[36m(f pid=1)\x1b[0m a",
        "\x1b[32m(f pid=2)\x1b[0m b",
    ]
    assert say("a", terminal=True, RAY_COLOR_PREFIX="0") == ["(f pid=1) a"]


def test_the_window_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_DEDUP_LOGS_AGG_WINDOW_S", "7")
    delays = []
    printer = printer_of("here", lambda delay, call: delays.append(delay))
    printer.print(raylet_pb2.LogLines(batches=[raylet_pb2.LogLines.Batch(lines=["a"], pid=1)]))
    assert delays == [7]


def notice(key: str, text: str = "Warning: nobody has it") -> raylet_pb2.LogLines:
    batch = raylet_pb2.LogLines.Batch(name="scheduler", node_ip="2.2.2.2", is_error=True, lines=[text], once=key)
    return raylet_pb2.LogLines(batches=[batch])


def test_a_notice_of_the_scheduler_is_shown_once_whoever_sends_it(capsys: pytest.CaptureFixture[str]) -> None:
    printer = printer_of("1.1.1.1", lambda delay, call: None)
    for text in ("of 2 nodes", "of 3 nodes"):
        printer.print(notice("tasks of a shape", text))
    printer.print(notice("another"))
    shown = capsys.readouterr().err.splitlines()
    assert shown == ["(scheduler) of 2 nodes", "(scheduler) Warning: nobody has it"]


def test_notices_of_the_scheduler_can_be_turned_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_SCHEDULER_EVENTS", "0")
    printer_of("1.1.1.1", lambda delay, call: None).print(notice("a key"))
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
    printer = printer_of("here", lambda _delay, call: timers.append(call))
    batches = [raylet_pb2.LogLines.Batch(lines=["é"], pid=pid, node_ip="here", name="f") for pid in (1, 2)]
    printer.print(raylet_pb2.LogLines(batches=batches))
    assert len(timers) == 1
    printer.close()
