"""All peers of a process, by worker id, and the socket on which they reach it."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from manta.common.channel.framing import ProtocolError, encode_frame
from manta.common.channel.hello import BadToken, HelloDecoder
from manta.common.channel.paths import short_path
from manta.common.version import VersionMismatch
from manta.proto.common.v1 import common_pb2
from manta.proto.worker.v1 import worker_pb2
from ray._runtime.links import Channel, Peer, open_unix, socket_path
from ray._runtime.unix_channel import UnixChannel

if TYPE_CHECKING:
    from ray._runtime.process import Process

log = logging.getLogger("ray.runtime")

_RECONNECT_S: Final = 0.2
# From the connection to a complete hello.
_HELLO_TIMEOUT_S: Final = 10.0


class PeerTable:
    """Finds and opens channels to peers; hands their frames to `on_frame(peer, channel, kind, payload)`."""

    def __init__(self, process: Process, on_frame: Callable[[Peer, Channel, int, bytes], None]) -> None:
        self._process = process
        self._on_frame = on_frame
        self._peers: dict[bytes, Peer] = {}
        self._listener: socket.socket | None = None
        self._path = ""
        self.strangers: set[_Stranger] = set()

    def get(self, worker_id: bytes, node_id: bytes = b"") -> Peer:
        peer = self._peers.get(worker_id)
        if peer is None:
            # Not every caller holds the lock: of two that make a peer at once, both get the first.
            peer = self._peers.setdefault(worker_id, Peer(worker_id, node_id))
        elif node_id and not peer.node_id:
            peer.node_id = node_id
        return peer

    def find(self, worker_id: bytes) -> Peer | None:
        return self._peers.get(worker_id)

    def send(self, peer: Peer, kind: int, payload: bytes) -> None:
        """Send now, or as soon as there is a connection. Not to be called with the process's lock held."""
        channel = peer.channel
        if channel is not None and not peer.outbox:
            channel.send(kind, payload)
        else:
            peer.queue(kind, payload)
            self.flush(peer)

    def flush(self, peer: Peer) -> None:
        channel = peer.channel
        if channel is None:
            if peer.outbox and not peer.dead and self._claim(peer):
                self._connect(peer)
            return
        if peer.outbox:
            self._move_outbox(peer, channel)
        channel.flush()

    def _move_outbox(self, peer: Peer, channel: Channel) -> None:
        with self._process.lock:
            outbox, peer.outbox = peer.outbox, []
            for kind, payload in outbox:
                channel.queue(kind, payload)

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
        path = socket_path(process.socket_dir, peer.worker_id)

        def on_frame(kind: int, payload: bytes) -> None:
            self.receive(peer, channel, kind, payload)

        try:
            channel = open_unix(
                path, process.identity, process.reactor, on_frame, lambda reason: self.closed(peer, channel, reason)
            )
        except OSError as error:
            # The raylet says whether the peer is dead; until then it may be starting or have a full backlog.
            log.debug("peer_unreachable worker_id=%s error=%s", peer.worker_id.hex(), error)
            process.reactor.call_later(_RECONNECT_S, lambda: self._again(peer))
            return
        channel.start()
        self.opened(peer, channel)

    def _again(self, peer: Peer) -> None:
        peer.connecting = False
        self.flush(peer)

    def opened(self, peer: Peer, channel: Channel) -> None:
        """A channel that this process opened is usable."""
        process = self._process
        with process.lock:
            peer.connecting = False
            # Closed before it was the peer's, by the reading thread: then closed() did not take it away.
            lost = channel.closed
            if not lost:
                self._begin(peer, channel)
        if lost:
            self.failed(peer)
        else:
            channel.flush()

    def _begin(self, peer: Peer, channel: Channel) -> None:
        """Send over this channel from now on, first what waited for one; the lock is held."""
        process = self._process
        peer.channel = channel
        peer.known_definitions.clear()
        peer.connections += 1
        outbox, peer.outbox = peer.outbox, []
        if peer.connections > 1:
            process.holds.apply(process.refs.reconnected(peer.worker_id))
        for kind, payload in outbox:
            channel.queue(kind, payload)

    def failed(self, peer: Peer, delay_s: float = _RECONNECT_S) -> None:
        """A channel could not be opened; try again, until the peer is declared dead."""
        self._process.reactor.call_later(delay_s, lambda: self._again(peer))

    def closed(self, peer: Peer, channel: Channel, reason: str) -> None:
        log.debug("peer_channel_closed worker_id=%s reason=%s", peer.worker_id.hex(), reason)
        with self._process.lock:
            if peer.channel is channel:
                peer.channel = None
        self._process.peer_lost(peer)

    def of_node(self, node_id: bytes) -> list[bytes]:
        return [worker_id for worker_id, peer in list(self._peers.items()) if peer.node_id == node_id]

    def drain(self, worker_id: bytes) -> None:
        """Take what a dead process had sent: its last replies count."""
        peer = self._peers.get(worker_id)
        if peer is not None and isinstance(peer.channel, UnixChannel):
            peer.channel.drain()

    def died(self, worker_id: bytes) -> None:
        """A declared death: nothing is sent to it any more."""
        peer = self._peers.pop(worker_id, None)
        if peer is None:
            return
        peer.dead = True
        peer.outbox.clear()
        if peer.channel is not None:
            channel, peer.channel = peer.channel, None
            channel.close("the peer was declared dead")

    def receive(self, peer: Peer, channel: Channel, kind: int, payload: bytes) -> None:
        if kind == worker_pb2.WELCOME:
            return
        if kind == worker_pb2.REFUSED:
            reason = common_pb2.Refused.FromString(payload).reason
            log.error("peer_refused worker_id=%s reason=%s", peer.worker_id.hex(), reason)
            channel.close(reason)
            return
        try:
            self._on_frame(peer, channel, kind, payload)
        except (DecodeError, ProtocolError, ValueError, LookupError) as error:
            log.warning("peer_spoke_nonsense worker_id=%s error=%r", peer.worker_id.hex(), error)
            channel.close(f"protocol error: {error}")

    def unsent(self) -> bool:
        """Whether anything waits for a socket to take it."""
        return any(peer.channel is not None and peer.channel.unsent() for peer in self._peers.values())

    # -- the listening side

    def listen(self) -> None:
        """Bind this process's socket. raises: OSError (EADDRINUSE when another worker's id begins the same)."""
        process = self._process
        self._path = socket_path(process.socket_dir, process.worker_id)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with short_path(self._path) as usable:
            listener.bind(usable)
        os.chmod(self._path, 0o600)
        listener.listen(512)
        listener.setblocking(False)
        self._listener = listener
        process.reactor.add(listener.fileno(), self._on_accept)

    def _on_accept(self, _events: int) -> None:
        assert self._listener is not None
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            self.strangers.add(_Stranger(self, sock))

    def admit(self, stranger: _Stranger, hello: common_pb2.Hello | None, rest: bytes) -> None:
        """A connection said a right hello (or a wrong one: None)."""
        self.strangers.discard(stranger)
        if hello is None:
            return
        peer = self.get(hello.worker_id, hello.node_id)
        with self._process.lock:
            self._process.watch(peer)
        channel = UnixChannel(
            stranger.socket,
            self._process.reactor,
            lambda kind, payload: self.receive(peer, channel, kind, payload),
            lambda reason: self.closed(peer, channel, reason),
        )
        self.accepted(peer, channel)
        if rest:
            channel.received(rest)
        if not channel.closed:
            channel.start()

    def accepted(self, peer: Peer, channel: Channel) -> None:
        channel.send(worker_pb2.WELCOME, common_pb2.Welcome(node_id=self._process.node_id).SerializeToString())
        if self._claim(peer):
            self.opened(peer, channel)

    def close(self) -> None:
        if self._listener is not None:
            self._process.reactor.remove(self._listener.fileno())
            self._listener.close()
            with contextlib.suppress(FileNotFoundError), short_path(self._path) as usable:
                os.unlink(usable)
        for stranger in list(self.strangers):
            stranger.close()
        for peer in list(self._peers.values()):
            if peer.channel is not None:
                peer.channel.close("this process ends")


class _Stranger:
    """An accepted connection that has not said who it is."""

    def __init__(self, table: PeerTable, sock: socket.socket) -> None:
        self._table = table
        self.socket = sock
        sock.setblocking(False)
        self._process = table._process
        self._decoder = HelloDecoder(self._process.identity.token)
        self._process.reactor.add(sock.fileno(), self._on_readable)
        self._process.reactor.call_later(_HELLO_TIMEOUT_S, self._too_late)

    def _too_late(self) -> None:
        if self in self._table.strangers:
            self._refuse(f"no hello within {_HELLO_TIMEOUT_S:g} s")

    def _on_readable(self, _events: int) -> None:
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._refuse("")
            return
        try:
            payload = self._decoder.feed(data)
            if payload is None:
                return
            hello = common_pb2.Hello.FromString(payload)
        except (ProtocolError, BadToken, VersionMismatch, DecodeError) as error:
            self._refuse(str(error))
            return
        self._process.reactor.remove(self.socket.fileno())
        self._table.admit(self, hello, self._decoder.rest)

    def _refuse(self, reason: str) -> None:
        if reason:
            log.warning("connection_refused reason=%s", reason)
            refused = common_pb2.Refused(reason=reason).SerializeToString()
            with contextlib.suppress(OSError):
                self.socket.send(encode_frame(worker_pb2.REFUSED, refused))
        self.close()
        self._table.admit(self, None, b"")

    def close(self) -> None:
        self._process.reactor.remove(self.socket.fileno())
        self.socket.close()
