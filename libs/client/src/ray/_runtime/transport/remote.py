"""What crosses nodes: channels to peers and raylets elsewhere, and the carrier by which remote peers reach us."""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2
from manta_proto.worker.v1 import worker_pb2

from ray._runtime.loop.io_thread import IoThread
from ray._runtime.transport.carrier import TCP, open_tcp
from ray._runtime.transport.listener import Listener, bind_tcp

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor

    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Carrier, Peer
    from ray._runtime.transport.grpc_channel import GrpcChannel
    from ray._runtime.transport.raylets import RayletLink

log = logging.getLogger("ray.runtime")

_WORKER: ServiceDescriptor = worker_pb2.DESCRIPTOR.services_by_name["Worker"]
_RAYLET: ServiceDescriptor = raylet_pb2.DESCRIPTOR.services_by_name["Raylet"]


_STOP_S: Final = 5.0


class Remote:
    """Of one process. grpc is imported when something first needs it: it costs 7 ms and 4 MiB."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._server: Any = None
        self._address = ""
        self._listener: Listener | None = None

    @property
    def io(self) -> IoThread:
        return self._process.io

    def new_channel(
        self,
        address: str,
        service: ServiceDescriptor,
        hello: common_pb2.Hello,
        on_frame: Callable[[int, bytes], None],
        on_closed: Callable[[str], None],
    ) -> GrpcChannel:
        """A channel to host:port that is not open yet; frames queue until its `start`."""
        from manta_common import rpc

        from ray._runtime.transport.grpc_channel import GrpcChannel

        process = self._process

        def open_stream(channel: GrpcChannel) -> None:
            async def run() -> None:
                grpc_channel = rpc.open_channel(address, process.identity.token, process.tls)
                self.io.spawn(channel.run_client(grpc_channel, service, hello))

            self.io.run(run())

        return GrpcChannel(self.io, on_frame, on_closed, open_stream)

    def open_raylet(self, link: RayletLink, address: str, on_closed: Callable[[str], None]) -> None:
        """Give the link of a raylet elsewhere its channel."""
        process = self._process
        link.channel = channel = self.new_channel(
            address,
            _RAYLET,
            process.identity.hello(),
            lambda kind, payload: process.raylets.receive(link, kind, payload),
            on_closed,
        )
        channel.start()

    def connect_peer(self, peer: Peer) -> None:
        """Ask the peer's raylet where it listens, then open the channel."""
        process = self._process
        link = process.raylets.of_node(peer.node_id)
        if link is None:
            process.peers.failed(peer)
            return
        # TLS is gRPC's to do.
        tcp = process.tls is None
        link.ask_endpoint(peer.worker_id, lambda address: self._endpoint(peer, address), tcp=tcp)

    def _endpoint(self, peer: Peer, address: str) -> None:
        process = self._process
        if peer.dead or peer.channel is not None:
            return
        if not address:
            # Dead or unknown at its raylet: the news of its death is on its way.
            process.peers.failed(peer, 1.0)
            return

        def on_frame(kind: int, payload: bytes) -> None:
            process.peers.receive(peer, channel, kind, payload)

        def on_closed(reason: str) -> None:
            process.peers.closed(peer, channel, reason)

        channel: Carrier
        if address.startswith(TCP):
            try:
                host = address.removeprefix(TCP)
                channel = open_tcp(host, process.identity, process.reactor, on_frame, on_closed, peer.session)
            except (OSError, ValueError) as error:
                log.warning("peer_unreachable address=%s error=%s", address, error)
                process.peers.failed(peer, 1.0)
                return
        else:
            channel = self.new_channel(address, _WORKER, process.identity.hello(peer.session), on_frame, on_closed)
        process.peers.opened(peer, channel)

    # -- being reached

    def open_endpoint(self, host: str, tcp: bool, done: Callable[[str], None]) -> None:
        """Serve a cross-node carrier, each once; done(address) runs here, or on the io thread for gRPC."""
        process = self._process
        if tcp and process.tls is None:
            try:
                if self._listener is None:
                    sock = bind_tcp(host)
                    self._listener = Listener(sock, process.identity.token, process.reactor, process.peers.admit)
            except OSError as error:
                # It must not end the link to the raylet that asks; the other carrier may fare better.
                log.warning("tcp_not_served host=%s error=%s", host, error)
            else:
                done(TCP + self._listener.address)
                return

        async def start() -> None:
            if self._server is None:
                from manta_common import rpc

                self._server = rpc.RpcServer(self._process.identity.token, self._process.tls, part="worker")
                self._server.add_service(_WORKER, _WorkerService(self))
                self._address = await self._server.start(f"{host}:0")
            done(self._address)

        self.io.run(start())

    async def serve(self, frames: AsyncIterator[common_pb2.Frame]) -> AsyncIterator[common_pb2.Frame]:
        """One stream of a remote peer."""
        from grpc import aio

        from ray._runtime.transport.grpc_channel import HELLO, GrpcChannel

        first = await anext(frames, None)
        if first is None or first.kind != HELLO:
            return
        try:
            hello = common_pb2.Hello.FromString(first.payload)
        except DecodeError as error:
            log.warning("connection_refused reason=%s", error)
            return
        peers = self._process.peers
        peer = peers.get(hello.worker_id, hello.node_id)
        with self._process.lock:
            self._process.watch(peer)
        channel = GrpcChannel(
            self.io,
            lambda kind, payload: peers.receive(peer, channel, kind, payload),
            lambda reason: peers.closed(peer, channel, reason),
        )

        async def read() -> None:
            try:
                async for frame in frames:
                    channel.received(frame)
            except aio.UsageError as error:  # the stream ended between two reads
                channel.close(str(error))
            except Exception as error:
                # A bug of ours. Left open, the channel would be unread, and the peer would wait for ever.
                log.exception("frame_failed")
                channel.close(f"a frame could not be handled: {error!r}")
            else:
                channel.close("the peer closed the stream")

        self.io.spawn(read())
        peers.accepted(peer, channel, hello)
        try:
            async for frame in channel.outgoing():
                yield frame
        finally:
            channel.close("the stream ended")

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        if self._server is not None:
            try:
                self.io.run(self._server.stop(0)).result(timeout=_STOP_S)
            except concurrent.futures.TimeoutError:
                # What comes after it has to be ended all the same; the loop takes the server along.
                log.warning("server_not_stopped waited_s=%g", _STOP_S)


class _WorkerService:
    """The servicer of manta.worker.v1.Worker."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def Channel(self, frames: AsyncIterator[common_pb2.Frame], _context: Any) -> AsyncIterator[common_pb2.Frame]:
        async for frame in self._remote.serve(frames):
            yield frame
