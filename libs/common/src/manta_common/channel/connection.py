"""One open channel on an event loop: frames in by iteration, frames out without waiting."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from google.protobuf.message import Message
from manta_proto.common.v1.common_pb2 import Hello, Welcome

from manta_common.channel.framing import MAX_FRAME_BYTES, FrameDecoder, ProtocolError, frame_header

SEND_LIMIT_BYTES: Final = 256 * 1024 * 1024

# Beyond either of these the socket is not read, so that a fast sender waits in its own buffer.
_INBOX_BYTES: Final = 64 * 1024 * 1024
_INBOX_FRAMES: Final = 10_000
_DRAIN_BYTES: Final = 1024 * 1024
# Below this a copy is cheaper than a second write to the socket.
_JOIN_BYTES: Final = 64 * 1024
_LINGER_S: Final = 5.0

# The standard library's logger: a process that never calls logs.configure still may be told of connections.
_log = logging.getLogger("manta.channel")


def log_connection(event: str, level: int = logging.WARNING, **fields: object) -> None:
    """Log an event of a connection; manta_common.logs shows the fields as key=value."""
    _log.log(level, event, extra={"fields": fields})


class ConnectionClosed(ConnectionError):
    """The connection has ended, by either side; the text says why. Connect again or give the peer up."""


class Connection(asyncio.Protocol):
    """A channel whose hello was accepted. For the thread of its event loop only.

    hello is what the connecting side said (set on the serving side), welcome the answer (on the connecting side).
    """

    def __init__(self, path: str, *, max_frame_bytes: int = MAX_FRAME_BYTES, send_limit_bytes: int = SEND_LIMIT_BYTES):
        self.path = path
        self.peer_pid = 0
        self.hello: Hello | None = None
        self.welcome: Welcome | None = None
        self.reason = ""  # why the connection ended; empty while it is open
        self._send_limit = send_limit_bytes
        self._decoder = FrameDecoder(max_frame_bytes)
        self._handshake: Callable[[bytes], None] | None = None  # takes the bytes until the hello is settled
        self._on_made: Callable[[], None] | None = None
        self._on_lost: Callable[[], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._inbox: deque[tuple[int, bytes]] = deque()
        self._inbox_bytes = 0
        self._reading_paused = False
        self._arrival: asyncio.Future[None] | None = None
        self._writing_paused = False
        self._drainers: set[asyncio.Future[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[None] = self._loop.create_future()

    # ---- for both sides

    @property
    def closed(self) -> bool:
        """Whether sending is over; frames that arrived before may still be iterated."""
        return bool(self.reason)

    def send(self, kind: int, message: bytes | Message) -> None:
        """Queue one frame and return at once.

        raises: ConnectionClosed when the connection has ended, or ends now because the peer reads so slowly that
        more than the send limit is queued; ValueError for a kind or size that no frame can carry.
        """
        transport = self._transport
        if self.reason or transport is None:
            raise ConnectionClosed(self.reason or "not connected yet")
        payload = message if isinstance(message, bytes) else message.SerializeToString()
        header = frame_header(kind, len(payload))
        if transport.get_write_buffer_size() + len(payload) > self._send_limit:
            self._break(f"over {self._send_limit} bytes wait to be sent; the peer does not read")
            raise ConnectionClosed(self.reason)
        if len(payload) <= _JOIN_BYTES:
            transport.write(header + payload)
        else:
            transport.write(header)
            transport.write(payload)

    async def drain(self) -> None:
        """Wait until at most 1 MiB is queued. raises: ConnectionClosed when the connection has ended."""
        while self._writing_paused and not self.reason:
            waiter = self._loop.create_future()
            self._drainers.add(waiter)
            try:
                await waiter
            finally:
                self._drainers.discard(waiter)
        if self.reason:
            raise ConnectionClosed(self.reason)

    def __aiter__(self) -> "Connection":
        return self

    async def __anext__(self) -> tuple[int, bytes]:
        """The next frame; ends when the connection has ended, however it did: see `reason`."""
        while not self._inbox:
            if self.reason:
                raise StopAsyncIteration
            if self._arrival is not None:
                raise RuntimeError("two tasks iterate one connection; give it one reader")
            self._arrival = self._loop.create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        kind, payload = self._inbox.popleft()
        self._inbox_bytes -= len(payload)
        if self._reading_paused and self._inbox_bytes < _INBOX_BYTES // 2 and len(self._inbox) < _INBOX_FRAMES // 2:
            self._reading_paused = False
            if self._transport is not None and not self.reason:
                self._transport.resume_reading()
        return kind, payload

    def close(self, reason: str = "closed by this side") -> None:
        """End the connection after what is queued has been sent, or 5 s. What was not iterated is dropped."""
        if self.reason:
            return
        self._end(reason)
        self._inbox.clear()
        self._inbox_bytes = 0
        if self._transport is not None:
            self._transport.close()
            # A peer that never reads would keep the socket and its buffer for ever.
            linger = self._loop.call_later(_LINGER_S, self._transport.abort)
            self._gone.add_done_callback(lambda _: linger.cancel())

    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""
        await asyncio.shield(self._gone)

    # ---- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_DRAIN_BYTES)
        if self._on_made is not None:
            self._on_made()

    def data_received(self, data: bytes) -> None:
        if self.reason:
            return
        if self._handshake is not None:
            self._handshake(data)
            return
        try:
            frames = self._decoder.feed(data)
        except ProtocolError as error:
            self._break(str(error))
            return
        if not frames:
            return
        self._inbox.extend(frames)
        self._inbox_bytes += sum([len(payload) for _, payload in frames])
        if self._inbox_bytes > _INBOX_BYTES or len(self._inbox) > _INBOX_FRAMES:
            self._pause_reading()
        self._wake_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.reason:
            if self._decoder.pending:
                self._note(f"the peer closed inside a frame, {self._decoder.pending} bytes into it")
            self._end(f"the connection broke: {exc}" if exc else "closed by the peer")
        if not self._gone.done():
            self._gone.set_result(None)
        if self._on_lost is not None:
            self._on_lost()

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._wake_drainers()

    # ---- inside

    def _pause_reading(self) -> None:
        if not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def _break(self, reason: str) -> None:
        """End at once, dropping what is queued; frames that arrived before are still iterated."""
        if self.reason:
            return
        self._note(reason)
        self._end(reason)
        if self._transport is not None:
            self._transport.abort()

    def _note(self, reason: str) -> None:
        log_connection("connection_broken", path=self.path, peer_pid=self.peer_pid, reason=reason)

    def _end(self, reason: str) -> None:
        self.reason = reason
        self._wake_reader()
        self._wake_drainers()

    def _wake_reader(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _wake_drainers(self) -> None:
        for waiter in self._drainers:
            if not waiter.done():
                waiter.set_result(None)
