"""Tables of peers on real sockets: connections that break, nonsense, older peers, and an exit that waits."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from manta_common.channel.framing import FrameDecoder, encode_frame
from manta_common.channel.hello import hello_bytes
from manta_common.credentials import Token
from manta_common.version import PROTOCOL
from manta_proto.common.v1 import common_pb2
from manta_proto.worker.v1 import worker_pb2
from ray._runtime.loop.latch import Gate
from ray._runtime.loop.reactor import Reactor
from ray._runtime.transport import session
from ray._runtime.transport.carrier import Identity, Peer, socket_path
from ray._runtime.transport.peers import PeerTable

DEADLINE_S = 20.0
NODE = b"N" * 28
TOKEN = Token(b"t" * 32)


class StandIn:
    """What a table of peers needs of its process; keeps what arrives."""

    def __init__(self, reactor: Reactor, folder: Path, letter: bytes) -> None:
        self.lock = threading.Lock()
        self.reactor = reactor
        self.socket_dir = str(folder)
        self.node_id = NODE
        self.worker_id = letter * 28
        self.identity = Identity(common_pb2.WORKER, NODE, self.worker_id, b"J" * 4, TOKEN, "stand-in")
        self.closing = False
        self.holds = self.refs = self.losses = self
        self.reconnects: list[bytes] = []
        self.forgotten: list[bytes] = []
        self.frames: list[tuple[int, bytes]] = []
        self.on_frame: Callable[[Peer, int, bytes], None] = lambda peer, kind, payload: None
        self.peers = PeerTable(self, self._take)  # type: ignore[arg-type]
        self.peers.listen()

    def _take(self, peer: Peer, kind: int, payload: bytes) -> None:
        self.frames.append((kind, payload))
        self.on_frame(peer, kind, payload)

    def watch(self, peer: Peer) -> None: ...

    def peer_lost(self, peer: Peer) -> None: ...

    def peer_forgot(self, peer: Peer) -> None:
        self.forgotten.append(peer.worker_id)

    def reconnected(self, worker_id: bytes) -> tuple[()]:
        self.reconnects.append(worker_id)
        return ()

    def apply(self, _commands: Any) -> None: ...

    def peer(self, other: StandIn) -> Peer:
        return self.peers.get(other.worker_id, NODE)

    def cut(self) -> None:
        """Break all connections under both ends."""
        for peer in list(self.peers._peers.values()):
            for carrier in list(peer.carriers):
                with contextlib.suppress(OSError):
                    carrier._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]

    def close(self) -> None:
        self.closing = True
        self.peers.close()


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    made.open()
    yield made
    made.close()


@pytest.fixture
def pair(reactor: Reactor, tmp_path: Path) -> Iterator[tuple[StandIn, StandIn]]:
    left, right = StandIn(reactor, tmp_path, b"\x01"), StandIn(reactor, tmp_path, b"\x02")
    yield left, right
    left.close()
    right.close()


def poll_until(reactor: Reactor, condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        reactor.poll(1.0)


class OldPeer:
    """A peer that speaks the frames but knows no sessions."""

    def __init__(self, stand_in: StandIn, letter: bytes) -> None:
        self.worker_id = letter * 28
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(socket_path(stand_in.socket_dir, stand_in.worker_id))
        hello = common_pb2.Hello(role=common_pb2.WORKER, node_id=NODE, worker_id=self.worker_id)
        self.socket.sendall(hello_bytes(TOKEN, PROTOCOL, hello.SerializeToString()))
        self.socket.setblocking(False)
        self._decoder = FrameDecoder()
        self.frames: list[tuple[int, bytes]] = []

    def receive(self) -> list[tuple[int, bytes]]:
        with contextlib.suppress(BlockingIOError):
            self.frames += self._decoder.feed(self.socket.recv(1 << 20))
        return self.frames


def test_a_peer_that_cannot_reach_us_answers_over_the_connection_that_we_make_again(
    pair: tuple[StandIn, StandIn], reactor: Reactor
) -> None:
    left, right = pair
    left.peer(right).send(worker_pb2.TASKS, b"question")
    poll_until(reactor, lambda: right.frames, "the question arrived")
    poll_until(reactor, lambda: not left.peer(right).session.unsettled(), "nothing is left to send")
    os.unlink(socket_path(left.socket_dir, left.worker_id))
    left.cut()
    right.peer(left).send(worker_pb2.REPLIES, b"answer")
    poll_until(reactor, lambda: left.frames == [(worker_pb2.REPLIES, b"answer")], "the answer arrived")


def test_frames_arrive_once_and_in_order_over_connections_that_break(
    pair: tuple[StandIn, StandIn], reactor: Reactor
) -> None:
    left, right = pair
    count = 400
    for number in range(count):
        for me, other in (pair, (right, left)):
            me.peer(other).send(worker_pb2.TASKS, number.to_bytes(4, "little") + bytes(number % 7 * 3000))
        if number % 17 == 3:
            (left if number % 2 else right).cut()
        if number % 5 == 0:
            reactor.poll(0.0)
    poll_until(reactor, lambda: len(left.frames) >= count <= len(right.frames), "everything arrived")
    for side in pair:
        assert [int.from_bytes(payload[:4], "little") for _, payload in side.frames] == list(range(count))
    assert left.peer(right).connections > 5


def test_a_peer_that_is_quiet_is_acknowledged_after_a_moment(pair: tuple[StandIn, StandIn], reactor: Reactor) -> None:
    left, right = pair
    left.peer(right).send(worker_pb2.TASKS, b"x")
    poll_until(reactor, lambda: not left.peer(right).session.unsettled(), "it was acknowledged")
    left.cut()
    right.peer(left).send(worker_pb2.REPLIES, b"y")
    poll_until(reactor, lambda: left.frames == [(worker_pb2.REPLIES, b"y")], "the other side connects too")
    assert right.frames == [(worker_pb2.TASKS, b"x")]


def test_both_may_connect_at_once(pair: tuple[StandIn, StandIn], reactor: Reactor) -> None:
    left, right = pair
    for number in range(5):
        left.peer(right).send(worker_pb2.TASKS, bytes([number]))
        right.peer(left).send(worker_pb2.REPLIES, bytes([number]))
    poll_until(reactor, lambda: len(left.frames) == len(right.frames) == 5, "all arrived")
    left.cut()
    left.peer(right).send(worker_pb2.TASKS, b"\5")
    right.peer(left).send(worker_pb2.REPLIES, b"\5")
    poll_until(reactor, lambda: len(left.frames) == len(right.frames) == 6, "all arrived")
    assert [payload[0] for _, payload in left.frames] == [payload[0] for _, payload in right.frames] == list(range(6))


def test_a_peer_that_cannot_be_reached_is_answered_on_the_connection_that_it_makes(
    pair: tuple[StandIn, StandIn], reactor: Reactor
) -> None:
    left, right = pair
    left.peer(right).send(worker_pb2.TASKS, b"x")
    poll_until(reactor, lambda: right.frames, "it arrived")
    os.rename(socket_path(left.socket_dir, left.worker_id), left.socket_dir + "/hidden")
    try:
        left.cut()
        right.peer(left).send(worker_pb2.REPLIES, b"y")
        poll_until(reactor, lambda: right.peer(left).connecting, "it tries, in vain")
        left.peer(right).send(worker_pb2.TASKS, b"z")
        poll_until(reactor, lambda: left.frames and len(right.frames) == 2, "the reply came on our connection")
    finally:
        os.rename(left.socket_dir + "/hidden", socket_path(left.socket_dir, left.worker_id))
    assert left.frames == [(worker_pb2.REPLIES, b"y")]


def test_a_frame_that_cannot_be_handled_is_not_sent_again_and_goes_back(
    pair: tuple[StandIn, StandIn], reactor: Reactor, caplog: pytest.LogCaptureFixture
) -> None:
    left, right = pair

    def fail(_peer: Peer, _kind: int, payload: bytes) -> None:
        if payload == b"bad":
            raise RuntimeError("a bug")

    right.on_frame = fail
    for payload in (b"before", b"bad", b"after"):
        left.peer(right).send(worker_pb2.TASKS, payload)
    poll_until(reactor, lambda: left.frames and len(right.frames) == 3, "it came back")
    kind, payload = left.frames[0]
    returned = worker_pb2.FrameReturned.FromString(payload)
    assert kind == worker_pb2.FRAME_RETURNED and len(left.frames) == 1
    assert (returned.kind, returned.payload) == (worker_pb2.TASKS, b"bad") and "a bug" in returned.reason
    assert "frame_failed" in caplog.text
    assert left.peer(right).connections == 1, "a bug of one frame is no reason to end the connection"


def test_nonsense_ends_the_connection_and_is_skipped_on_the_next(
    pair: tuple[StandIn, StandIn], reactor: Reactor, caplog: pytest.LogCaptureFixture
) -> None:
    left, right = pair

    def parse(_peer: Peer, _kind: int, payload: bytes) -> None:
        worker_pb2.Replies.FromString(payload)

    right.on_frame = parse
    good = worker_pb2.Replies(replies=[worker_pb2.TaskReply(task_id=b"t")]).SerializeToString()
    for payload in (good, b"\xff\xff", good):
        left.peer(right).send(worker_pb2.REPLIES, payload)
    poll_until(reactor, lambda: len(right.frames) == 3 and left.frames, "what came behind it arrived")
    assert [payload for _, payload in right.frames] == [good, b"\xff\xff", good]
    assert left.frames[0][0] == worker_pb2.FRAME_RETURNED
    assert "peer_spoke_nonsense" in caplog.text


def test_bytes_that_are_no_frames_end_that_connection_only(pair: tuple[StandIn, StandIn], reactor: Reactor) -> None:
    left, right = pair
    left.peer(right).send(worker_pb2.TASKS, b"one")
    poll_until(reactor, lambda: right.frames, "it arrived")
    left.peer(right).channel.send_raw(b"\xff" * 64)  # type: ignore[union-attr]
    left.peer(right).send(worker_pb2.TASKS, b"two")
    poll_until(reactor, lambda: len(right.frames) == 2, "the next connection carries on")


def test_a_peer_without_sessions_works_as_before_them(pair: tuple[StandIn, StandIn], reactor: Reactor) -> None:
    left, _ = pair
    old = OldPeer(left, b"\x03")
    old.socket.sendall(encode_frame(worker_pb2.TASKS, b"x"))
    poll_until(reactor, lambda: left.frames, "it was taken")
    peer = left.peers.get(old.worker_id)
    for _ in range(session.ACKNOWLEDGE_FRAMES + 1):
        old.socket.sendall(encode_frame(worker_pb2.TASKS, b"x"))
    peer.send(worker_pb2.REPLIES, b"y")
    poll_until(reactor, lambda: len(left.frames) > session.ACKNOWLEDGE_FRAMES, "all were taken")
    reactor.poll(0.3)
    kinds = [kind for kind, _ in old.receive()]
    assert kinds == [worker_pb2.WELCOME, worker_pb2.REPLIES], "nothing that it would not know"
    assert not peer.session.unsettled()
    old.socket.close()
    poll_until(reactor, lambda: peer.channel is None, "its end is seen")
    peer.queue(worker_pb2.REPLIES, b"for the next connection")
    again = OldPeer(left, b"\x03")
    poll_until(reactor, lambda: len(again.receive()) == 2, "what was queued leaves on the next")
    assert [kind for kind, _ in again.frames] == [worker_pb2.WELCOME, worker_pb2.REPLIES]
    assert left.reconnects == [old.worker_id], "it is told the full set of holds"
    again.socket.close()


def test_a_gap_between_connections_ends_the_connection(
    pair: tuple[StandIn, StandIn], reactor: Reactor, caplog: pytest.LogCaptureFixture
) -> None:
    left, right = pair
    left.peer(right).send(worker_pb2.TASKS, b"x")
    poll_until(reactor, lambda: right.frames, "it arrived")
    connections = left.peer(right).connections
    channel = left.peer(right).channel
    assert channel is not None
    channel.send(worker_pb2.RESUMED, worker_pb2.Resumed(next=9).SerializeToString())
    left.peer(right).send(worker_pb2.TASKS, b"y")
    poll_until(reactor, lambda: len(right.frames) == 2, "the next connection has it")
    assert left.peer(right).connections > connections and "begins with frame 9" in caplog.text


def test_a_peer_that_falls_behind_is_named_and_gets_the_rest_when_it_reads(
    pair: tuple[StandIn, StandIn], reactor: Reactor, caplog: pytest.LogCaptureFixture
) -> None:
    left, right = pair
    peer = left.peer(right)
    peer.session._window_bytes = 300_000
    peer.send(worker_pb2.TASKS, b"x")
    poll_until(reactor, lambda: right.frames, "they are connected")
    right.peers._acknowledge = lambda peer: None  # type: ignore[method-assign]
    for _ in range(10):
        peer.send(worker_pb2.TASKS, bytes(100_000))
    poll_until(reactor, lambda: peer.session.stalled, "the window is full")
    peer.send(worker_pb2.TASKS, b"last")
    assert caplog.text.count("peer_behind") == 1
    assert len(peer.session.waiting) >= 6
    del right.peers._acknowledge
    right.peers._acknowledge(right.peer(left))
    poll_until(reactor, lambda: len(right.frames) == 12, "the rest leaves as it is acknowledged")
    assert right.frames[-1] == (worker_pb2.TASKS, b"last")


def test_a_listener_without_descriptors_goes_on_when_there_are_some(
    pair: tuple[StandIn, StandIn], reactor: Reactor, caplog: pytest.LogCaptureFixture
) -> None:
    left, right = pair
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(socket_path(left.socket_dir, left.worker_id))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    spare = [os.dup(0) for _ in range(highest + 1 - len(os.listdir("/proc/self/fd")))]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare, default=highest) + 1, hard))
        with contextlib.suppress(OSError):
            while True:
                spare.append(os.dup(0))
        poll_until(reactor, lambda: "connections_not_accepted" in caplog.text, "it says so")
        for _ in range(3):
            reactor.poll(0.0)
        assert caplog.text.count("connections_not_accepted") == 1, "it does not spin"
    finally:
        for fd in spare:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    poll_until(reactor, lambda: left.peers._listener.strangers, "it accepts again")  # type: ignore[union-attr]
    client.close()
    right.peer(left).send(worker_pb2.TASKS, b"x")
    poll_until(reactor, lambda: left.frames, "peers reach it")


def test_a_process_that_ends_waits_until_a_broken_connection_is_mended(
    pair: tuple[StandIn, StandIn], reactor: Reactor
) -> None:
    left, right = pair
    left.peer(right).send(worker_pb2.TASKS, b"x")
    poll_until(reactor, lambda: right.frames, "they are connected")
    left.cut()
    left.peer(right).queue(worker_pb2.REPLIES, b"last words")
    gate = Gate(1)
    poll_until(reactor, lambda: left.peer(right).channel is None, "the break is seen")
    left.peers.settle(gate)
    assert not left.peers.settled()
    poll_until(reactor, left.peers.settled, "all that was said will arrive")
    poll_until(reactor, lambda: (worker_pb2.REPLIES, b"last words") in right.frames, "it arrived")


def test_the_dead_are_not_connected_to(pair: tuple[StandIn, StandIn], reactor: Reactor) -> None:
    left, right = pair
    peer = left.peer(right)
    peer.send(worker_pb2.TASKS, b"x")
    poll_until(reactor, lambda: right.frames, "they are connected")
    left.peers.died(right.worker_id)
    peer.send(worker_pb2.TASKS, b"y")
    assert peer.closed and peer.channel is None and not peer.session.unsettled() and not peer.carriers
    assert left.peers.settled()


def test_a_refused_peer_is_asked_again_much_later(
    pair: tuple[StandIn, StandIn], reactor: Reactor, caplog: pytest.LogCaptureFixture
) -> None:
    left, right = pair
    left.identity.token = Token(b"w" * 32)
    with caplog.at_level(logging.ERROR):
        left.peer(right).send(worker_pb2.TASKS, b"x")
        poll_until(reactor, lambda: "peer_refused" in caplog.text, "the reason is logged")
        poll_until(reactor, lambda: left.peer(right).channel is None, "the connection ends")
    assert left.peer(right).retry_s > 1.0 and left.peer(right).session.unsettled()
