"""Channels over Unix-domain sockets on an event loop: the serving and the connecting side."""

import asyncio
import errno
import logging
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from google.protobuf.message import DecodeError
from manta_proto.common.v1.common_pb2 import Hello, Refused, Welcome

from manta_common.channel.acceptor import Acceptor
from manta_common.channel.connection import (
    SEND_LIMIT_BYTES,
    Connection,
    ConnectionClosed,
    log_connection,
)
from manta_common.channel.framing import MAX_FRAME_BYTES, ProtocolError, encode_frame
from manta_common.channel.hello import REFUSED, WELCOME, HelloDecoder, HelloRefused, hello_bytes, read_answer
from manta_common.channel.paths import short_path
from manta_common.credentials import Token
from manta_common.version import PROTOCOL, Version, VersionMismatch

__all__ = ["Connection", "ConnectionClosed", "UnixServer", "connect_unix", "serve_unix"]

Handler = Callable[[Connection, Hello], Awaitable[None]]
WelcomeFor = Callable[[Connection, Hello], Welcome]

_BACKLOG: Final = 1024
_REFUSAL_S: Final = 1.0  # for a refused peer to read the reason
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid of SO_PEERCRED
_SECONDS: Final = struct.Struct("@ll")  # a struct timeval


async def serve_unix(
    path: str | os.PathLike[str],
    token: Token,
    handler: Handler,
    *,
    welcome: WelcomeFor | None = None,
    max_frame_bytes: int = MAX_FRAME_BYTES,
    send_limit_bytes: int = SEND_LIMIT_BYTES,
    hello_timeout_s: float = 10.0,
) -> "UnixServer":
    """Serve channels on a socket of mode 0600, each in a task that runs handler(connection, hello).

    A connection ends when its handler returns or raises; an exception is logged and harms no other connection.
    welcome: makes the answer to a hello, an empty one by default; it may raise HelloRefused.
    raises: OSError with EADDRINUSE when a living process serves the path, FileExistsError when it is no socket.
    """
    name = os.fspath(path)
    server = UnixServer(name, token, handler, welcome, max_frame_bytes, send_limit_bytes, hello_timeout_s)
    server._start()
    return server


async def connect_unix(
    path: str | os.PathLike[str],
    token: Token,
    hello: Hello,
    *,
    version: Version = PROTOCOL,
    max_frame_bytes: int = MAX_FRAME_BYTES,
    send_limit_bytes: int = SEND_LIMIT_BYTES,
    timeout_s: float = 10.0,
) -> Connection:
    """Connect and wait until the hello is accepted.

    raises: HelloRefused with the server's reason; OSError when nobody serves the path, or another user does;
    ConnectionClosed when the server went away; TimeoutError after timeout_s.
    """
    name = os.fspath(path)
    loop = asyncio.get_running_loop()
    connection = Connection(name, max_frame_bytes=max_frame_bytes, send_limit_bytes=send_limit_bytes)
    answer: asyncio.Future[Welcome] = loop.create_future()

    def settle(data: bytes) -> None:
        try:
            frames = connection._decoder.feed(data)
            if not frames:
                return
            connection.welcome = read_answer(*frames[0])
        except (HelloRefused, ProtocolError) as error:
            if not answer.done():
                answer.set_exception(error)
            return
        connection._handshake = None
        for kind, payload in frames[1:]:
            connection._inbox.append((kind, payload))
            connection._inbox_bytes += len(payload)
        if not answer.done():
            answer.set_result(connection.welcome)

    def lost() -> None:
        if not answer.done():
            answer.set_exception(ConnectionClosed(f"{name} ended before it answered the hello: {connection.reason}"))

    connection._handshake = settle
    connection._on_lost = lost
    async with asyncio.timeout(timeout_s):
        sock = await _connected_socket(name, timeout_s)
        try:
            # Before the token leaves: a socket of another user, put where ours should be, must not see it.
            connection.peer_pid = _checked_peer(sock, name)
            transport, _ = await loop.create_unix_connection(lambda: connection, sock=sock)
        except BaseException:
            sock.close()
            raise
        try:
            transport.write(hello_bytes(token, version, hello.SerializeToString()))
            await answer
        except BaseException as error:
            connection.close(f"no welcome: {error!r}")
            raise
    return connection


class UnixServer:
    """A listening socket with its connections; made by serve_unix."""

    def __init__(
        self,
        path: str,
        token: Token,
        handler: Handler,
        welcome: WelcomeFor | None,
        max_frame_bytes: int,
        send_limit_bytes: int,
        hello_timeout_s: float,
    ) -> None:
        self.path = path
        self._token = token
        self._handler = handler
        self._welcome = welcome
        self._max_frame_bytes = max_frame_bytes
        self._send_limit_bytes = send_limit_bytes
        self._hello_timeout_s = hello_timeout_s
        self._connections: set[Connection] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._server: Acceptor | None = None
        self._inode = 0

    @property
    def connections(self) -> frozenset[Connection]:
        """Those whose hello was accepted and which have not ended."""
        return frozenset(c for c in self._connections if c.hello is not None and not c.closed)

    def close(self) -> None:
        """Stop listening, remove the socket file and end every connection; handlers are cancelled."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        try:
            if os.stat(self.path).st_ino == self._inode:  # a successor may serve under the same name by now
                os.unlink(self.path)
        except FileNotFoundError:
            pass
        for connection in list(self._connections):
            connection.close("the server closes")
        for task in self._handlers:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until every handler has returned and every socket is closed."""
        waits = [*self._handlers, *(connection.wait_closed() for connection in self._connections)]
        await asyncio.gather(*waits, return_exceptions=True)

    def _start(self) -> None:
        _remove_stale(self.path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            # Linux gives the file that bind makes the mode of the socket; a umask would hold for all threads.
            os.fchmod(sock.fileno(), 0o600)
            with short_path(self.path) as usable:
                sock.bind(usable)
                self._inode = os.stat(self.path).st_ino
            acceptor = Acceptor(sock, self._accept)
            acceptor.start(_BACKLOG)
        except BaseException:
            sock.close()
            raise
        self._server = acceptor

    def _accept(self) -> Connection:
        connection = Connection(
            self.path, max_frame_bytes=self._max_frame_bytes, send_limit_bytes=self._send_limit_bytes
        )
        decoder = HelloDecoder(self._token)
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(
            self._hello_timeout_s,
            lambda: self._refuse(connection, f"no complete hello within {self._hello_timeout_s} s"),
        )

        def made() -> None:
            self._connections.add(connection)
            transport = connection._transport
            assert transport is not None
            try:
                connection.peer_pid = _checked_peer(transport.get_extra_info("socket"), self.path)
            except PermissionError as error:
                self._refuse(connection, str(error))

        def greet(data: bytes) -> None:
            try:
                payload = decoder.feed(data)
                if payload is None:
                    return
                hello = Hello.FromString(payload)
                answer = self._welcome(connection, hello) if self._welcome else Welcome()
            except DecodeError:
                self._refuse(connection, "the hello message cannot be parsed")
            except HelloRefused as error:
                self._refuse(connection, error.reason)
            except (ProtocolError, VersionMismatch) as error:
                self._refuse(connection, str(error))
            else:
                deadline.cancel()
                connection.hello = hello
                connection._handshake = None
                connection.send(WELCOME, answer)
                task = loop.create_task(self._handle(connection, hello), name=f"channel of pid {connection.peer_pid}")
                self._handlers.add(task)
                task.add_done_callback(self._handlers.discard)
                if decoder.rest:
                    connection.data_received(decoder.rest)

        def lost() -> None:
            deadline.cancel()
            self._connections.discard(connection)

        connection._on_made, connection._handshake, connection._on_lost = made, greet, lost
        return connection

    def _refuse(self, connection: Connection, reason: str) -> None:
        if connection.closed:
            return
        log_connection("connection_refused", path=self.path, peer_pid=connection.peer_pid, reason=reason)
        connection._end(reason)
        if connection._transport is None:
            return
        connection._transport.write(encode_frame(REFUSED, Refused(reason=reason).SerializeToString()))
        # The peer closes when it sees the end. Closing first, with bytes of it unread, would reset the connection
        # and could take the reason away before it is read.
        connection._transport.write_eof()
        deadline = asyncio.get_running_loop().call_later(_REFUSAL_S, connection._transport.abort)
        connection._gone.add_done_callback(lambda _: deadline.cancel())

    async def _handle(self, connection: Connection, hello: Hello) -> None:
        try:
            await self._handler(connection, hello)
        except ConnectionClosed as error:
            log_connection("connection_ended", logging.DEBUG, path=self.path, reason=str(error))
        except Exception as error:
            # The border of one connection: what its handler could not answer must not end the others.
            logging.getLogger("manta.channel").exception(
                "connection_failed",
                extra={"fields": {"path": self.path, "peer_pid": connection.peer_pid, "reason": repr(error)}},
            )
        finally:
            connection.close("the handler returned")


def _checked_peer(sock: socket.socket, path: str) -> int:
    """The pid at the other end. raises: PermissionError when it belongs to another user."""
    pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"the peer, pid {pid}, runs as uid {uid} and not as {os.geteuid()}", path)
    return int(pid)


async def _connected_socket(path: str, timeout_s: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with short_path(path) as usable:
            sock.setblocking(False)
            try:
                sock.connect(usable)
            except BlockingIOError:
                # The backlog is full. No event tells when it has room, except to a blocked connect.
                sock.setblocking(True)
                whole = int(timeout_s)
                limit = _SECONDS.pack(whole, max(1, int((timeout_s - whole) * 1_000_000)))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
                await asyncio.to_thread(sock.connect, usable)
                sock.setblocking(False)
    except OSError as error:
        sock.close()
        # The kernel's error names no path, and the short one would tell nobody anything.
        raise type(error)(error.errno, f"cannot connect to {path}: {error.strerror}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove the socket file of a process that is gone; see serve_unix for what it raises."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "is in the way of a socket and is none; remove it", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, short_path(path) as usable:
        probe.setblocking(False)
        try:
            probe.connect(usable)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # a full backlog has a living owner
    raise OSError(errno.EADDRINUSE, "another process serves this socket; end it or choose another path", path)
