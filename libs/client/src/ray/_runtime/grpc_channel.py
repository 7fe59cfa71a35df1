"""The cross-node carrier: frames of a call channel on one gRPC stream."""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

from manta.common import rpc
from manta.proto.common.v1 import common_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor
    from ray._runtime.io_thread import IoThread
    from ray._runtime.links import Identity

log = logging.getLogger("ray.runtime")

# worker.v1.Kind.HELLO and raylet.v1.Kind.HELLO are the same number.
HELLO: Final = 3


class GrpcChannel:
    """One stream, either end. Sends from any thread; on_frame and on_closed run on the io thread."""

    def __init__(self, io: IoThread, on_frame: Callable[[int, bytes], None], on_closed: Callable[[str], None]) -> None:
        self._io = io
        self._on_frame = on_frame
        self._on_closed = on_closed
        self._outbox: collections.deque[common_pb2.Frame] = collections.deque()
        self._more = asyncio.Event()
        self._waking = False
        self.closed = False
        self._call: Any = None

    def send(self, kind: int, payload: bytes) -> None:
        self._outbox.append(common_pb2.Frame(kind=kind, payload=payload))
        self.flush()

    def queue(self, kind: int, payload: bytes) -> None:
        self._outbox.append(common_pb2.Frame(kind=kind, payload=payload))

    def unsent(self) -> bool:
        return bool(self._outbox) and not self.closed

    def flush(self) -> None:
        # One wake-up of the loop serves all frames that are queued until it runs.
        if self._outbox and not self._waking and not self.closed:
            self._waking = True
            self._io.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._waking = False
        self._more.set()

    def close(self, reason: str = "closed here") -> None:
        if self.closed:
            return
        self.closed = True
        self._io.loop.call_soon_threadsafe(self._more.set)
        if self._call is not None:
            self._io.loop.call_soon_threadsafe(self._call.cancel)
        self._on_closed(reason)

    async def outgoing(self) -> AsyncIterator[common_pb2.Frame]:
        """Frames to write, until the channel closes."""
        while not self.closed:
            while self._outbox:
                yield self._outbox.popleft()
            self._more.clear()
            if not self._outbox and not self.closed:
                await self._more.wait()

    def received(self, frame: common_pb2.Frame) -> None:
        self._on_frame(frame.kind, frame.payload)

    async def run_client(self, grpc_channel: rpc.Channel, service: ServiceDescriptor, identity: Identity) -> None:
        """Open the stream and read it to its end."""
        hello = common_pb2.Frame(kind=HELLO, payload=identity.hello().SerializeToString())
        self._outbox.appendleft(hello)
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
