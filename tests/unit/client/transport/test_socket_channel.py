"""A channel on a real socket pair: order, partial sends, several senders, garbage, ends."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manta_common.channel.framing import encode_frame
from ray._runtime.loop.reactor import Reactor
from ray._runtime.transport.socket_channel import SocketChannel

DEADLINE_S = 20.0


class End:
    """One end: a channel and what came over it."""

    def __init__(self, reactor: Reactor, sock: socket.socket) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.reasons: list[str] = []
        self.on_frame: Callable[[int, bytes], None] = lambda kind, payload: self.frames.append((kind, payload))
        self.channel = SocketChannel(
            sock, reactor, lambda kind, payload: self.on_frame(kind, payload), self.reasons.append
        )


class Pair:
    def __init__(self) -> None:
        self.reactor = Reactor()
        self.reactor.open()
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.left, self.right = End(self.reactor, left), End(self.reactor, right)

    def start(self) -> None:
        self.left.channel.start()
        self.right.channel.start()

    def poll_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            self.reactor.poll(1.0)

    def close(self) -> None:
        self.left.channel.close()
        self.right.channel.close()
        self.reactor.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    made.start()
    yield made
    made.close()


def test_frames_arrive_in_order_in_both_directions(pair: Pair) -> None:
    sent = [(number, bytes([number]) * number) for number in range(50)]
    for frame in sent:
        pair.left.channel.send(*frame)
        pair.right.channel.send(*frame)
    pair.poll_until(lambda: len(pair.left.frames) == len(pair.right.frames) == 50)
    assert pair.left.frames == pair.right.frames == sent


def test_queued_frames_leave_with_the_next_flush_only(pair: Pair) -> None:
    pair.left.channel.queue(1, b"a")
    pair.left.channel.queue(2, b"b")
    assert pair.left.channel.unsent()
    pair.reactor.poll(0.0)
    assert not pair.right.frames
    pair.left.channel.flush()
    assert not pair.left.channel.unsent()
    pair.poll_until(lambda: len(pair.right.frames) == 2)


def test_a_frame_larger_than_the_socket_takes_never_waits_and_arrives_whole(pair: Pair) -> None:
    big = bytes(range(256)) * 40_000
    pair.left.channel.send(1, b"before")
    pair.left.channel.send(2, big)
    pair.left.channel.send(3, b"after")
    assert pair.left.channel.unsent()
    pair.poll_until(lambda: len(pair.right.frames) == 3)
    assert [kind for kind, _ in pair.right.frames] == [1, 2, 3]
    assert pair.right.frames[1][1] == big
    assert not pair.left.channel.unsent()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400_000)), max_size=12))
def test_any_mix_of_sizes_and_flushes_arrives_in_order(frames: list[tuple[bool, int]]) -> None:
    pair = Pair()
    pair.start()
    sent = []
    for number, (at_once, size) in enumerate(frames):
        payload = number.to_bytes(4, "little") * (size // 4)
        sent.append((number, payload))
        (pair.left.channel.send if at_once else pair.left.channel.queue)(number, payload)
    pair.left.channel.flush()
    pair.poll_until(lambda: len(pair.right.frames) == len(sent))
    assert pair.right.frames == sent
    pair.close()


def test_several_threads_send_at_once_and_each_keeps_its_order(pair: Pair) -> None:
    each, threads = 400, 4

    def sends(kind: int) -> None:
        for number in range(each):
            payload = number.to_bytes(4, "little") + bytes(number % 7 * 1000)
            if number % 3:
                pair.left.channel.send(kind, payload)
            else:
                pair.left.channel.queue(kind, payload)
                pair.left.channel.flush()

    running = [threading.Thread(target=sends, args=(kind,), daemon=True) for kind in range(threads)]
    for thread in running:
        thread.start()
    pair.poll_until(lambda: len(pair.right.frames) == each * threads)
    for thread in running:
        thread.join()
    for kind in range(threads):
        numbers = [int.from_bytes(payload[:4], "little") for k, payload in pair.right.frames if k == kind]
        assert numbers == list(range(each))
    assert not pair.left.channel.unsent()


def test_what_was_sent_before_start_leaves_after_it() -> None:
    pair = Pair()
    big = bytes(4_000_000)
    pair.left.channel.send(1, big)
    pair.start()
    pair.poll_until(lambda: len(pair.right.frames) == 1)
    assert pair.right.frames == [(1, big)]
    pair.close()


def test_frames_before_the_end_are_taken_and_the_end_is_told_once(pair: Pair) -> None:
    pair.left.channel.send(1, b"last words")
    pair.left.channel.close()
    pair.poll_until(lambda: bool(pair.right.reasons))
    assert pair.right.frames == [(1, b"last words")]
    assert pair.right.reasons == ["the peer closed the connection"]
    pair.right.channel.close()
    assert len(pair.right.reasons) == 1
    assert pair.left.reasons == ["closed here"]


def test_drain_takes_all_that_a_dead_peer_had_sent(pair: Pair) -> None:
    for number in range(3):
        pair.left.channel.send(number, bytes(60_000))
    pair.left.channel.close()
    pair.right.channel.drain()
    assert [kind for kind, _ in pair.right.frames] == [0, 1, 2] and pair.right.channel.closed


def test_garbage_ends_this_channel_only(pair: Pair) -> None:
    other = Pair()
    pair.left.channel.send_raw(encode_frame(7, b"fine") + b"\xff" * 64)
    pair.poll_until(lambda: bool(pair.right.reasons))
    assert pair.right.reasons[0].startswith("protocol error: a frame announces")
    other.start()
    other.left.channel.send(1, b"x")
    other.poll_until(lambda: bool(other.right.frames))
    other.close()


def test_a_frame_that_cannot_be_handled_ends_the_channel_and_says_so(pair: Pair) -> None:
    """Else it would stay open with nobody reading it, and whoever waits for an answer would wait for ever."""

    def raises(kind: int, payload: bytes) -> None:
        raise RuntimeError("a bug")

    pair.right.on_frame = raises
    pair.left.channel.send(1, b"x")
    pair.poll_until(lambda: bool(pair.left.reasons))
    assert pair.right.channel.closed and "RuntimeError('a bug')" in pair.right.reasons[0]


def test_sending_to_a_peer_that_is_gone_raises_nothing(pair: Pair) -> None:
    pair.right.channel.close()
    for _ in range(5):
        pair.left.channel.send(1, bytes(500_000))
    pair.poll_until(lambda: pair.left.channel.closed)
    pair.left.channel.send(1, b"x")
    assert not pair.left.channel.unsent()


def test_closing_while_others_send_raises_in_none_of_them() -> None:
    for _ in range(20):
        pair = Pair()
        pair.start()
        errors: list[BaseException] = []

        def sends(channel: SocketChannel = pair.left.channel, errors: list[BaseException] = errors) -> None:
            try:
                for _ in range(200):
                    channel.send(1, bytes(5000))
            except BaseException as error:
                errors.append(error)

        senders = [threading.Thread(target=sends, daemon=True) for _ in range(2)]
        for sender in senders:
            sender.start()
        pair.reactor.poll(0.001)
        pair.left.channel.close()
        for sender in senders:
            sender.join()
        pair.close()
        assert not errors


def test_a_channel_that_was_closed_before_its_start_is_not_watched(pair: Pair) -> None:
    left, right = socket.socketpair()
    with right:
        end = End(pair.reactor, left)
        end.channel.close("its peer was declared dead on another thread")
        end.channel.start()
        assert end.channel._fd not in pair.reactor._handlers


class Failing:
    """A socket whose sends fail as they do when the kernel has no memory."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, _data: bytes) -> int:
        raise OSError(errno.ENOBUFS, "no buffer space")


def test_a_channel_on_which_sending_fails_is_closed_once_what_came_is_read(pair: Pair) -> None:
    pair.right.channel.send(7, b"said before")
    channel = pair.left.channel
    channel._socket = Failing(channel._socket)  # type: ignore[assignment]
    channel.send(1, b"lost")
    assert not channel.closed
    pair.poll_until(lambda: channel.closed)
    assert pair.left.frames == [(7, b"said before")] and "no buffer space" in pair.left.reasons[0]


def test_a_channel_whose_handler_fails_is_closed_and_not_deaf(pair: Pair) -> None:
    channel = pair.left.channel

    def fail() -> bool:
        raise RuntimeError("a bug")

    channel._receive = fail  # type: ignore[method-assign]
    pair.right.channel.send(1, b"a")
    pair.poll_until(lambda: channel.closed)
    assert len(pair.left.reasons) == 1
