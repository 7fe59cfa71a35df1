"""One end of a stream socket to a peer, of this node or another: frames out without waiting, in through the reactor."""

from __future__ import annotations

import collections
import functools
import logging
import socket
import threading
from collections.abc import Callable
from typing import Final

from manta_common.channel.framing import FrameDecoder, ProtocolError, encode_frame

from ray._runtime.loop.reactor import READ, READ_WRITE, Reactor
from ray._runtime.transport.session import Session

log = logging.getLogger("ray.runtime")

# A larger receive buffer would be allocated and given back to the system each time: 12 us a receive at 128 KiB.
_RECEIVE_SIZE: Final = 1 << 16
# Joining small frames saves system calls; beyond this a copy costs more than a call.
_JOIN_LIMIT: Final = 1 << 16


class SocketChannel:
    """Sends from any thread; receives on whichever thread holds the reactor's token.

    on_frame(kind, payload) for each frame; on_closed(reason) once, when the peer is gone or spoke nonsense. What was
    queued here and could not be sent by then is lost with the connection; frames of an attached session are not.
    """

    def __init__(
        self,
        sock: socket.socket,
        reactor: Reactor,
        on_frame: Callable[[int, bytes], None],
        on_closed: Callable[[str], None],
    ) -> None:
        """sock: connected, or about to be."""
        sock.setblocking(False)
        # The kernel delivers what it has taken, within a machine. Across machines it resets the connection, and with it
        # what is on the way, if the process ends with anything unread. The name tells which it is: `sock.family` makes
        # the member of an enumeration, and each new worker would copy some pages for that.
        self.survives_exit = not isinstance(sock.getsockname(), tuple)
        self._socket = sock
        self._fd = sock.fileno()
        self._reactor = reactor
        self._on_frame = on_frame
        self._on_closed = on_closed
        self._decoder = FrameDecoder()
        self._outbox: collections.deque[bytes] = collections.deque()
        self._session: Session | None = None
        self._sending = threading.Lock()
        # Nothing is sent now: the socket is full, or broken, which the reader will see.
        self._want_write = self._broken = False
        self.closed = False
        self.next_number = 1
        self.by_peer = False

    def start(self) -> None:
        """Begin to read. Apart from construction, so that the handlers may refer to the channel."""
        with self._sending:
            if self.closed:  # by another thread meanwhile: the number may be that of another descriptor now
                return
            self._reactor.add(self._fd, self._on_event)
            if self._want_write:
                self._reactor.modify(self._fd, READ_WRITE)

    def send(self, kind: int, payload: bytes) -> None:
        """Send now if the socket takes it, else as soon as it does. Never waits."""
        self._outbox.append(encode_frame(kind, payload))
        self.flush()

    def send_raw(self, data: bytes) -> None:
        """Send bytes that are not a frame: the hello."""
        self._outbox.append(data)
        self.flush()

    def queue(self, kind: int, payload: bytes) -> None:
        """Have a frame sent by the next flush, joined with its neighbours."""
        self._outbox.append(encode_frame(kind, payload))

    def attach(self, session: Session) -> None:
        """From now on send the session's frames, behind what is queued here."""
        self._session = session

    def unsent(self) -> bool:
        session = self._session
        return not self.closed and bool(self._outbox or (session is not None and session.unsent()))

    def flush(self) -> None:
        # It looks again when the lock is free: another thread may have queued a frame while we held it, and gone on
        # because we did.
        while not (self._want_write or self._broken or self.closed):
            session = self._session
            if not self._outbox and (session is None or not session.sendable()):
                return
            if not self._sending.acquire(blocking=False):
                return
            try:
                # Not after the end: who closed may have handed the session to the next connection.
                if not self.closed:
                    self._send_some()
            finally:
                self._sending.release()

    def _send_some(self) -> None:
        data = self._gathered()
        if not data:  # the session's window is full
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            # Not closed here: this may be any thread, in the middle of anything. And the reader does not see each
            # error by itself, e.g. that the kernel had no memory.
            self._broken = True
            self._outbox.clear()
            log.debug("channel_send_failed fd=%d error=%s", self._fd, error)
            self._reactor.call_soon(functools.partial(self._end, f"sending failed: {error}"))
            return
        if sent < len(data):
            self._outbox.appendleft(data[sent:])
            self._want_write = True
            self._reactor.modify(self._fd, READ_WRITE)

    def _gathered(self) -> bytes:
        """What is queued, then the session's frames, until it is enough for one call of the kernel."""
        outbox, session = self._outbox, self._session
        parts: list[bytes] = []
        size = 0
        while size < _JOIN_LIMIT:
            if outbox:
                data = outbox.popleft()
            elif session is not None and (frame := session.take()) is not None:
                data = encode_frame(*frame)
            else:
                break
            parts.append(data)
            size += len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _end(self, reason: str) -> None:
        # What the peer said before its end counts.
        self.drain()
        self.close(reason)

    def _on_event(self, events: int) -> None:
        try:
            self._take_event(events)
        except Exception as error:
            # A bug of ours. The reactor would drop the descriptor, and nobody would hear of it.
            log.exception("channel_failed fd=%d", self._fd)
            self.close(f"an event could not be handled: {error!r}")

    def _take_event(self, events: int) -> None:
        if events & ~READ and self._want_write:
            with self._sending:
                if self.closed:
                    return
                self._want_write = False
                self._reactor.modify(self._fd, READ)
            self.flush()
        if events & READ or events & ~READ_WRITE:
            self._receive()

    def drain(self) -> None:
        """Take all that a dead peer sent before its end. To be called by the thread that reads."""
        while not self.closed and self._receive():
            continue

    def _receive(self) -> bool:
        """Read once; returns whether there was something."""
        try:
            data = self._socket.recv(_RECEIVE_SIZE)
        except BlockingIOError:
            return False
        except OSError as error:
            self.close(str(error))
            return False
        if not data:
            self.close("the peer closed the connection")
            return False
        self.received(data)
        return True

    def received(self, data: bytes) -> None:
        """Take bytes that were read from the socket, here or before there was a channel."""
        try:
            frames = self._decoder.feed(data)
        except ProtocolError as error:
            self.close(f"protocol error: {error}")
            return
        on_frame = self._on_frame
        try:
            for kind, payload in frames:
                on_frame(kind, payload)
                if self.closed:
                    return
        except Exception as error:
            # A bug of ours. Left open, the channel would be unread, and who waits for an answer would wait for ever.
            log.exception("frame_failed fd=%d", self._fd)
            self.close(f"a frame could not be handled: {error!r}")

    def close(self, reason: str = "closed here") -> None:
        # Not while another thread sends: the number of the descriptor may at once be that of another connection.
        with self._sending:
            if self.closed:
                return
            self.closed = True
            self._reactor.remove(self._fd)
            self._socket.close()
        self._on_closed(reason)
