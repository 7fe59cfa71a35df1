"""Copies into the arena: whole, by however many threads, and over when they say so."""

from __future__ import annotations

import _thread
import os
import random
import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from ray._runtime.arena import parallel_copy
from ray._runtime.arena.buffer_address import address_of
from ray._runtime.arena.copying import copy_into

from tests.integration.conditions import wait_for

MIB = 1 << 20
SIZES = [0, 1, 1000, MIB, MIB + 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 9 * MIB + 63]


def random_bytes(size: int) -> Any:
    return np.random.default_rng(size).integers(0, 256, size, dtype="u1")


def expect_copied(source: Any, size: int) -> None:
    target = np.zeros(size + 2, dtype="u1")
    copy_into(memoryview(target)[1 : size + 1], source)
    assert target[0] == 0 and target[-1] == 0, "nothing beside the range is written to"
    assert target[1:-1].tobytes() == memoryview(source).tobytes()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("processors", [1, 2, 16])
def test_every_byte_is_copied(monkeypatch: pytest.MonkeyPatch, size: int, processors: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    expect_copied(random_bytes(size).tobytes(), size)


@pytest.mark.parametrize("size", [800, 2 * MIB, 16 * MIB])
def test_any_contiguous_buffer_is_a_source(size: int) -> None:
    numbers = random_bytes(size).view("f8")
    expect_copied(memoryview(numbers), size)
    expect_copied(memoryview(numbers.reshape(10 if size == 800 else 16, -1)), size)


@pytest.mark.parametrize("size", [100, 2 * MIB])
def test_sizes_that_differ_and_ranges_that_are_read_only_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes do not fill a range of {size + 1}"):
        copy_into(memoryview(bytearray(size + 1)), bytes(size))
    with pytest.raises(TypeError, match="read-only"):
        copy_into(memoryview(bytes(size)), bytes(size))


@pytest.fixture
def no_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not copied before, on two processors."""
    monkeypatch.setattr(parallel_copy, "_waiting", [])
    monkeypatch.setattr(parallel_copy, "_helpers", set())
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.mark.usefixtures("no_helpers")
def test_where_no_thread_is_to_be_had_the_copy_is_made_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    expect_copied(random_bytes(9 * MIB), 9 * MIB)
    assert parallel_copy._helpers == set()


@pytest.mark.usefixtures("no_helpers")
def test_a_helper_takes_the_next_copy_too_and_ends_when_none_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_copy, "_IDLE_S", 60.0)
    for _ in range(10):
        expect_copied(random_bytes(9 * MIB), 9 * MIB)
    assert len(parallel_copy._helpers) == 1
    monkeypatch.setattr(parallel_copy, "_IDLE_S", 0.0)
    expect_copied(random_bytes(9 * MIB), 9 * MIB)
    wait_for(lambda: not parallel_copy._helpers and not parallel_copy._waiting, "the helper ends")
    expect_copied(random_bytes(9 * MIB), 9 * MIB)


@pytest.mark.usefixtures("no_helpers")
def test_threads_that_copy_at_once_share_the_helpers() -> None:
    failed: list[BaseException] = []

    def copy() -> None:
        try:
            for _ in range(20):
                expect_copied(random_bytes(9 * MIB), 9 * MIB)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=copy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed and not any(thread.is_alive() for thread in threads)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # that it has threads is the point
@pytest.mark.usefixtures("no_helpers")
def test_a_forked_child_does_not_wait_for_the_helpers_of_its_parent() -> None:
    expect_copied(random_bytes(9 * MIB), 9 * MIB)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            expect_copied(random_bytes(9 * MIB), 9 * MIB)
            status = 0 if len(parallel_copy._helpers) == 1 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.usefixtures("no_helpers")
def test_a_share_that_nobody_takes_is_over() -> None:
    share = parallel_copy.Share(iter([(0, 0, 1)]))
    share.offer(0)
    share.end()
    assert share._owner == {"is": "nobody"}


def test_a_share_that_has_not_begun_is_taken_back() -> None:
    blocks = iter([(0, 0, 1)])
    share = parallel_copy.Share(blocks)
    share.end()
    share.run()
    assert list(blocks) == [(0, 0, 1)]


class Held(Iterator[parallel_copy.Block]):
    """Blocks that never come until they are let go."""

    def __init__(self) -> None:
        self.asked, self.let_go = threading.Event(), threading.Event()

    def __next__(self) -> parallel_copy.Block:
        self.asked.set()
        assert self.let_go.wait(20)
        raise StopIteration


class Waited:
    """A lock that lets the blocks go when it is waited for; if `interrupted`, a signal's handler raises before that."""

    def __init__(self, lock: Any, held: Held, *, interrupted: bool) -> None:
        self._lock, self._held, self._interrupted = lock, held, interrupted
        self.release = lock.release

    def acquire(self) -> None:
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt
        assert not self._held.let_go.is_set()
        self._held.let_go.set()
        self._lock.acquire()


@pytest.mark.usefixtures("no_helpers")
@pytest.mark.parametrize("where", ["copying", "waiting", "copying and waiting"])
def test_an_interrupt_comes_out_when_the_helper_writes_no_more(where: str) -> None:
    held = Held()
    share = parallel_copy.Share(held)
    share._done = Waited(share._done, held, interrupted="waiting" in where)  # type: ignore[assignment]

    def own_blocks() -> Iterator[parallel_copy.Block]:
        assert held.asked.wait(20), "the helper has begun"
        if "copying" in where:
            raise KeyboardInterrupt
        yield from ()

    with pytest.raises(KeyboardInterrupt):
        parallel_copy.copy_together(own_blocks(), [share])
    assert share._ended and held.let_go.is_set()


class Alarm(Exception):
    pass


def test_wherever_a_copy_is_interrupted_no_helper_is_left_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    shares: list[parallel_copy.Share] = []  # those that a helper may have; one that was never offered has nobody

    class Recorded(parallel_copy.Share):
        def offer(self, most: int) -> None:
            shares.append(self)
            super().offer(most)

    armed = False

    def ring(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise Alarm

    monkeypatch.setattr(parallel_copy, "Share", Recorded)
    source, target = memoryview(random_bytes(9 * MIB)), memoryview(bytearray(9 * MIB))
    delays = random.Random(1)
    main, go, over = threading.get_ident(), threading.Semaphore(0), threading.Event()

    def ring_after_a_while() -> None:
        while go.acquire(timeout=20) and not over.is_set():
            over.wait(delays.uniform(0, 2e-3))
            signal.pthread_kill(main, signal.SIGUSR2)

    former = signal.signal(signal.SIGUSR2, ring)
    thread = threading.Thread(target=ring_after_a_while)
    thread.start()
    rung = 0
    try:
        for _ in range(300):
            go.release()
            try:
                armed = True
                copy_into(target, source)
                armed = False
            except Alarm:
                rung += 1
            assert all(share._ended or share._owner == {"is": "nobody"} for share in shares)
            shares.clear()
    finally:
        armed = False
        over.set()
        go.release()
        thread.join(20)
        signal.signal(signal.SIGUSR2, former)
    assert rung > 0


def test_the_address_of_a_buffer_is_told_also_of_a_read_only_one() -> None:
    array = np.arange(10)
    start = array.__array_interface__["data"][0]
    assert address_of(memoryview(array)) == start
    assert address_of(memoryview(array).toreadonly()[8:]) == start + 8 * 8
    with pytest.raises(BufferError):
        address_of(memoryview(array)[::2])
    with pytest.raises(TypeError):
        address_of(3)
