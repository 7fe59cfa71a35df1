"""The caller's and the worker's side of a generator: what is read is what was yielded, and neither waits for ever."""

from __future__ import annotations

import collections
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ray._runtime.execution.generator_flow import GeneratorFlow
from ray._runtime.generators.generator_stream import WINDOW, GeneratorStream, Progress, StreamState


def test_items_are_read_in_the_order_of_their_arrival() -> None:
    stream = GeneratorStream()
    assert stream.next_item() is None
    assert list(stream.take(0, 2)) == [0, 1]
    assert [stream.next_item(), stream.next_item(), stream.next_item()] == [0, 1, None]


def test_an_item_that_comes_again_is_not_new() -> None:
    stream = GeneratorStream()
    stream.take(0, 3)
    assert list(stream.take(0, 2)) == []
    assert list(stream.take(1, 4)) == [3, 4]


def test_a_gap_is_refused() -> None:
    stream = GeneratorStream()
    stream.take(0, 1)
    with pytest.raises(ValueError, match="from 2 on arrived, and 1 is the next"):
        stream.take(2, 1)


def test_the_end_comes_behind_the_last_item() -> None:
    stream = GeneratorStream()
    stream.take(0, 1)
    stream.end()
    assert not stream.at_end
    stream.next_item()
    assert stream.at_end


def test_a_drop_names_what_was_not_read() -> None:
    stream = GeneratorStream()
    stream.take(0, 5)
    stream.next_item()
    assert list(stream.drop()) == [1, 2, 3, 4]
    assert stream.state is StreamState.DROPPED
    stream.end()
    assert stream.state is StreamState.CLOSED


def test_a_stream_that_ended_is_closed_by_its_drop() -> None:
    stream = GeneratorStream()
    stream.take(0, 1)
    stream.end()
    assert list(stream.drop()) == [0]
    assert stream.state is StreamState.CLOSED


def test_a_closed_stream_takes_no_second_drop() -> None:
    stream = GeneratorStream()
    stream.drop()
    stream.end()
    with pytest.raises(RuntimeError, match="report this bug"):
        stream.drop()


def test_a_reader_that_keeps_up_is_not_told_of_before_half_a_window() -> None:
    stream = GeneratorStream()
    stream.take(0, WINDOW // 2 - 1)
    assert stream.due() is None
    stream.take(WINDOW // 2 - 1, 1)
    assert stream.due() == Progress(WINDOW // 2, 0)
    assert stream.due() is None


def test_a_worker_at_its_limit_is_told_of_the_next_read() -> None:
    stream = GeneratorStream(limit=2)
    stream.take(0, 2)
    assert stream.due() is None
    stream.next_item()
    assert stream.due() == Progress(2, 1)


def test_a_worker_below_its_limit_is_told_of_reads_when_it_gets_there() -> None:
    stream = GeneratorStream(limit=2)
    stream.take(0, 1)
    stream.next_item()
    assert stream.due() is None
    stream.take(1, 1)
    assert stream.due() == Progress(2, 1)


def test_a_worker_sends_only_what_the_caller_lacks() -> None:
    flow = GeneratorFlow(arrived=2, limit=0)
    assert [flow.next_item() for _ in range(4)] == [None, None, 2, 3]


def test_a_worker_stops_at_the_limit_and_goes_on_after_a_read() -> None:
    flow = GeneratorFlow(arrived=0, limit=2)
    flow.next_item()
    assert flow.may_go_on()
    flow.next_item()
    assert not flow.may_go_on()
    flow.told(2, 1)
    assert flow.may_go_on()
    flow.told(1, 0)  # late: nothing is taken back
    assert flow.may_go_on()


def test_a_worker_stops_at_the_window_and_goes_on_after_an_arrival() -> None:
    flow = GeneratorFlow(arrived=0, limit=0)
    for _ in range(WINDOW):
        assert flow.may_go_on()
        flow.next_item()
    assert not flow.may_go_on()
    flow.told(1, 0)
    assert flow.may_go_on()


def test_a_dropped_worker_does_not_wait() -> None:
    flow = GeneratorFlow(arrived=0, limit=1)
    flow.next_item()
    assert not flow.may_go_on()
    flow.dropped = True
    assert flow.may_go_on()


class Stream(RuleBasedStateMachine):
    """A caller, and attempts that run one after the other, over a network that is in order but any time late."""

    @initialize(
        length=st.integers(0, 3 * WINDOW),
        limit=st.sampled_from([0, 0, 1, 2, 7]),
        dies=st.booleans(),
        seed=st.integers(),
    )
    def begin(self, length: int, limit: int, dies: bool, seed: int) -> None:
        self.length = length
        self.random = random.Random(seed)
        self.stream = GeneratorStream(limit)
        self.may_die = dies
        self.seen: list[int] = []  # indices that the reader got
        self.freed: set[int] = set()
        self.held: set[int] = set()  # arrived and not read
        self.start(0)

    def start(self, arrived: int) -> None:
        self.flow = GeneratorFlow(arrived, self.stream.limit)
        self.to_caller: collections.deque[int | None] = collections.deque()  # None: the reply
        self.to_worker: collections.deque[Progress | None] = collections.deque()  # None: dropped
        self.replied = False

    def tell(self) -> None:
        progress = self.stream.due()
        if progress is not None:
            self.to_worker.append(progress)

    # -- the worker

    def can_yield(self) -> bool:
        return not self.replied and (self.flow.may_go_on() or self.flow.dropped)

    @precondition(lambda self: self.can_yield())
    @rule(steps=st.integers(1, 40))
    def run(self, steps: int) -> None:
        for _ in range(steps):
            if not self.can_yield():
                return
            if self.flow.dropped or self.flow.made == self.length:
                self.to_caller.append(None)
                self.replied = True
                return
            item = self.flow.next_item()
            if item is not None:
                self.to_caller.append(item)

    @precondition(lambda self: self.may_die and self.stream.state in (StreamState.OPEN, StreamState.DROPPED))
    @rule()
    def die(self) -> None:
        self.may_die = False
        self.deliver(len(self.to_caller))  # what a dead process had sent still counts
        if self.stream.state in (StreamState.OPEN, StreamState.DROPPED):
            self.start(self.stream.attempted())

    @precondition(lambda self: self.to_worker)
    @rule(count=st.integers(1, 5))
    def hear(self, count: int) -> None:
        for _ in range(min(count, len(self.to_worker))):
            message = self.to_worker.popleft()
            if message is None:
                self.flow.dropped = True
            else:
                self.flow.told(*message)

    # -- the caller

    @precondition(lambda self: self.to_caller)
    @rule(count=st.integers(1, 40))
    def deliver(self, count: int) -> None:
        for _ in range(min(count, len(self.to_caller))):
            message = self.to_caller.popleft()
            if message is None:
                self.stream.end()
            elif self.stream.state is StreamState.DROPPED:
                self.freed.add(message)
                self.to_worker.append(None)
            else:
                again = self.random.random() < 0.2 and message > 0
                new = self.stream.take(message - 1, 2) if again else self.stream.take(message, 1)
                assert not self.held & set(new)
                self.held.update(new)
                self.tell()

    @rule(count=st.integers(1, 40))
    def read(self, count: int) -> None:
        if self.stream.state in (StreamState.DROPPED, StreamState.CLOSED):
            return
        for _ in range(count):
            item = self.stream.next_item()
            if item is None:
                assert not self.held
                return
            self.held.remove(item)
            self.seen.append(item)
            self.tell()

    @precondition(lambda self: self.stream.state in (StreamState.OPEN, StreamState.ENDED))
    @rule(really=st.integers(0, 9))
    def drop(self, really: int) -> None:
        if really:
            return
        unread = set(self.stream.drop())
        assert unread == self.held
        self.freed |= unread
        self.held.clear()
        self.to_worker.append(None)

    # -- what must hold

    @invariant()
    def what_is_read_is_what_was_yielded(self) -> None:
        if not hasattr(self, "stream"):
            return
        assert self.seen == list(range(len(self.seen)))
        if self.stream.at_end:
            assert len(self.seen) == self.length
        assert not self.freed & set(self.seen)
        if self.stream.limit and self.may_die:
            assert self.flow.made - len(self.seen) <= self.stream.limit or self.stream.state is not StreamState.OPEN

    def teardown(self) -> None:
        """Left alone, every stream comes to its end: nobody waits for a message that nobody owes."""
        if not hasattr(self, "stream"):
            return
        for _ in range(20 * self.length + 100):
            if self.stream.at_end or self.stream.state is StreamState.CLOSED:
                break
            self.hear(len(self.to_worker))
            if self.can_yield():
                self.run(100)
            self.deliver(len(self.to_caller))
            if self.stream.state is not StreamState.DROPPED:
                self.read(3)
        else:
            raise AssertionError("the stream is stuck")
        assert not self.held
        if self.stream.state is StreamState.ENDED:
            assert self.seen == list(range(self.length))


TestStream = Stream.TestCase
TestStream.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def test_an_attempt_is_asked_for_the_first_item_that_was_lost_and_all_behind_it() -> None:
    stream = GeneratorStream()
    stream.take(0, 5)
    stream.lost(3)
    stream.lost(2)
    assert stream.attempted() == 2
    assert stream.take(2, 4) == range(5, 6)  # the others count as the same items
    assert stream.attempted() == 6


def test_a_run_for_lost_items_begins_at_the_first_of_them() -> None:
    stream = GeneratorStream(first=7)
    assert stream.attempted() == 7
    assert stream.take(7, 2) == range(7, 9)
    with pytest.raises(ValueError, match="10"):
        stream.take(10, 1)
    stream.lost(7)
    assert stream.attempted() == 7


def test_a_worker_that_sends_items_again_is_told_that_it_may_go_on() -> None:
    stream = GeneratorStream()
    stream.take(0, WINDOW)
    stream.lost(0)
    assert stream.attempted() == 0
    progress = stream.due()
    assert progress is not None and progress.arrived == WINDOW
