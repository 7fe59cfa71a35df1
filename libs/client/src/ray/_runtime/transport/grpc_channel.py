"""The cross-node carrier: frames of a call channel on one gRPC stream."""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

from manta_common import rpc
from manta_proto.common.v1 import common_pb2

from ray._runtime.loop.io_thread import IoStopped, IoThread
from ray._runtime.transport.session import Session

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor

log = logging.getLogger("ray.runtime")

# worker.v1.Kind.HELLO and raylet.v1.Kind.HELLO are the same number.
HELLO: Final = 3


class GrpcChannel:
    """One stream, either end. Sends from any thread; on_frame and on_closed run on the io thread."""

    # What gRPC has taken dies with the process.
    survives_exit = False

    def __init__(
        self,
        io: IoThread,
        on_frame: Callable[[int, bytes], None],
        on_closed: Callable[[str], None],
        open_stream: Callable[[GrpcChannel], None] = lambda channel: None,
    ) -> None:
        """open_stream: what `start` does, on the connecting side; it runs run_client on the io thread."""
        self._io = io
        self._on_frame = on_frame
        self._on_closed = on_closed
        self._open_stream = open_stream
        self._outbox: collections.deque[common_pb2.Frame] = collections.deque()
        self._session: Session | None = None
        self._more = asyncio.Event()
        self._waking = False
        self.closed = False
        self.next_number = 1
        self.by_peer = False
        self._call: Any = None

    def start(self) -> None:
        try:
            self._open_stream(self)
        except IoStopped:
            raise
        except (OSError, RuntimeError) as error:
            # No descriptor or thread for the loop: who made the channel tries again, as after any other end.
            log.warning("channel_not_opened error=%s", error)
            self.close(str(error))

    def send(self, kind: int, payload: bytes) -> None:
        self._outbox.append(common_pb2.Frame(kind=kind, payload=payload))
        self.flush()

    def queue(self, kind: int, payload: bytes) -> None:
        self._outbox.append(common_pb2.Frame(kind=kind, payload=payload))

    def attach(self, session: Session) -> None:
        """From now on send the session's frames, behind what is queued here."""
        self._session = session

    def unsent(self) -> bool:
        session = self._session
        return not self.closed and bool(self._outbox or (session is not None and session.unsent()))

    def flush(self) -> None:
        # One wake-up of the loop serves all frames that are queued until it runs.
        if not self._waking and self.unsent():
            self._waking = True
            self._wake_loop(self._wake)

    def _wake_loop(self, call: Callable[[], object]) -> None:
        try:
            self._io.loop.call_soon_threadsafe(call)
        except IoStopped:
            log.debug("channel_used_after_shutdown")
        except (OSError, RuntimeError):
            log.debug("channel_has_no_loop")  # closed by `start`, which could not get one

    def _wake(self) -> None:
        self._waking = False
        self._more.set()

    def close(self, reason: str = "closed here") -> None:
        if self.closed:
            return
        self.closed = True
        self._wake_loop(self._more.set)
        if self._call is not None:
            self._wake_loop(self._call.cancel)
        self._on_closed(reason)

    def _next(self) -> common_pb2.Frame | None:
        if self._outbox:
            return self._outbox.popleft()
        if self._session is None or (frame := self._session.take()) is None:
            return None
        return common_pb2.Frame(kind=frame[0], payload=frame[1])

    async def outgoing(self) -> AsyncIterator[common_pb2.Frame]:
        """Frames to write, until the channel closes."""
        while not self.closed:
            # Before the look, so that what is queued after it wakes us.
            self._more.clear()
            while not self.closed and (frame := self._next()) is not None:
                yield frame
            await self._more.wait()

    def received(self, frame: common_pb2.Frame) -> None:
        self._on_frame(frame.kind, frame.payload)

    async def run_client(self, grpc_channel: rpc.Channel, service: ServiceDescriptor, hello: common_pb2.Hello) -> None:
        """Open the stream and read it to its end."""
        self._outbox.appendleft(common_pb2.Frame(kind=HELLO, payload=hello.SerializeToString()))
        self._more.set()
        reason = "the peer closed the stream"
        try:
            self._call = rpc.method(grpc_channel, service, "Channel")(self.outgoing())
            async for frame in self._call:
                self.received(frame)
        except rpc.RpcFailed as error:
            reason = f"{error.code().name}: {error.details()}"
        except asyncio.CancelledError:
            reason = "cancelled"
        except Exception as error:
            # A bug of ours. Left open, the channel would be unread, and who waits for an answer would wait for ever.
            log.exception("frame_failed")
            reason = f"a frame could not be handled: {error!r}"
        self.close(reason)
        await grpc_channel.close(None)
