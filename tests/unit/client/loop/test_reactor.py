"""The one epoll of a process, on real descriptors."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from ray._runtime.loop.reactor import READ_WRITE, Reactor

DEADLINE_S = 10.0


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    made.open()
    yield made
    made.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def poll_until(reactor: Reactor, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        reactor.poll(1.0)


def test_a_readable_descriptor_is_handled_until_it_is_removed(reactor: Reactor, pipe: tuple[int, int]) -> None:
    got: list[bytes] = []
    reactor.add(pipe[0], lambda events: got.append(os.read(pipe[0], 10)))
    os.write(pipe[1], b"a")
    reactor.poll(DEADLINE_S)
    assert got == [b"a"]
    reactor.remove(pipe[0])
    os.write(pipe[1], b"b")
    reactor.poll(0.0)
    assert got == [b"a"]


def test_writability_is_told_when_it_was_asked_for(reactor: Reactor) -> None:
    left, right = socket.socketpair()
    with left, right:
        seen: list[int] = []
        reactor.add(left.fileno(), seen.append)
        reactor.poll(0.0)
        assert not seen
        reactor.modify(left.fileno(), READ_WRITE)
        reactor.poll(DEADLINE_S)
        assert len(seen) == 1
        reactor.remove(left.fileno())


def test_changes_to_a_descriptor_that_is_not_here_are_ignored(reactor: Reactor, pipe: tuple[int, int]) -> None:
    reactor.modify(pipe[0], READ_WRITE)
    reactor.remove(pipe[0])


def test_a_handler_that_raises_loses_its_descriptor_and_stops_nobody(reactor: Reactor, pipe: tuple[int, int]) -> None:
    def raises(_events: int) -> None:
        raise RuntimeError("a bug")

    done: list[int] = []
    reactor.add(pipe[0], raises)
    os.write(pipe[1], b"a")
    reactor.call_soon(lambda: done.append(1))
    poll_until(reactor, lambda: bool(done))
    reactor.poll(0.0)


def test_timers_run_in_the_order_of_their_times(reactor: Reactor) -> None:
    ran: list[str] = []
    reactor.call_later(0.02, lambda: ran.append("later"))
    reactor.call_later(0.001, lambda: ran.append("soon"))
    poll_until(reactor, lambda: len(ran) == 2)
    assert ran == ["soon", "later"]


def test_a_call_that_raises_keeps_no_other_from_running(reactor: Reactor) -> None:
    def raises() -> None:
        raise RuntimeError("a bug")

    ran: list[str] = []
    reactor.call_soon(raises)
    reactor.call_soon(lambda: ran.append("soon"))
    reactor.call_later(0.0, raises)
    reactor.call_later(0.0, lambda: ran.append("timer"))
    poll_until(reactor, lambda: len(ran) == 2)


def in_thread(target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def run_until(reactor: Reactor, stop: threading.Event) -> Callable[[], None]:
    def run() -> None:
        with reactor.token:
            while not stop.is_set():
                reactor.poll()

    return run


def test_calls_from_other_threads_end_a_wait_without_end(reactor: Reactor) -> None:
    stop, times = threading.Event(), 300
    reader = in_thread(run_until(reactor, stop))
    for number in range(times):
        done = threading.Event()
        if number % 2:
            reactor.call_soon(done.set)
        else:
            reactor.call_later(0.0, done.set)
        assert done.wait(DEADLINE_S), f"wake-up {number} was lost"
    stop.set()
    reactor.wake()
    reader.join(DEADLINE_S)
    assert not reader.is_alive()


def test_no_call_of_many_threads_is_lost(reactor: Reactor) -> None:
    stop, each = threading.Event(), 2000
    ran: list[int] = []
    reader = in_thread(run_until(reactor, stop))
    senders = [in_thread(lambda: [reactor.call_soon(lambda: ran.append(1)) for _ in range(each)]) for _ in range(3)]
    for sender in senders:
        sender.join()
    last = threading.Event()
    reactor.call_later(0.01, last.set)
    assert last.wait(DEADLINE_S)
    stop.set()
    reactor.wake()
    reader.join(DEADLINE_S)
    assert len(ran) == 3 * each


def test_a_timer_set_while_the_only_earlier_one_runs_is_not_forgotten(reactor: Reactor) -> None:
    ran: list[str] = []
    reactor.call_later(0.0, lambda: reactor.call_later(0.01, lambda: ran.append("second")))
    deadline = time.monotonic() + DEADLINE_S
    while not ran and time.monotonic() < deadline:
        reactor.poll()
    assert ran == ["second"]


def test_an_interrupt_waits_for_the_end_of_the_round(reactor: Reactor, pipe: tuple[int, int]) -> None:
    order: list[str] = []

    def handler(_events: int) -> None:
        os.read(pipe[0], 10)
        assert reactor.defer_interrupt(lambda: order.append("interrupt"))
        order.append("handled")

    reactor.add(pipe[0], handler)
    os.write(pipe[1], b"a")
    assert not reactor.defer_interrupt(lambda: order.append("never"))
    reactor.poll(DEADLINE_S)
    assert order == ["handled", "interrupt"]


def test_a_wake_after_the_end_does_not_reach_who_has_the_descriptor_now() -> None:
    reactor = Reactor()
    reactor.open()
    assert reactor._wake is not None
    number = reactor._wake.fd
    reactor.close()
    others = [os.eventfd(0, os.EFD_NONBLOCK)]
    while others[-1] != number:  # the lowest that is free comes first
        others.append(os.eventfd(0, os.EFD_NONBLOCK))
    try:
        reactor.call_soon(lambda: None)
        reactor.wake()
        with pytest.raises(BlockingIOError):
            os.eventfd_read(number)
    finally:
        for other in others:
            os.close(other)


def test_a_wake_that_is_under_way_at_the_end_keeps_the_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    reactor = Reactor()
    reactor.open()
    written: list[int] = []

    def write(fd: int, value: int) -> None:
        reactor.close()  # on another thread, between the look at the descriptor and the write
        original(fd, value)
        written.append(fd)

    original = os.eventfd_write
    monkeypatch.setattr(os, "eventfd_write", write)
    reactor.wake()
    assert written
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(written[0])


def test_an_interrupt_is_not_kept_for_another_thread_that_handles(reactor: Reactor) -> None:
    handles, go_on = threading.Event(), threading.Event()

    def handler() -> None:
        handles.set()
        assert go_on.wait(DEADLINE_S)

    reactor.call_soon(handler)
    other = threading.Thread(target=lambda: reactor.poll(0.0))
    other.start()
    assert handles.wait(DEADLINE_S)
    # Ctrl-C comes to the main thread, which is in the user's code.
    assert not reactor.defer_interrupt(lambda: None)
    go_on.set()
    other.join(DEADLINE_S)
    assert reactor._interrupt is None


def test_a_handler_that_fails_drops_its_own_descriptor_only(reactor: Reactor) -> None:
    left, right = socket.socketpair()
    seen: list[int] = []

    def handler(_events: int) -> None:
        # It ends its channel, and another thread gets the descriptor's number and watches it.
        reactor.remove(left.fileno())
        reactor.add(left.fileno(), seen.append)
        raise ValueError("a bug")

    with left, right:
        reactor.add(left.fileno(), handler)
        right.send(b"a")
        reactor.poll(DEADLINE_S)
        reactor.poll(DEADLINE_S)
        assert seen
        reactor.remove(left.fileno())
