"""One connection to the object manager: the handshake, sending without waiting for others, reading by turns."""

from __future__ import annotations

import array
import contextlib
import io
import logging
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from manta_common.channel.framing import FrameDecoder, ProtocolError, encode_frame
from manta_common.channel.hello import HelloRefused, read_answer
from manta_common.channel.paths import short_path
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

from ray._runtime.arena.arena_call import Call
from ray._runtime.arena.arena_errors import ArenaDisconnected, ArenaEntered
from ray._runtime.arena.extent_writer import ExtentWriter
from ray._runtime.arena.pins import Mapping

if TYPE_CHECKING:
    from google.protobuf.message import Message

_HANDSHAKE_S: Final = 10.0
_SEND_S: Final = 30.0
_RECEIVE_BYTES: Final = 64 * 1024
_DESCRIPTORS: Final = 2
_CREDENTIALS: Final = struct.Struct("3i")

log = logging.getLogger("ray.runtime")

# Takes the frames that arrive, on the thread that read them.
Dispatch = Callable[[int, bytes], None]


class ArenaConnection:
    """A greeted socket with the arena's mapping. Broken once, broken for ever; a new one is made then."""

    def __init__(self, path: str, hello: bytes) -> None:
        """raises: OSError when nobody serves the path or there is no descriptor, HelloRefused, ProtocolError."""
        # Readable once calls were ended on this side, for a thread that sleeps in a poll.
        # A file object, so that a write after its close finds no other file under its number.
        self._ended = io.FileIO(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), "r+")
        try:
            self._greet(path, hello)
        except BaseException:
            self._ended.close()
            raise
        self.socket.setblocking(False)
        self.fd = self.socket.fileno()
        self.problem: ArenaDisconnected | None = None
        # What calls end with that are made although no further ones may be.
        self._over: ArenaDisconnected | None = None
        self._watched = threading.RLock()  # a destructor may end the connection while it is held
        self._watched_no_more = False
        self._on_closing: Callable[[int], None] | None = None
        self.extents = ExtentWriter(self)
        self.on_garbage: Callable[[int], None] | None = None
        self.pending: dict[int, Call] = {}
        self._sending = threading.Lock()
        self._reading = threading.Lock()
        self._reader = 0  # the thread that holds it
        self._followers: dict[Call, None] = {}
        self._missed = False
        self._closed = False

    def _greet(self, path: str, hello: bytes) -> None:
        """Say hello, and map what the welcome brings."""
        self.socket = _connected(path)
        try:
            self.socket.sendall(hello)
            welcome, descriptors, self._decoder, self._early = _read_welcome(self.socket)
        except BaseException:
            self.socket.close()
            raise
        try:
            self.welcome = pb.ArenaWelcome.FromString(welcome)
            self.mapping = Mapping(self.welcome.size, descriptors[0], descriptors[1])
        except BaseException:
            self.socket.close()
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    # ---- calls

    def begin(self, call: Call) -> None:
        """Expect an answer. A call that comes too late is ended at once."""
        self.pending[call.request_id] = call
        # Looked at after the entry: who ended the calls a moment ago has not seen it.
        over = self.problem or self._over
        if over is not None and self.pending.pop(call.request_id, None) is not None:
            call.finish(over)

    # ---- sending

    def queue(self, kind: int, message: Message) -> None:
        """Append a frame; it goes out with the next flush. Safe in a destructor."""
        self.mapping.outbox.frame(encode_frame(kind, message.SerializeToString()))

    def send(self, kind: int, message: Message) -> None:
        """raises: ArenaDisconnected."""
        self.queue(kind, message)
        self.flush()

    def flush(self) -> None:
        """Send what is queued, releases included; when another thread is sending, it sends ours too.

        raises: ArenaDisconnected.
        """
        outbox = self.mapping.outbox
        while outbox:
            if self.problem is not None:
                raise self.problem
            if not self._sending.acquire(blocking=False):
                return  # its holder looks again after it has released the lock
            try:
                self._send_all(outbox.drain())
            except OSError as error:
                raise self.fail(f"sending failed: {error}") from error
            except BaseException:
                # An interrupt in here leaves open what was sent; what others queued must not vanish silently.
                self.fail("interrupted while sending")
                raise
            finally:
                self._sending.release()

    def _send_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                poller = select.poll()
                poller.register(self.fd, select.POLLOUT)
                if not poller.poll(_SEND_S * 1000):
                    raise TimeoutError(f"the object manager has not read for {_SEND_S} s") from None

    # ---- reading

    def reading_here(self) -> bool:
        """Whether this thread is in the middle of reading; a finalizer that runs there must not wait."""
        return self._reader == threading.get_ident()

    def wait(self, call: Call, deadline: float | None, dispatch: Dispatch, slice_s: float) -> bool:
        """Wait until the call is done, reading for everybody when nobody else does; False at the deadline.

        Returns False after slice_s too, so that the caller can log. deadline: of time.monotonic().
        raises: ArenaEntered.
        """
        if self.reading_here():
            raise ArenaEntered(
                "a finalizer, or a callback, waits for the object manager on the thread that reads its answers; hand "
                "the work to a thread"
            )
        until = time.monotonic() + slice_s
        if deadline is not None:
            until = min(until, deadline)
        # Before the lock is tried: whoever holds it looks for followers after it has let it go.
        self._followers[call] = None
        try:
            while not call.done:
                remaining = until - time.monotonic()
                if remaining <= 0:
                    # A reply that is here already counts, also with a timeout of 0.
                    self.read_available(dispatch)
                    return call.done
                if self._reading.acquire(blocking=False):
                    self._reader = threading.get_ident()
                    try:
                        self._lead(call, until, dispatch)
                    finally:
                        self._reader = 0
                        self._reading.release()
                elif call.wake is not None and call.wake.wait(remaining) and not call.done:
                    call.wake.clear()  # promoted
        finally:
            self._followers.pop(call, None)
            self._promote()
            if self._missed:
                self.read_available(dispatch)
            self.close_if_broken()
        return True

    def read_available(self, dispatch: Dispatch) -> None:
        """Dispatch what has arrived, without waiting; for a thread whose epoll says that the socket is readable.

        When a waiting thread is reading already, it does this.
        """
        # Before the lock is tried: whoever holds it looks after it has let it go.
        self._missed = True
        if not self._reading.acquire(blocking=False):
            return
        self._reader = threading.get_ident()
        try:
            self._missed = False
            self._receive(dispatch)
        finally:
            self._reader = 0
            self._reading.release()
        self._promote()
        self.close_if_broken()

    def _lead(self, call: Call, until: float, dispatch: Dispatch) -> None:
        poller = select.poll()
        try:
            poller.register(self._ended, select.POLLIN)
            poller.register(self.socket, select.POLLIN)
        except ValueError:
            return  # closed on this side, which ended all calls before
        while not call.done:
            remaining = until - time.monotonic()
            # Rounded up, or the last fraction of a millisecond would be spent spinning.
            if self._early or (remaining > 0 and poller.poll(remaining * 1000 + 1)):
                if not call.done:  # nor ended on this side meanwhile
                    self._receive(dispatch)
            elif remaining <= 0:
                return

    def _receive(self, dispatch: Dispatch) -> None:
        """One receive. Call it with the reading lock held."""
        if self.problem is not None:
            self._close()
            return
        try:
            frames, self._early = self._early, []
            if not frames:
                data = self.socket.recv(_RECEIVE_BYTES)
                if not data:
                    raise ConnectionResetError("it closed the connection")
                frames = self._decoder.feed(data)
            for kind, payload in frames:
                dispatch(kind, payload)
        except BlockingIOError:
            return
        except (OSError, ProtocolError, DecodeError) as error:
            self.fail(str(error))
            self._close()
        except BaseException:
            # An interrupt between receiving and dispatching loses replies that others wait for.
            self.fail("interrupted while reading")
            self._close()
            raise

    def _promote(self) -> None:
        for call in tuple(self._followers):
            if not call.done and call.wake is not None:
                call.wake.set()
                return

    # ---- the end

    def fail(self, reason: str) -> ArenaDisconnected:
        """The connection is broken: every call ends with the error, which is returned."""
        if self.problem is None:
            self.problem = ArenaDisconnected(
                f"the object manager of this node is gone ({reason}); its objects are lost, the next call looks for "
                "its successor"
            )
            try:
                self.socket.shutdown(socket.SHUT_RDWR)  # wakes whoever reads
            except OSError:
                pass  # gone already
        while self.pending:
            try:
                _, call = self.pending.popitem()
            except KeyError:
                break
            call.finish(self.problem)
        return self.problem

    def end_calls(self, error: ArenaDisconnected) -> None:
        """End all calls with this error, also those that are still made. The socket stays open."""
        self._over = error
        for number in list(self.pending):
            call = self.pending.pop(number, None)
            if call is not None:
                call.finish(error)
        with contextlib.suppress(ValueError):  # closed, so nobody polls
            self._ended.write((1).to_bytes(8, sys.byteorder))

    def close(self) -> None:
        """Close the socket once nobody reads from it: now, or by whoever does."""
        self.fail("closed by this side")
        self.close_if_broken()

    def close_if_broken(self) -> None:
        """Close it once nobody reads. Called after `problem` was set, and by each reader that has let the lock go."""
        if self.problem is not None and not self._closed and self._reading.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._reading.release()

    def enter_epoll(self, entered: Callable[[int], None], left: Callable[[int], None] | None) -> None:
        """Have the descriptor watched, unless that is over already: its number may be another file's then."""
        with self._watched:
            if not self._watched_no_more:
                self._on_closing = left
                entered(self.fd)

    def leave_epoll(self) -> None:
        """The descriptor is about to go, or is not to be watched any more."""
        with self._watched:
            self._watched_no_more = True
            left, self._on_closing = self._on_closing, None
            if left is not None:
                left(self.fd)

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self.leave_epoll()  # before: its number may belong to another file right after
            self.socket.close()
            self._ended.close()

    def say_farewell(self) -> None:
        """Give the last pins back and close, without waiting; after this side was closed nobody else sends."""
        try:
            self.socket.send(self.mapping.outbox.drain(), socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
        except OSError:
            pass  # it died, or is stuck with a full buffer: the end of this process gives the pins back
        self._close()


def _connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(_HANDSHAKE_S)
        with short_path(path) as usable:
            sock.connect(usable)
        _, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid != os.geteuid():  # before the token leaves
            raise PermissionError(f"{path} is served by uid {uid} and not by this user, {os.geteuid()}")
    except BaseException:
        sock.close()
        raise
    return sock


def _read_welcome(sock: socket.socket) -> tuple[bytes, list[int], FrameDecoder, list[tuple[int, bytes]]]:
    """The Welcome's details and the arena's descriptors; a decoder with what else came, and its whole frames."""
    descriptors = array.array("i")
    decoder = FrameDecoder()
    try:
        while True:
            data, ancillary, _, _ = sock.recvmsg(
                65536, socket.CMSG_SPACE(_DESCRIPTORS * descriptors.itemsize), socket.MSG_CMSG_CLOEXEC
            )
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
            if not data:
                raise ProtocolError("the object manager closed the connection before it answered the hello")
            frames = decoder.feed(data)
            if frames:
                break
        welcome = read_answer(*frames[0])
        if len(descriptors) != _DESCRIPTORS:
            raise ProtocolError(f"the object manager sent {len(descriptors)} descriptors and not {_DESCRIPTORS}")
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return welcome.details, list(descriptors), decoder, frames[1:]


__all__ = ["ArenaConnection", "Call", "HelloRefused", "ProtocolError"]
