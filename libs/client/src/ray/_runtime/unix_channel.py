"""One end of a Unix-domain socket to a peer: frames out without waiting, frames in through the reactor."""

from __future__ import annotations

import collections
import logging
import socket
import threading
from collections.abc import Callable
from typing import Final

from manta.common.channel.framing import FrameDecoder, ProtocolError, encode_frame
from ray._runtime.reactor import READ, READ_WRITE, Reactor

log = logging.getLogger("ray.runtime")

_RECEIVE_SIZE: Final = 1 << 18
# Joining small frames saves system calls; beyond this a copy costs more than a call.
_JOIN_LIMIT: Final = 1 << 16


class UnixChannel:
    """Sends from any thread; receives on whichever thread holds the reactor's token.

    on_frame(kind, payload) for each frame; on_closed(reason) once, when the peer is gone or spoke nonsense. What could
    not be sent by then is lost with the connection.
    """

    def __init__(
        self,
        sock: socket.socket,
        reactor: Reactor,
        on_frame: Callable[[int, bytes], None],
        on_closed: Callable[[str], None],
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._fd = sock.fileno()
        self._reactor = reactor
        self._on_frame = on_frame
        self._on_closed = on_closed
        self._decoder = FrameDecoder()
        self._outbox: collections.deque[bytes] = collections.deque()
        self._sending = threading.Lock()
        self._want_write = False
        self.closed = False

    def start(self) -> None:
        """Begin to read. Apart from construction, so that the handlers may refer to the channel."""
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

    def unsent(self) -> bool:
        return bool(self._outbox) and not self.closed

    def flush(self) -> None:
        outbox = self._outbox
        # The outer loop looks again after the lock is free: another thread may have queued a frame
        # while we held it, and gone on because we did.
        while outbox and not self._want_write and not self.closed:
            if not self._sending.acquire(blocking=False):
                return
            try:
                self._drain()
            finally:
                self._sending.release()

    def _drain(self) -> None:
        outbox = self._outbox
        while outbox and not self.closed:
            data = outbox.popleft()
            if outbox and len(data) < _JOIN_LIMIT:
                parts = [data]
                size = len(data)
                while outbox and size < _JOIN_LIMIT:
                    parts.append(outbox.popleft())
                    size += len(parts[-1])
                data = b"".join(parts)
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                # Not closed here: this may be any thread, in the middle of anything. The reader sees the same error.
                outbox.clear()
                log.debug("channel_send_failed fd=%d error=%s", self._fd, error)
                return
            if sent < len(data):
                outbox.appendleft(data[sent:])
                self._want_write = True
                self._reactor.modify(self._fd, READ_WRITE)
                return

    def _on_event(self, events: int) -> None:
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
