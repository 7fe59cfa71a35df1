"""A socket on which peers reach a process, and connections that have not said who they are."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from manta_common.channel.framing import ProtocolError, encode_frame
from manta_common.channel.hello import BadToken, HelloDecoder
from manta_common.channel.paths import at_short_path
from manta_common.version import VersionMismatch
from manta_proto.common.v1 import common_pb2
from manta_proto.worker.v1 import worker_pb2

from ray._runtime.loop.reactor import READ

if TYPE_CHECKING:
    from manta_common.credentials import Token

    from ray._runtime.loop.reactor import Reactor

log = logging.getLogger("ray.runtime")

# From the connection to a complete hello.
_HELLO_TIMEOUT_S: Final = 10.0
# Until connections are accepted again that could not be for want of descriptors or memory.
_PAUSE_S: Final = 0.2
_BACKLOG: Final = 512

# A connection that said a right hello, the hello, and the bytes that came behind it.
Admit = Callable[[socket.socket, common_pb2.Hello, bytes], None]


class Listener:
    """Accepts connections and hands those with a right hello to `admit`, on the thread that reads."""

    def __init__(self, sock: socket.socket, token: Token, reactor: Reactor, admit: Admit) -> None:
        """sock: bound."""
        self.token = token
        self.reactor = reactor
        self.admit = admit
        self.strangers: set[_Stranger] = set()
        self._closed = False
        self._socket = sock
        name = sock.getsockname()
        self.address = name if isinstance(name, str) else _host_and_port(*name[:2])
        sock.listen(_BACKLOG)
        sock.setblocking(False)
        reactor.add(sock.fileno(), self._on_connections)

    def _on_connections(self, _events: int) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                # No descriptor or memory is free. Those who wait stay in the backlog, so the socket stays readable:
                # looking at once again would spin.
                log.warning("connections_not_accepted at=%s error=%s again_in_s=%g", self.address, error, _PAUSE_S)
                self.reactor.modify(self._socket.fileno(), 0)
                self.reactor.call_later(_PAUSE_S, self._look_again)
                return
            try:
                self.strangers.add(_Stranger(self, sock))
            except OSError as error:  # the kernel has no room to watch it; the others are to be heard
                log.warning("connection_not_watched at=%s error=%s", self.address, error)
                sock.close()

    def _look_again(self) -> None:
        if not self._closed:
            self.reactor.modify(self._socket.fileno(), READ)

    def close(self) -> None:
        self._closed = True
        self.reactor.remove(self._socket.fileno())
        self._socket.close()
        for stranger in list(self.strangers):
            stranger.close()


def bind_unix(path: str) -> socket.socket:
    """For peers of this node. raises: OSError (EADDRINUSE when another worker's id begins the same)."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        at_short_path(sock.bind, path)
        os.chmod(path, 0o600)
    except OSError:
        sock.close()
        raise
    return sock


def unlink_unix(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        at_short_path(os.unlink, path)


def bind_tcp(host: str) -> socket.socket:
    """For peers of other nodes, at any free port. raises: OSError for an address that is not this machine's."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
    try:
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Stranger:
    """An accepted connection that has not said who it is."""

    def __init__(self, listener: Listener, sock: socket.socket) -> None:
        self._listener = listener
        self._socket = sock
        sock.setblocking(False)
        self._decoder = HelloDecoder(listener.token)
        listener.reactor.add(sock.fileno(), self._on_readable)
        listener.reactor.call_later(_HELLO_TIMEOUT_S, self._too_late)

    def _too_late(self) -> None:
        if self in self._listener.strangers:
            self._refuse(f"no hello within {_HELLO_TIMEOUT_S:g} s")

    def _on_readable(self, _events: int) -> None:
        try:
            data = self._socket.recv(1 << 16)
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
        self._listener.strangers.discard(self)
        self._listener.reactor.remove(self._socket.fileno())
        try:
            self._listener.admit(self._socket, hello, self._decoder.rest)
        except Exception:
            # Left open, it would be unread, and the peer would wait for ever.
            log.exception("connection_not_admitted worker_id=%s", hello.worker_id.hex())
            self._socket.close()

    def _refuse(self, reason: str) -> None:
        if reason:
            log.warning("connection_refused reason=%s", reason)
            refused = common_pb2.Refused(reason=reason).SerializeToString()
            with contextlib.suppress(OSError):
                self._socket.send(encode_frame(worker_pb2.REFUSED, refused))
        self.close()

    def close(self) -> None:
        self._listener.strangers.discard(self)
        self._listener.reactor.remove(self._socket.fileno())
        self._socket.close()
