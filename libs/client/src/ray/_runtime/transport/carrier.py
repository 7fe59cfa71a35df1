"""Channels of this process to others, over any carrier, and the addresses behind them.

Peers are workers and drivers, named by worker id: on this node by a Unix-domain socket, elsewhere by a TCP socket, or
in a cluster with TLS by a gRPC stream, whose address their raylet tells. The own raylet has a Unix-domain socket too,
others are reached by gRPC. What is said to a peer goes through a Session, so it outlives connections; a connection to
a raylet has its own queue only.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from manta_common.channel.framing import MAX_MESSAGE_BYTES
from manta_common.channel.hello import hello_bytes
from manta_common.channel.paths import at_short_path
from manta_common.ids import short
from manta_common.version import PROTOCOL
from manta_proto.common.v1 import common_pb2

from ray._runtime.transport.session import Session
from ray._runtime.transport.socket_channel import SocketChannel

if TYPE_CHECKING:
    from manta_common.credentials import Token

    from ray._runtime.loop.reactor import Reactor

RECONNECT_S: Final = 0.2
# TCP only: a broken network is noticed after so long; whether the peer is dead, its raylet or the GCS says.
_SILENT_S: Final = 30
# Four unanswered ones take the kernel some 30 s.
_CONNECT_TRIES: Final = 4
# What the address of a TCP carrier begins with.
TCP: Final = "tcp://"
# What both carriers take: gRPC's message holds a kind and lengths besides. A larger one would be sent again for ever.
MAX_PAYLOAD_BYTES: Final = MAX_MESSAGE_BYTES - 64 * 1024


class Channel(Protocol):
    """Where frames to another process go: a connection, or a peer with whatever connection it has."""

    @property
    def closed(self) -> bool: ...

    def send(self, kind: int, payload: bytes) -> None: ...

    def queue(self, kind: int, payload: bytes) -> None: ...

    def flush(self) -> None: ...


class Carrier(Channel, Protocol):
    """One connection, of either kind. What is sent or queued on it ends with it, unlike what a session hands it."""

    # What was sent arrives although this process ends at once.
    survives_exit: bool
    # The number of the next numbered frame to arrive.
    next_number: int
    # The other side made the connection.
    by_peer: bool

    def attach(self, session: Session) -> None:
        """From now on send the session's frames, behind what is queued on the connection itself."""

    def unsent(self) -> bool:
        """Whether anything waits for the connection to take it."""

    def start(self) -> None: ...

    def close(self, reason: str = "closed here") -> None: ...


class Identity:
    """Who this process is, as it says in each hello."""

    def __init__(self, role: int, node_id: bytes, worker_id: bytes, job_id: bytes, token: Token, name: str) -> None:
        self.role = role
        self.node_id = node_id
        self.worker_id = worker_id
        self.job_id = job_id
        self.token = token
        self.name = name

    def hello(self, session: Session | None = None) -> common_pb2.Hello:
        return common_pb2.Hello(
            role=self.role,  # type: ignore[arg-type]
            node_id=self.node_id,
            worker_id=self.worker_id,
            job_id=self.job_id,
            pid=os.getpid(),
            name=self.name,
            session=None if session is None else common_pb2.Session(received=session.received),
        )

    def hello_bytes(self, session: Session | None = None) -> bytes:
        return hello_bytes(self.token, PROTOCOL, self.hello(session).SerializeToString())

    def address(self) -> common_pb2.WorkerAddress:
        return common_pb2.WorkerAddress(node_id=self.node_id, worker_id=self.worker_id)


def open_unix(
    path: str,
    identity: Identity,
    reactor: Reactor,
    on_frame: Callable[[int, bytes], None],
    on_closed: Callable[[str], None],
    session: Session | None = None,
) -> SocketChannel:
    """Connect to a socket of this machine and say hello; the caller starts the channel.

    session: told in the hello, of a peer. Only a raylet is waited for. raises: OSError when nobody listens there, or
    a peer cannot take the connection now.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # A peer whose backlog is full is tried again later: this may be the thread that reads, or .remote().
        sock.setblocking(session is None)
        at_short_path(sock.connect, path)
    except OSError:
        sock.close()
        raise
    channel = SocketChannel(sock, reactor, on_frame, on_closed)
    channel.send_raw(identity.hello_bytes(session))
    return channel


def open_tcp(
    address: str,
    identity: Identity,
    reactor: Reactor,
    on_frame: Callable[[int, bytes], None],
    on_closed: Callable[[str], None],
    session: Session,
) -> SocketChannel:
    """Begin to connect to host:port of another node and say hello; the caller starts the channel.

    Never waits: a host that does not answer closes the channel. raises: OSError for a name that means nothing.
    """
    host, _, port = address.rpartition(":")
    family, kind, protocol, _, found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, _CONNECT_TRIES)
        watch_tcp(sock)
        sock.setblocking(False)
        # What it comes to, the first send or read tells.
        sock.connect_ex(found)
        channel = SocketChannel(sock, reactor, on_frame, on_closed)
        channel.send_raw(identity.hello_bytes(session))
    except OSError:
        sock.close()
        raise
    return channel


def watch_tcp(sock: socket.socket) -> None:
    """Have the kernel send at once, and end a connection whose other side has been silent for too long."""
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENT_S // 2),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _SILENT_S // 6),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_S * 1000),
    ):
        sock.setsockopt(level, option, value)


def socket_path(socket_dir: str, worker_id: bytes) -> str:
    """Where a worker of the node listens."""
    return f"{socket_dir}/{short(worker_id)}"


class Peer:
    """Another driver or worker: what is said to it arrives once and in order, whatever becomes of connections."""

    __slots__ = (
        "_flush",
        "carriers",
        "channel",
        "connecting",
        "connections",
        "dead",
        "known_definitions",
        "node_id",
        "opening",
        "owing",
        "pid",
        "progress",
        "reached_by_us",
        "retry_s",
        "session",
        "stall_told",
        "watched",
        "worker_id",
    )

    def __init__(self, worker_id: bytes, node_id: bytes, flush: Callable[[Peer], None]) -> None:
        self.worker_id = worker_id
        self.node_id = node_id
        # Known of those that work for us; for people.
        self.pid = 0
        self._flush = flush
        self.session = Session()
        # All connections that are open; two processes that connect at once have one in each direction.
        self.carriers: list[Carrier] = []
        # The one that takes frames from the session.
        self.channel: Carrier | None = None
        # Somebody is making a connection, or waits until it may be made.
        self.connecting = False
        # Ours, whose welcome has to say from which frame it goes on.
        self.opening: Carrier | None = None
        self.connections = 0
        # Connections of ours have carried something; the other way may be barred.
        self.reached_by_us = False
        # Frames that had gone through in either direction when the present connection began.
        self.progress = 0
        # Until a connection is tried again that led to nothing.
        self.retry_s = RECONNECT_S
        self.dead = False
        self.watched = False
        # An acknowledgement will be sent to it in a moment.
        self.owing = False
        # That it acknowledges too little was logged, and it has not caught up since.
        self.stall_told = False
        # Digests that went to it.
        self.known_definitions: set[bytes] = set()

    @property
    def closed(self) -> bool:
        """Whether what is sent reaches nobody: the peer was declared dead."""
        return self.dead

    def queue(self, kind: int, payload: bytes) -> None:
        """Have a frame sent by the next flush. raises: ValueError when no frame can be so large."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise ValueError(
                f"a frame of kind {kind} has {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} can be sent"
            )
        if not self.dead:
            self.session.waiting.append((kind, payload))

    def flush(self) -> None:
        """Send what is queued, over a new connection if there is none. Not with the process's lock held."""
        self._flush(self)

    def send(self, kind: int, payload: bytes) -> None:
        self.queue(kind, payload)
        self._flush(self)
