"""Who reads: threads that wait, or the stand-in; nobody waits while nobody reads."""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from ray._runtime.loop.latch import Gate
from ray._runtime.loop.reactor import Reactor
from ray._runtime.loop.reading import Reading, start_bare_thread, start_thread
from ray.exceptions import RaySystemError

DEADLINE_S = 10.0


@pytest.fixture
def reactor() -> Reactor:
    made = Reactor()
    made.open()
    return made


@pytest.fixture
def taken_over() -> threading.Event:
    return threading.Event()


@pytest.fixture
def reading(reactor: Reactor, taken_over: threading.Event) -> Iterator[Reading]:
    made = Reading(reactor, taken_over.set)
    yield made
    made.stop()
    reactor.close()


def in_thread(target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def test_a_gate_opens_with_the_last_that_it_needs() -> None:
    gate = Gate(2)
    gate.one_ready()
    assert not gate.opened
    gate.one_ready()
    assert gate.opened
    gate.one_ready()
    gate.open()


def test_a_gate_counts_what_comes_on_many_threads() -> None:
    gate = Gate(4000)
    threads = [in_thread(lambda: [gate.one_ready() for _ in range(1000)]) for _ in range(4)]
    for thread in threads:
        thread.join()
    assert gate.opened


def test_a_waiting_thread_reads_by_itself(reading: Reading, reactor: Reactor) -> None:
    gate = Gate(1)
    reader: list[int] = []
    reactor.call_later(0.01, lambda: (reader.append(threading.get_ident()), gate.open()))
    assert reading.wait(gate, DEADLINE_S)
    assert reader == [threading.get_ident()]


def test_a_gate_opened_by_another_thread_ends_the_readers_wait(reading: Reading) -> None:
    for _ in range(50):
        gate = Gate(1)
        opener = in_thread(gate.open)
        started = time.monotonic()
        assert reading.wait(gate, DEADLINE_S)
        assert time.monotonic() - started < DEADLINE_S / 2
        opener.join()


def test_waiting_ends_in_time_for_the_reader_and_for_those_behind_it(reading: Reading) -> None:
    results: list[bool] = []
    threads = [in_thread(lambda: results.append(reading.wait(Gate(1), 0.05))) for _ in range(3)]
    for thread in threads:
        thread.join(DEADLINE_S)
    assert results == [False, False, False]


def test_the_next_waiter_reads_when_the_reader_leaves(reading: Reading, reactor: Reactor) -> None:
    first, second = Gate(1), Gate(1)
    done = [threading.Event(), threading.Event()]
    in_thread(lambda: (reading.wait(first, DEADLINE_S), done[0].set()))
    in_thread(lambda: (reading.wait(second, DEADLINE_S), done[1].set()))
    reactor.call_later(0.02, first.open)
    reactor.call_later(0.04, second.open)
    assert all(event.wait(DEADLINE_S / 2) for event in done)


def test_the_stand_in_reads_while_nobody_waits(reading: Reading, reactor: Reactor, taken_over: threading.Event) -> None:
    reading.start()
    assert taken_over.wait(DEADLINE_S)
    ran = threading.Event()
    reactor.call_soon(ran.set)
    assert ran.wait(DEADLINE_S)


def test_a_waiting_thread_takes_over_from_the_stand_in(
    reading: Reading, reactor: Reactor, taken_over: threading.Event
) -> None:
    reading.start()
    assert taken_over.wait(DEADLINE_S)
    gate = Gate(1)
    reactor.call_later(0.05, gate.open)
    started = time.monotonic()
    assert reading.wait(gate, DEADLINE_S) and time.monotonic() - started < DEADLINE_S / 2


def test_a_thread_that_cannot_read_has_the_stand_in_do_it_at_once(reading: Reading, reactor: Reactor) -> None:
    reading.start()
    reading.block()
    ran = threading.Event()
    reactor.call_later(0.0, ran.set)
    assert ran.wait(DEADLINE_S)
    reading.unblock()


def test_many_threads_that_wait_in_turn_lose_no_wake_up(reading: Reading, reactor: Reactor) -> None:
    """Each opens its gate through the reactor, so somebody has to read for every one of them."""
    rounds, results = 150, []

    def waits() -> None:
        for _ in range(rounds):
            gate = Gate(1)
            reactor.call_soon(gate.open)
            results.append(reading.wait(gate, DEADLINE_S))

    reading.start()
    threads = [in_thread(waits) for _ in range(4)]
    for thread in threads:
        thread.join(DEADLINE_S * 2)
        assert not thread.is_alive(), "a wake-up was lost"
    assert len(results) == 4 * rounds and all(results)


@pytest.mark.parametrize("start", [start_thread, start_bare_thread])
def test_stopping_ends_the_thread(reactor: Reactor, start: Callable[..., None]) -> None:
    before = set(os.listdir("/proc/self/task")), threading.active_count()
    reading = Reading(reactor, start=start)
    reading.start()
    assert len(set(os.listdir("/proc/self/task")) - before[0]) == 1
    assert threading.active_count() == before[1] + (start is start_thread)
    gate = Gate(1)
    reactor.call_later(0.02, gate.open)
    reading.wait(gate, DEADLINE_S)
    reading.stop()
    assert not reading._ended.locked()
    reactor.close()


def test_a_thread_does_not_wait_for_another_that_was_quicker_to_take_over(reading: Reading, reactor: Reactor) -> None:
    # The stand-in lets go, and before the one that asked it to can take the token a third thread has it.
    with reactor.token:
        reading._standing_in = True
        results: list[bool] = []
        asking = in_thread(lambda: results.append(reading.try_take()))
        while not reading._claim.locked():
            os.sched_yield()
        reading._standing_in = False
        asking.join(DEADLINE_S)
        assert results == [False]


def test_the_stand_in_is_asked_again_when_it_came_back_before_the_one_that_asked(
    reading: Reading, reactor: Reactor
) -> None:
    reactor.token.acquire()
    reading._standing_in = True
    results: list[bool] = []
    asking = in_thread(lambda: results.append(reading.try_take()))
    while not reading._claim.locked():
        os.sched_yield()
    # A reader left after we asked, which the stand-in takes to mean that nobody waits.
    reading._unread_since = time.monotonic()
    deadline = time.monotonic() + DEADLINE_S
    while reading._unread_since:
        assert time.monotonic() < deadline, "it is told again that somebody waits"
        os.sched_yield()
    reading._standing_in = False
    reactor.token.release()
    asking.join(DEADLINE_S)
    assert results == [True]
    reading.leave()


def test_a_wait_ends_in_time_while_the_stand_in_is_held_up(reading: Reading, reactor: Reactor) -> None:
    held_up, go_on = threading.Event(), threading.Event()

    def handler() -> None:
        held_up.set()
        assert go_on.wait(DEADLINE_S)

    reactor.call_soon(handler)
    reading.start()
    assert held_up.wait(DEADLINE_S)
    assert not reading.wait(Gate(1), 0.01)
    opened = Gate(1)
    opener = in_thread(opened.open)
    assert reading.wait(opened, DEADLINE_S)
    opener.join(DEADLINE_S)
    go_on.set()
    ran = threading.Event()
    reactor.call_soon(ran.set)
    assert ran.wait(DEADLINE_S), "the stand-in reads on"


def test_a_handler_that_waits_for_what_nobody_reads_meanwhile_is_refused(reading: Reading, reactor: Reactor) -> None:
    errors: list[Exception] = []
    opened = Gate(1)
    opened.open()
    done = Gate(1)

    def handler() -> None:
        assert reading.wait(opened, DEADLINE_S)
        assert not reading.wait(Gate(1), 0.0)
        try:
            reading.wait(Gate(1), DEADLINE_S)
        except RaySystemError as error:
            errors.append(error)
        done.open()

    reactor.call_soon(handler)
    assert reading.wait(done, DEADLINE_S)
    assert len(errors) == 1


def test_a_wait_that_was_interrupted_leaves_nothing_behind(reading: Reading, reactor: Reactor) -> None:
    class Interrupted(Gate):
        def wait(self, timeout_s: float) -> None:
            raise KeyboardInterrupt

    with reactor.token, pytest.raises(KeyboardInterrupt):
        reading.wait(Interrupted(1), DEADLINE_S)
    assert not reading._waiting


def test_a_callback_that_exits_does_not_take_the_stand_in_along(
    reading: Reading, reactor: Reactor, caplog: pytest.LogCaptureFixture
) -> None:
    reactor.call_soon(sys.exit)
    reading.start()
    ran = threading.Event()
    reactor.call_later(0.01, ran.set)
    assert ran.wait(DEADLINE_S)
    assert "callback_wanted_to_end_the_reader" in caplog.text


def test_a_take_over_that_fails_does_not_keep_the_stand_in_from_reading(reactor: Reactor) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    reading = Reading(reactor, fail)
    ran = threading.Event()
    reactor.call_soon(ran.set)
    reading.start()
    assert ran.wait(DEADLINE_S)
    reading.stop()
    reactor.close()


@pytest.mark.parametrize("start", [start_thread, start_bare_thread])
def test_a_stand_in_that_finds_no_thread_is_started_when_there_is_one(
    reactor: Reactor, taken_over: threading.Event, monkeypatch: pytest.MonkeyPatch, start: Callable[..., None]
) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    reading = Reading(reactor, taken_over.set, start)
    with monkeypatch.context() as patch:
        # The one that threading calls, up to Python 3.12 and since, and the one that is called here.
        patch.setattr(threading, "_start_new_thread", none_left, raising=False)
        patch.setattr(threading, "_start_joinable_thread", none_left, raising=False)
        patch.setattr(_thread, "start_new_thread", none_left)
        with pytest.raises(RuntimeError, match="new thread"):
            reading.start()
    reading.start()
    assert taken_over.wait(DEADLINE_S)
    reading.stop()
    assert not reading._ended.locked()
    reactor.close()


def test_to_stop_one_whose_thread_could_not_be_started_does_not_wait_for_it(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    reading = Reading(reactor, start=start_bare_thread)
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", none_left)
        with pytest.raises(RuntimeError, match="new thread"):
            reading.start()
    stopping = in_thread(reading.stop)
    stopping.join(DEADLINE_S)
    assert not stopping.is_alive()
    reactor.close()


def test_what_a_child_does_that_was_forked_on_the_stand_ins_thread_ends_without_an_error(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[threading.Thread] = []
    errors: list[object] = []
    monkeypatch.setattr(threading, "excepthook", errors.append)

    def forked() -> None:
        ends.append(threading.current_thread())
        reading.drop_in_child()
        in_stand_in.set()

    in_stand_in = threading.Event()
    reading = Reading(reactor, forked)
    reading.start()
    assert in_stand_in.wait(DEADLINE_S)
    ends[0].join(DEADLINE_S)
    assert not ends[0].is_alive() and not errors
    reactor.close()


def test_a_wait_ends_well_though_no_thread_can_stand_in_after_it(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    reading = Reading(reactor, start=start_bare_thread)
    gate = Gate(1)
    reactor.call_soon(gate.open)
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", none_left)
        assert reading.wait(gate, DEADLINE_S)
    assert "stand_in_not_started" in caplog.text
    ran = threading.Event()
    reactor.call_soon(ran.set)
    assert reading.wait(Gate(0), 0) is not None  # the next that leaves starts one
    assert ran.wait(DEADLINE_S)
    reading.stop()
    reactor.close()
