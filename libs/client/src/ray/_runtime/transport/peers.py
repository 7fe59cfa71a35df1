"""All peers of a process, by worker id: their connections, and what goes on over a new one when one breaks."""

from __future__ import annotations

import collections
import errno
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from manta_common.channel.framing import ProtocolError
from manta_common.process import explain_lack
from manta_proto.common.v1 import common_pb2
from manta_proto.worker.v1 import worker_pb2

from ray._runtime.transport.carrier import RECONNECT_S, Carrier, Peer, open_unix, socket_path, watch_tcp
from ray._runtime.transport.listener import Listener, bind_unix, unlink_unix
from ray._runtime.transport.session import WINDOW_BYTES, Arrival
from ray._runtime.transport.socket_channel import SocketChannel

if TYPE_CHECKING:
    import socket

    from ray._runtime.loop.latch import Gate
    from ray._runtime.process.process import Process

log = logging.getLogger("ray.runtime")

# Frames of a peer that is quiet are acknowledged after so long, all peers together.
_ACKNOWLEDGE_S: Final = 0.2
# A refusal may be of a version or token that will not change soon.
_REFUSED_S: Final = 5.0
# How often it is said at most that there are no descriptors for connections.
_TELL_LACK_S: Final = 10.0
# A larger frame that could not be taken is not sent back.
_RETURN_BYTES: Final = 64 << 20


class PeerTable:
    """Finds and opens channels to peers; hands each frame of theirs once, in order, to `on_frame(peer, kind, payload)`.

    A connection that breaks while both processes live loses nothing: see session.py. Only a declared death ends it.
    """

    def __init__(self, process: Process, on_frame: Callable[[Peer, int, bytes], None]) -> None:
        self._process = process
        self._on_frame = on_frame
        self._peers: dict[bytes, Peer] = {}
        self._listener: Listener | None = None
        self._owing: collections.deque[Peer] = collections.deque()
        self._acknowledging = False
        self._tell_lack_at = 0.0
        # Opens when all that was said has arrived.
        self._settling: Gate | None = None

    def get(self, worker_id: bytes, node_id: bytes = b"") -> Peer:
        peer = self._peers.get(worker_id)
        if peer is None:
            # Not every caller holds the lock: of two that make a peer at once, both get the first.
            peer = self._peers.setdefault(worker_id, Peer(worker_id, node_id, self.flush))
        elif node_id and not peer.node_id:
            peer.node_id = node_id
        return peer

    def find(self, worker_id: bytes) -> Peer | None:
        return self._peers.get(worker_id)

    def of_node(self, node_id: bytes) -> list[bytes]:
        return [worker_id for worker_id, peer in list(self._peers.items()) if peer.node_id == node_id]

    def flush(self, peer: Peer) -> None:
        """Send what is queued or was lost with a connection, over a new one if need be; ours are always renewed."""
        channel = peer.channel
        if channel is not None:
            channel.flush()
            if peer.session.stalled and not peer.stall_told:
                self._tell_stall(peer)
        elif (peer.session.unsettled() or peer.reached_by_us) and not peer.dead and self._claim(peer):
            self._connect(peer)

    def _tell_stall(self, peer: Peer) -> None:
        peer.stall_told = True
        log.warning(
            "peer_behind worker_id=%s unacknowledged_bytes=%d frames_waiting=%d",
            *(peer.worker_id.hex(), WINDOW_BYTES, len(peer.session.waiting)),
        )

    # -- connections

    def _claim(self, peer: Peer) -> bool:
        """Be the only one that gives the peer a channel: over two of them, frames would overtake one another."""
        with self._process.lock:
            if peer.channel is not None or peer.connecting:
                return False
            peer.connecting = True
            return True

    def _connect(self, peer: Peer) -> None:
        process = self._process
        if peer.node_id and peer.node_id != process.node_id:
            process.remote.connect_peer(peer)
            return

        def on_frame(kind: int, payload: bytes) -> None:
            self.receive(peer, channel, kind, payload)

        def on_closed(reason: str) -> None:
            self.closed(peer, channel, reason)

        path = socket_path(process.socket_dir, peer.worker_id)
        try:
            channel = open_unix(path, process.identity, process.reactor, on_frame, on_closed, peer.session)
        except OSError as error:
            # The raylet says whether the peer is dead; until then it may be starting or have a full backlog.
            log.debug("peer_unreachable worker_id=%s error=%s", peer.worker_id.hex(), error)
            self._tell_lack(peer, error)
            self.failed(peer)
            return
        self.opened(peer, channel)

    def _tell_lack(self, peer: Peer, error: OSError) -> None:
        """What is for the peer waits until another connection ends; the user can make that come sooner."""
        now = time.monotonic()
        if error.errno in (errno.EMFILE, errno.ENFILE) and now >= self._tell_lack_at:
            self._tell_lack_at = now + _TELL_LACK_S
            log.warning("peer_waits_for_descriptor worker_id=%s reason=%s", peer.worker_id.hex(), explain_lack(error))

    def failed(self, peer: Peer, delay_s: float = RECONNECT_S) -> None:
        """A connection could not be made; try again, until the peer is declared dead."""
        self._process.reactor.call_later(delay_s, lambda: self._again(peer))

    def _again(self, peer: Peer) -> None:
        peer.connecting = False
        self.flush(peer)

    def opened(self, peer: Peer, channel: Carrier) -> None:
        """This process made a connection; starts it.

        The first one is used at once. On a later one the peer has to say first from which frame it goes on.
        """
        with self._process.lock:
            # The peer may have been declared dead or have reached us meanwhile, or another attempt of ours be ahead.
            needed = not peer.dead and peer.channel is None and peer.opening is None
            if needed:
                peer.carriers.append(channel)
                if peer.connections:
                    peer.opening = channel
                else:
                    self._begin(peer, channel, 0)
        if not needed:
            channel.close("it is not needed any more")
            return
        channel.start()
        channel.flush()

    def _welcomed(self, peer: Peer, channel: Carrier, welcome: common_pb2.Welcome) -> None:
        received = _received(welcome)
        peer.retry_s = RECONNECT_S
        with self._process.lock:
            opening = peer.opening is channel
            if opening:
                self._begin(peer, channel, received)
            elif received is None:
                peer.session.forget()
        if opening and received is None:
            self._process.losses.peer_forgot(peer)
        channel.flush()

    def accepted(self, peer: Peer, channel: Carrier, hello: common_pb2.Hello) -> None:
        """The peer made a connection and said who it is."""
        received = _received(hello)
        channel.by_peer = True
        with self._process.lock:
            # It makes another only when the one that it made before is of no use to it, known to us or not.
            replaced = peer.channel if peer.channel is not None and peer.channel.by_peer else None
            if received is None:
                peer.session.forget()
                replaced = None
            if replaced is not None:
                peer.channel = None
            peer.carriers.append(channel)
        if replaced is not None:
            replaced.close("the peer made another connection")
        # Said after the end of the old one: what was not read of it counts as not received.
        welcome = common_pb2.Welcome(
            node_id=self._process.node_id, session=common_pb2.Session(received=peer.session.received)
        )
        channel.queue(worker_pb2.WELCOME, welcome.SerializeToString())
        with self._process.lock:
            # Even if we try to connect by ourselves: perhaps the peer cannot be reached from here.
            # A channel that is closed already is not taken away by closed() any more.
            if peer.channel is None and not channel.closed and not peer.dead:
                self._begin(peer, channel, received)
        channel.flush()

    def _begin(self, peer: Peer, channel: Carrier, received: int | None) -> None:
        """Send over this channel from now on, first what did not arrive over earlier ones; the lock is held."""
        session, process = peer.session, self._process
        peer.connecting = False
        peer.opening = None
        peer.connections += 1
        # A peer that could not reach us would have no way to answer: who made a connection makes the next one too.
        peer.reached_by_us |= not channel.by_peer
        first = session.resume(received)
        if received is None:
            peer.known_definitions.clear()
            if peer.connections > 1:
                process.holds.apply(process.refs.reconnected(peer.worker_id))
        elif first > 1:
            log.debug(
                "session_resumed worker_id=%s from=%d again=%d", peer.worker_id.hex(), first, len(session.waiting)
            )
            channel.queue(worker_pb2.RESUMED, worker_pb2.Resumed(next=first).SerializeToString())
        peer.progress = session.received + session.acknowledged
        channel.attach(session)
        peer.channel = channel

    def closed(self, peer: Peer, channel: Carrier, reason: str) -> None:
        """A connection has ended, by either side."""
        process, session = self._process, peer.session
        log.debug("peer_channel_closed worker_id=%s reason=%s", peer.worker_id.hex(), reason)
        with process.lock:
            used, awaited = peer.channel is channel, peer.opening is channel
            if used:
                peer.channel = None
            if awaited:
                peer.opening = None
            if channel in peer.carriers:
                peer.carriers.remove(channel)
        if process.closing or peer.dead:
            return
        process.losses.peer_lost(peer)
        if awaited:
            self.failed(peer, peer.retry_s)
        elif used and session.received + session.acknowledged > peer.progress:
            self.flush(peer)
        elif used:
            # It led to nothing. Not at once again: the peer may be about to end, or refuse us each time.
            process.reactor.call_later(peer.retry_s, lambda: self.flush(peer))

    def drain(self, worker_id: bytes) -> None:
        """Take what a dead process had sent: its last replies count."""
        peer = self._peers.get(worker_id)
        if peer is not None:
            for carrier in list(peer.carriers):
                if isinstance(carrier, SocketChannel):
                    carrier.drain()

    def died(self, worker_id: bytes) -> None:
        """A declared death: nothing is sent to it any more."""
        peer = self._peers.pop(worker_id, None)
        if peer is None:
            return
        peer.dead = True
        peer.channel = peer.opening = None
        for carrier in list(peer.carriers):
            carrier.close("the peer was declared dead")
        peer.session.clear()
        self._look_settled()

    # -- what arrives

    def receive(self, peer: Peer, channel: Carrier, kind: int, payload: bytes) -> None:
        if kind < worker_pb2.TASKS:
            self._receive_control(peer, channel, kind, payload)
            return
        number = channel.next_number
        channel.next_number = number + 1
        arrival = peer.session.arrived(number, len(payload))
        if arrival is Arrival.REPEATED:
            return
        if arrival is Arrival.NEW_AND_DUE:
            self._acknowledge(peer)
        elif not peer.owing:
            self._acknowledge_later(peer)
        try:
            self._on_frame(peer, kind, payload)
        except (DecodeError, ProtocolError, ValueError, LookupError) as error:
            log.warning("peer_spoke_nonsense worker_id=%s kind=%d error=%r", peer.worker_id.hex(), kind, error)
            self._return_frame(peer, kind, payload, error)
            channel.close(f"protocol error: {error}")
        except Exception as error:
            # A bug of ours. It counts as received: sent again, it would fail again, for ever.
            log.exception("frame_failed worker_id=%s kind=%d", peer.worker_id.hex(), kind)
            self._return_frame(peer, kind, payload, error)

    def _receive_control(self, peer: Peer, channel: Carrier, kind: int, payload: bytes) -> None:
        """A frame about the connection itself."""
        try:
            if kind == worker_pb2.ACKNOWLEDGED:
                if peer.session.on_acknowledged(worker_pb2.Acknowledged.FromString(payload).received):
                    peer.stall_told = False
                    self.flush(peer)
                self._look_settled()
            elif kind == worker_pb2.WELCOME:
                self._welcomed(peer, channel, common_pb2.Welcome.FromString(payload))
            elif kind == worker_pb2.RESUMED:
                channel.next_number = worker_pb2.Resumed.FromString(payload).next
                peer.session.begin(channel.next_number)
            elif kind == worker_pb2.ACKNOWLEDGEMENT_WANTED:
                self._acknowledge(peer)
            elif kind == worker_pb2.REFUSED:
                reason = common_pb2.Refused.FromString(payload).reason
                log.error("peer_refused worker_id=%s reason=%s", peer.worker_id.hex(), reason)
                peer.retry_s = _REFUSED_S
                channel.close(reason)
            else:
                raise ValueError(f"unknown frame kind {kind}")
        except (DecodeError, ValueError) as error:
            log.warning("peer_spoke_nonsense worker_id=%s kind=%d error=%r", peer.worker_id.hex(), kind, error)
            channel.close(f"protocol error: {error}")

    def _return_frame(self, peer: Peer, kind: int, payload: bytes, error: Exception) -> None:
        """Have the sender end what the frame was about: whoever waits for it would wait for ever."""
        if not peer.session.kept or kind == worker_pb2.FRAME_RETURNED or len(payload) > _RETURN_BYTES:
            return
        returned = worker_pb2.FrameReturned(kind=kind, payload=payload, reason=repr(error))
        peer.send(worker_pb2.FRAME_RETURNED, returned.SerializeToString())

    # -- acknowledgements

    def _acknowledge(self, peer: Peer) -> None:
        channel, session = peer.channel, peer.session
        # With no channel there is nothing to say: the next hello or welcome says it.
        if channel is not None and session.kept and session.owes():
            acknowledged = worker_pb2.Acknowledged(received=session.tell())
            channel.send(worker_pb2.ACKNOWLEDGED, acknowledged.SerializeToString())

    def _acknowledge_later(self, peer: Peer) -> None:
        peer.owing = True
        self._owing.append(peer)
        if not self._acknowledging:
            self._acknowledging = True
            self._process.reactor.call_later(_ACKNOWLEDGE_S, self._acknowledge_all)

    def _acknowledge_all(self) -> None:
        self._acknowledging = False
        while self._owing:  # one by one: with TLS another thread adds to them meanwhile
            peer = self._owing.popleft()
            peer.owing = False
            self._acknowledge(peer)

    # -- the end of this process

    def settled(self) -> bool:
        """Whether what was said to peers arrives although this process ends now."""
        return not any(_needs_us(peer) for peer in list(self._peers.values()))

    def settle(self, gate: Gate) -> None:
        """Open the gate as soon as `settled`; peers are asked to acknowledge at once."""
        self._settling = gate
        for peer in list(self._peers.values()):
            channel = peer.channel
            if channel is None:
                self.flush(peer)
            elif not channel.survives_exit and peer.session.kept and peer.session.unsettled():
                channel.send(worker_pb2.ACKNOWLEDGEMENT_WANTED, b"")
        self._look_settled()

    def _look_settled(self) -> None:
        gate = self._settling
        if gate is not None and self.settled():
            gate.open()

    # -- the listening side

    def listen(self) -> None:
        """Bind this process's socket. raises: OSError (EADDRINUSE when another worker's id begins the same)."""
        process = self._process
        sock = bind_unix(socket_path(process.socket_dir, process.worker_id))
        self._listener = Listener(sock, process.identity.token, process.reactor, self.admit)

    def admit(self, sock: socket.socket, hello: common_pb2.Hello, rest: bytes) -> None:
        """A connection said a right hello."""
        peer = self.get(hello.worker_id, hello.node_id)
        with self._process.lock:
            self._process.watch(peer)
        channel = SocketChannel(
            sock,
            self._process.reactor,
            lambda kind, payload: self.receive(peer, channel, kind, payload),
            lambda reason: self.closed(peer, channel, reason),
        )
        if not channel.survives_exit:
            watch_tcp(sock)
        self.accepted(peer, channel, hello)
        if rest:
            channel.received(rest)
        if not channel.closed:
            channel.start()

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            unlink_unix(socket_path(self._process.socket_dir, self._process.worker_id))
        for peer in list(self._peers.values()):
            for carrier in list(peer.carriers):
                carrier.close("this process ends")


def _received(greeting: common_pb2.Hello | common_pb2.Welcome) -> int | None:
    """What the other side has of us; None when it keeps no session."""
    return greeting.session.received if greeting.HasField("session") else None


def _needs_us(peer: Peer) -> bool:
    """Whether something said to the peer is lost when this process ends now."""
    channel = peer.channel
    if channel is None:
        return peer.session.unsettled()
    if channel.survives_exit or not peer.session.kept:
        return channel.unsent()
    return peer.session.unsettled()
