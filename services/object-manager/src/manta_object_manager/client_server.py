"""The Unix socket of the node's clients: the handshake with the arena's descriptors, then frames.

A server of its own beside manta_common.channel, since a Welcome here carries descriptors (SCM_RIGHTS), and since a
client outlives its connection: its pins go when its process does (pidfd), for a view may live as long.
"""

import array
import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final, cast

from google.protobuf.message import DecodeError, Message
from manta_common.channel.framing import FrameDecoder, ProtocolError, encode_frame
from manta_common.channel.hello import REFUSED, WELCOME, HelloDecoder
from manta_common.channel.paths import short_path
from manta_common.credentials import Token
from manta_common.logs import get
from manta_common.process import open_pidfd
from manta_common.version import VersionMismatch
from manta_proto.common.v1.common_pb2 import Hello, Refused, Role, Welcome

from manta_object_manager.client_id import PREFETCHES, ClientId

# A request names at most some thousand objects; data never comes this way.
MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
SEND_LIMIT_BYTES: Final = 64 * 1024 * 1024
HELLO_TIMEOUT_S: Final = 10.0

_CREDENTIALS: Final = struct.Struct("3i")
_PROCESSES: Final = frozenset((Role.DRIVER, Role.WORKER))
_BACKLOG: Final = 1024
_REST_BYTES: Final = 256 * 1024

_log = get("manta_object_manager")

Dispatch = Callable[["LocalClient", int, bytes], None]


class LocalClient(asyncio.Protocol):
    """One connection of a local process. `id` is never used again."""

    def __init__(self, client_id: ClientId, hello: Hello, pid: int, server: "ClientServer") -> None:
        self.id = client_id
        self.hello = hello
        self.pid = pid
        self.closed = False
        self._server = server
        self._decoder = FrameDecoder(MAX_FRAME_BYTES)
        self._transport: asyncio.Transport | None = None

    def send(self, kind: int, message: Message) -> None:
        """Queue a frame; one for a closed connection is dropped, since nobody waits for it."""
        transport = self._transport
        if self.closed or transport is None:
            return
        if transport.get_write_buffer_size() > SEND_LIMIT_BYTES:
            self.end(f"over {SEND_LIMIT_BYTES} bytes wait to be sent; the client does not read")
            return
        transport.write(encode_frame(kind, message.SerializeToString()))

    def end(self, reason: str) -> None:
        """Break the connection off; the process keeps its pins."""
        _log.warning("client_connection_ended", pid=self.pid, name=self.hello.name, reason=reason)
        if self._transport is not None:
            self._transport.abort()

    def read_rest(self) -> None:
        """Take what the process sent before its end. Its sockets are closed before its pidfd tells."""
        if self._transport is None or self.closed:
            return
        # The transport's own descriptor: there may be no room for another, and its pins must go all the same.
        sock = socket.socket(fileno=self._transport.get_extra_info("socket").fileno())
        try:
            while not self._transport.is_closing() and (data := sock.recv(_REST_BYTES, socket.MSG_DONTWAIT)):
                self.data_received(data)
        except BlockingIOError:
            pass  # a process that it forked holds a copy of the socket
        except OSError as error:
            _log.debug("rest_not_read", pid=self.pid, reason=str(error))
        finally:
            sock.detach()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for kind, payload in self._decoder.feed(data):
                self._server.dispatch(self, kind, payload)
        except (ProtocolError, DecodeError) as error:
            self.end(f"malformed frame: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._server.connection_closed(self)


class ClientServer:
    """Accepts local processes of this user. For the event loop's thread only.

    welcome: the details of each Welcome. descriptors: sent along, read-write first. on_frame may raise ProtocolError,
    which ends that connection. on_closed: no more answers are wanted. on_gone: the process is dead.
    """

    def __init__(
        self,
        path: str,
        token: Token,
        *,
        welcome: Callable[[], bytes],
        descriptors: tuple[int, int],
        on_frame: Dispatch,
        on_closed: Callable[[LocalClient], None],
        on_gone: Callable[[LocalClient], None],
    ) -> None:
        self.path = path
        self.dispatch = on_frame
        self._token = token
        self._welcome = welcome
        self._descriptors = array.array("i", descriptors).tobytes()
        self._on_closed = on_closed
        self._on_gone = on_gone
        self._last_id = int(PREFETCHES)
        self._socket: socket.socket | None = None
        self._inode = 0
        self._accepting: asyncio.Task[None] | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._clients: dict[LocalClient, int] = {}  # -> pidfd, or -1

    @property
    def clients(self) -> int:
        """Processes that are connected or hold pins."""
        return len(self._clients)

    def __iter__(self) -> Iterator[LocalClient]:
        return iter(list(self._clients))

    def processes(self) -> Iterator[LocalClient]:
        """The drivers and workers among the connections that are open."""
        return (client for client in self._clients if not client.closed and client.hello.role in _PROCESSES)

    async def start(self) -> None:
        """raises: OSError with EADDRINUSE when a living process serves the path."""
        _remove_stale(self.path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            os.fchmod(sock.fileno(), 0o600)  # Linux gives bind's file the mode of the socket
            with short_path(self.path) as usable:
                sock.bind(usable)
            self._inode = os.stat(self.path).st_ino
            sock.listen(_BACKLOG)
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        self._accepting = asyncio.create_task(self._accept(sock), name="object manager accepts clients")

    async def stop(self) -> None:
        """Stop listening, end every connection and remove the socket file."""
        for task in (self._accepting, *self._handshakes):
            if task is not None:
                task.cancel()
        if self._socket is not None:
            self._socket.close()
            try:
                if os.stat(self.path).st_ino == self._inode:  # a successor may serve under the name by now
                    os.unlink(self.path)
            except FileNotFoundError:
                pass
        loop = asyncio.get_running_loop()
        for client, pidfd in self._clients.items():
            if client._transport is not None:
                client._transport.close()
            if pidfd >= 0:
                loop.remove_reader(pidfd)
                os.close(pidfd)
        self._clients.clear()

    def connection_closed(self, client: LocalClient) -> None:
        self._on_closed(client)
        if self._clients.get(client, 0) < 0:  # its process cannot be watched: the connection has to stand for it
            self._gone(client)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.ENOMEM, errno.ENOBUFS):
                    raise
                _log.error("client_not_accepted", reason=str(error))
                await asyncio.sleep(0.1)  # a descriptor has to come free; nothing tells when
                continue
            task = loop.create_task(self._greet(sock), name="object manager greets a client")
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _greet(self, sock: socket.socket) -> None:
        """Check the peer and its hello, answer with the arena, and hand the socket to a LocalClient."""
        pid = 0
        try:
            sock.setblocking(False)
            pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                if uid != os.geteuid():
                    raise ProtocolError(f"the peer runs as uid {uid} and not as {os.geteuid()}")
                hello, rest = await self._hello(sock)
                await self._adopt(sock, hello, rest, pid)
                return
        except (ProtocolError, VersionMismatch, DecodeError) as error:
            _log.warning("client_refused", pid=pid, reason=str(error))
            await _refuse(sock, str(error))
        except (OSError, TimeoutError) as error:
            _log.warning("client_refused", pid=pid, reason=str(error) or f"no hello within {HELLO_TIMEOUT_S} s")
        except BaseException:
            sock.close()
            raise
        sock.close()

    async def _hello(self, sock: socket.socket) -> tuple[Hello, bytes]:
        loop = asyncio.get_running_loop()
        decoder = HelloDecoder(self._token)
        while True:
            data = await loop.sock_recv(sock, 65536)
            if not data:
                raise ProtocolError("the peer closed before its hello was complete")
            payload = decoder.feed(data)
            if payload is not None:
                return Hello.FromString(payload), decoder.rest

    async def _adopt(self, sock: socket.socket, hello: Hello, rest: bytes, pid: int) -> None:
        loop = asyncio.get_running_loop()
        # Before the arena is given away: a process that is gone by now would pin for ever.
        try:
            pidfd = open_pidfd(pid) if pid > 0 else -1
        except ProcessLookupError as error:
            raise ProtocolError(f"process {pid} ended during the handshake") from error
        self._last_id += 1
        client = LocalClient(ClientId(self._last_id), hello, pid, self)
        self._clients[client] = pidfd
        if pidfd >= 0:
            loop.add_reader(pidfd, self._gone, client)
        answer = encode_frame(WELCOME, Welcome(node_id=hello.node_id, details=self._welcome()).SerializeToString())
        try:
            # A new connection has room for it; anything less means a peer that plays tricks.
            sent = sock.sendmsg([answer], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, self._descriptors)])
            if sent < len(answer):
                raise ProtocolError("the peer did not take the whole welcome")
            await loop.connect_accepted_socket(lambda: client, sock)
        except BaseException:
            client.closed = True
            self._gone(client)
            raise
        _log.info("client_connected", pid=pid, name=hello.name, worker_id=hello.worker_id.hex(), client=client.id)
        if rest:
            client.data_received(rest)

    def _gone(self, client: LocalClient) -> None:
        pidfd = self._clients.pop(client, -1)
        if pidfd >= 0:
            asyncio.get_running_loop().remove_reader(pidfd)
            os.close(pidfd)
        if client._transport is not None and not client.closed:
            client.read_rest()
            client._transport.abort()  # a grandchild may hold a copy of the socket
        client.closed = True
        self._on_gone(client)
        _log.info("client_gone", pid=client.pid, name=client.hello.name, client=client.id)


async def _refuse(sock: socket.socket, reason: str) -> None:
    """Tell the reason and let the peer close first, since closing with unread bytes would reset the connection."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(1.0):
            await loop.sock_sendall(sock, encode_frame(REFUSED, Refused(reason=reason).SerializeToString()))
            sock.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(sock, 65536):
                pass
    except (OSError, TimeoutError) as error:
        _log.debug("refusal_not_read", reason=str(error) or "timeout")


def _remove_stale(path: str) -> None:
    """Remove the socket file that a process which is gone left behind."""
    if not os.path.lexists(path):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, short_path(path) as usable:
        try:
            probe.connect(usable)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, "another process serves this socket; end it or choose another path", path)
