"""Two sessions over connections that break: everything arrives once and in order, whatever was on the way."""

from __future__ import annotations

import collections

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from ray._runtime.transport.session import ACKNOWLEDGE_BYTES, ACKNOWLEDGE_FRAMES, Arrival, Frame, Session


class Direction:
    """Frames of one connection on their way from one session to the other."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.next_number = 0
        self.on_the_way: collections.deque[Frame] = collections.deque()

    def deliver(self, to: Session, taken: list[Frame]) -> None:
        if not self.next_number:
            to.begin(self.first)
            self.next_number = self.first
        frame = self.on_the_way.popleft()
        if to.arrived(self.next_number, len(frame[1])) is not Arrival.REPEATED:
            taken.append(frame)
        self.next_number += 1


class Side:
    def __init__(self, window_bytes: int) -> None:
        self.session = Session(window_bytes)
        self.queued: list[Frame] = []
        self.taken: list[Frame] = []
        self.sending: Direction | None = None


class BreakingConnections(RuleBasedStateMachine):
    """Both sides queue, send, read and acknowledge in any order; connections break, and old ones are read late."""

    @initialize(window_bytes=st.sampled_from([1, 40, 1 << 20]))
    def begin(self, window_bytes: int) -> None:
        self.sides = (Side(window_bytes), Side(window_bytes))
        # Connections that still hold frames for a side, open ones and broken ones that are not read to their end.
        self.inbound: tuple[list[Direction], list[Direction]] = ([], [])
        self.acknowledgements: tuple[list[int], list[int]] = ([], [])

    def other(self, side: int) -> Side:
        return self.sides[1 - side]

    @rule(side=st.integers(0, 1), size=st.integers(0, 30))
    def queue(self, side: int, size: int) -> None:
        frame = (len(self.sides[side].queued), bytes(size))
        self.sides[side].queued.append(frame)
        self.sides[side].session.waiting.append(frame)

    @rule(side=st.integers(0, 1))
    def connect(self, side: int) -> None:
        """A new connection for what this side says; an earlier one may be unread still."""
        me = self.sides[side]
        me.sending = Direction(me.session.resume(self.other(side).session.received))
        self.inbound[1 - side].append(me.sending)

    @rule(side=st.integers(0, 1), count=st.integers(1, 8))
    def send(self, side: int, count: int) -> None:
        me = self.sides[side]
        if me.sending is not None:
            for _ in range(count):
                if (frame := me.session.take()) is not None:
                    me.sending.on_the_way.append(frame)

    @rule(side=st.integers(0, 1), which=st.integers(0, 3), count=st.integers(1, 8))
    def read(self, side: int, which: int, count: int) -> None:
        connections = [each for each in self.inbound[side] if each.on_the_way]
        if connections:
            connection = connections[which % len(connections)]
            for _ in range(min(count, len(connection.on_the_way))):
                connection.deliver(self.sides[side].session, self.sides[side].taken)

    @rule(side=st.integers(0, 1), which=st.integers(0, 3), left=st.integers(0, 5))
    def lose(self, side: int, which: int, left: int) -> None:
        """A connection breaks: of what is on the way the first `left` frames can still be read."""
        connections = self.inbound[side]
        if not connections:
            return
        connection = connections[which % len(connections)]
        while len(connection.on_the_way) > left:
            connection.on_the_way.pop()
        sender = self.other(side)
        if sender.sending is connection:
            sender.sending = None

    @rule(side=st.integers(0, 1))
    def acknowledge(self, side: int) -> None:
        if self.sides[side].session.owes():
            self.acknowledgements[1 - side].append(self.sides[side].session.tell())

    @rule(side=st.integers(0, 1), lost=st.booleans())
    def take_acknowledgement(self, side: int, lost: bool) -> None:
        if self.acknowledgements[side]:
            number = self.acknowledgements[side].pop(0)
            if not lost:
                self.sides[side].session.on_acknowledged(number)

    @invariant()
    def nothing_is_lost_doubled_or_overtaken(self) -> None:
        if hasattr(self, "sides"):
            for side in (0, 1):
                assert self.sides[side].taken == self.other(side).queued[: len(self.sides[side].taken)]

    def teardown(self) -> None:
        if not hasattr(self, "sides"):
            return
        for side in (0, 1):
            me, peer = self.sides[side], self.other(side)
            self.connect(side)
            for _ in range(len(me.queued) + 1):
                self.send(side, len(me.queued) + 1)
                for connection in self.inbound[1 - side]:
                    while connection.on_the_way:
                        connection.deliver(peer.session, peer.taken)
                me.session.on_acknowledged(peer.session.tell())
            assert peer.taken == me.queued
            assert not me.session.unsettled()


TestBreakingConnections = BreakingConnections.TestCase
TestBreakingConnections.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def taken(session: Session) -> list[Frame]:
    frames = []
    while (frame := session.take()) is not None:
        frames.append(frame)
    return frames


def sent(session: Session, count: int, size: int = 1) -> list[Frame]:
    """Frames that were queued and taken."""
    session.waiting.extend((number, bytes(size)) for number in range(count))
    return [frame for _ in range(count) if (frame := session.take()) is not None]


@given(count=st.integers(0, 20), received=st.integers(0, 20))
def test_a_new_connection_goes_on_after_what_arrived(count: int, received: int) -> None:
    session = Session()
    frames = sent(session, count)
    received = min(received, count)
    assert session.resume(received) == received + 1
    assert taken(session) == frames[received:]


def test_what_was_not_sent_yet_comes_after_what_is_sent_again() -> None:
    session = Session()
    frames = sent(session, 3)
    session.waiting.append((9, b"later"))
    assert session.resume(1) == 2
    assert taken(session) == [*frames[1:], (9, b"later")]


def test_frames_that_are_sent_again_may_be_acknowledged_over_the_old_connection() -> None:
    session = Session()
    frames = sent(session, 3)
    session.resume(0)
    session.on_acknowledged(2)
    assert taken(session) == frames, "the connection counts from 1"
    assert session.unsettled()
    session.on_acknowledged(3)
    assert not session.unsettled() and session.resume(3) == 4


def test_a_frame_that_comes_over_two_connections_is_taken_once() -> None:
    session = Session()
    assert session.arrived(1, 10) is Arrival.NEW
    session.begin(1)
    assert session.arrived(1, 10) is Arrival.REPEATED
    assert session.arrived(2, 10) is Arrival.NEW


def test_frames_and_bytes_are_acknowledged_when_enough_came() -> None:
    session = Session()
    arrivals = [session.arrived(number, 1) for number in range(1, ACKNOWLEDGE_FRAMES + 1)]
    assert set(arrivals[:-1]) == {Arrival.NEW} and arrivals[-1] is Arrival.NEW_AND_DUE
    assert session.owes() and session.tell() == ACKNOWLEDGE_FRAMES and not session.owes()
    assert session.arrived(ACKNOWLEDGE_FRAMES + 1, ACKNOWLEDGE_BYTES) is Arrival.NEW_AND_DUE


def test_a_full_window_holds_frames_back_until_the_peer_acknowledges() -> None:
    session = Session(window_bytes=100)
    assert len(sent(session, 5, size=50)) == 2
    assert session.stalled and len(session.waiting) == 3
    assert session.take() is None
    assert not session.on_acknowledged(0)
    assert session.on_acknowledged(1), "a sender that was stalled may go on"
    assert session.take() is not None


def test_a_frame_larger_than_the_window_goes_alone() -> None:
    session = Session(window_bytes=100)
    assert len(sent(session, 2, size=1000)) == 1
    session.on_acknowledged(1)
    assert session.take() is not None


def test_a_window_that_a_broken_connection_filled_does_not_hold_back_what_it_took() -> None:
    session = Session(window_bytes=100)
    frames = sent(session, 3, size=60)
    session.resume(0)
    assert taken(session) == frames and session.stalled
    session.on_acknowledged(2)
    assert session.sendable() and session.take() is not None


def test_acknowledging_what_was_never_sent_is_an_error_that_names_both_numbers() -> None:
    session = Session()
    sent(session, 2)
    with pytest.raises(ValueError, match="frame 3 was acknowledged, and 2 were sent"):
        session.on_acknowledged(3)


def test_a_connection_that_leaves_frames_out_is_an_error() -> None:
    session = Session()
    session.arrived(1, 1)
    with pytest.raises(ValueError, match="begins with frame 3, and 1 is the last received"):
        session.begin(3)


def test_a_peer_without_sessions_is_sent_to_and_nothing_is_kept() -> None:
    session = Session()
    frames = sent(session, 2)
    assert session.resume(None) == 1
    assert not session.unsettled(), "what went to it is gone, as before sessions"
    assert sent(session, 1) and not session.unsettled()
    assert len(frames) == 2


def test_a_session_that_the_peer_remembers_and_we_do_not_goes_on_with_its_numbers() -> None:
    """Each side may have declared the other dead, and have forgotten what it said."""
    sender, receiver = Session(), Session()
    sender.waiting.append((1, b"x"))
    assert sender.resume(57) == 58
    assert sender.take() == (1, b"x")
    receiver.begin(58)
    assert receiver.arrived(58, 1) is Arrival.NEW and receiver.received == 58


def test_a_dead_peer_is_owed_nothing() -> None:
    session = Session()
    sent(session, 2)
    session.waiting.append((1, b""))
    session.clear()
    assert not session.unsettled() and session.take() is None
