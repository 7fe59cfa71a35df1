"""Channels of this process to others, over either carrier, and the addresses behind them.

Peers are workers and drivers, named by worker id: on this node by a Unix-domain socket, elsewhere by a gRPC stream
whose address their raylet tells. Raylets are reached the same two ways. Frames that are queued before a channel is
open leave when it opens.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from manta.common.channel.hello import hello_bytes
from manta.common.channel.paths import short_path
from manta.common.ids import short
from manta.common.version import PROTOCOL
from manta.proto.common.v1 import common_pb2
from ray._runtime.unix_channel import UnixChannel

if TYPE_CHECKING:
    from manta.common.credentials import Token
    from ray._runtime.reactor import Reactor

log = logging.getLogger("ray.runtime")


class Channel(Protocol):
    """What both carriers offer."""

    closed: bool

    def send(self, kind: int, payload: bytes) -> None: ...

    def queue(self, kind: int, payload: bytes) -> None: ...

    def flush(self) -> None: ...

    def unsent(self) -> bool: ...

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

    def hello(self) -> common_pb2.Hello:
        return common_pb2.Hello(
            role=self.role,  # type: ignore[arg-type]
            node_id=self.node_id,
            worker_id=self.worker_id,
            job_id=self.job_id,
            pid=os.getpid(),
            name=self.name,
        )

    def hello_bytes(self) -> bytes:
        return hello_bytes(self.token, PROTOCOL, self.hello().SerializeToString())

    def address(self) -> common_pb2.WorkerAddress:
        return common_pb2.WorkerAddress(node_id=self.node_id, worker_id=self.worker_id)


def open_unix(
    path: str,
    identity: Identity,
    reactor: Reactor,
    on_frame: Callable[[int, bytes], None],
    on_closed: Callable[[str], None],
) -> UnixChannel:
    """Connect to a socket of this machine and say hello; the caller starts the channel.

    raises: OSError when nobody listens there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with short_path(path) as usable:
            sock.connect(usable)
    except OSError:
        sock.close()
        raise
    channel = UnixChannel(sock, reactor, on_frame, on_closed)
    channel.send_raw(identity.hello_bytes())
    return channel


def socket_path(socket_dir: str, worker_id: bytes) -> str:
    """Where a worker of the node listens."""
    return os.path.join(socket_dir, short(worker_id))


class Peer:
    """Another driver or worker. Frames may be queued at any time; `flush` connects first where it has to."""

    __slots__ = (
        "channel",
        "connecting",
        "connections",
        "dead",
        "known_definitions",
        "node_id",
        "outbox",
        "watched",
        "worker_id",
    )

    def __init__(self, worker_id: bytes, node_id: bytes) -> None:
        self.worker_id = worker_id
        self.node_id = node_id
        self.channel: Channel | None = None
        self.outbox: list[tuple[int, bytes]] = []
        self.connecting = False
        self.connections = 0
        self.dead = False
        self.watched = False
        # Digests that went over the present connection.
        self.known_definitions: set[bytes] = set()

    def queue(self, kind: int, payload: bytes) -> None:
        channel = self.channel
        if channel is not None and not self.outbox:
            channel.queue(kind, payload)
        elif not self.dead:
            self.outbox.append((kind, payload))
