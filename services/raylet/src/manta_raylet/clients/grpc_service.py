"""The raylet's gRPC service: lease clients of other nodes, and its own view for people."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError, Message
from manta_common.channel.connection import ConnectionClosed
from manta_common.channel.framing import ProtocolError
from manta_common.ids import NodeId
from manta_common.logs import get
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2

from manta_raylet.clients.client_frames import ClientFrames
from manta_raylet.clients.node import Node
from manta_raylet.clients.unix_clients import client_of, refusal, welcome_of

_log = get("manta_raylet.remote")

SEND_LIMIT_BYTES: Final = 64 * 1024 * 1024
_DRAINED_BYTES: Final = 1024 * 1024


class StreamLink:
    """The sending side of one remote client's stream, bounded in bytes."""

    def __init__(self) -> None:
        self.reason = ""
        self._frames: deque[common_pb2.Frame] = deque()
        self._bytes = 0
        self._more = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()

    @property
    def closed(self) -> bool:
        return bool(self.reason)

    def send(self, kind: int, message: bytes | Message) -> None:
        """Queue one frame. raises: ConnectionClosed when the stream ended, or ends now for being read too slowly."""
        if self.reason:
            raise ConnectionClosed(self.reason)
        payload = message if isinstance(message, bytes) else message.SerializeToString()
        if self._bytes + len(payload) > SEND_LIMIT_BYTES:
            self.close(f"over {SEND_LIMIT_BYTES} bytes wait to be sent; the peer does not read")
            raise ConnectionClosed(self.reason)
        self._frames.append(common_pb2.Frame(kind=kind, payload=payload))
        self._bytes += len(payload)
        if self._bytes > _DRAINED_BYTES:
            self._drained.clear()
        self._more.set()

    async def drain(self) -> None:
        await self._drained.wait()
        if self.reason:
            raise ConnectionClosed(self.reason)

    def close(self, reason: str = "closed by this side") -> None:
        self.reason = self.reason or reason
        self._more.set()
        self._drained.set()

    async def frames(self) -> AsyncIterator[common_pb2.Frame]:
        """What is to be sent, until the link is closed."""
        while True:
            while self._frames:
                frame = self._frames.popleft()
                self._bytes -= len(frame.payload)
                if self._bytes <= _DRAINED_BYTES:
                    self._drained.set()
                yield frame
            if self.reason:
                return
            self._more.clear()
            await self._more.wait()


class RayletService:
    """Implements manta.raylet.v1.Raylet."""

    def __init__(self, node: Node, frames: ClientFrames) -> None:
        self._node = node
        self._frames = frames

    async def Channel(self, requests: AsyncIterator[common_pb2.Frame], context: Any) -> AsyncIterator[common_pb2.Frame]:
        """A lease client of another node. The end of the stream is not its death: that is declared by its node."""
        first = await anext(aiter(requests), None)
        hello, reason = self._hello(first)
        if reason:
            _log.warning("client_refused", reason=reason)
            refused = common_pb2.Refused(reason=reason)
            yield common_pb2.Frame(kind=raylet_pb2.REFUSED, payload=refused.SerializeToString())
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, reason)
            return
        link = StreamLink()
        client = client_of(hello, local=False)
        client.link = link
        link.send(raylet_pb2.WELCOME, welcome_of(self._node))
        self._node.client_came(client)
        known = self._node.clients.get(client.id)
        assert known is not None, "client_came keeps it"
        reader = asyncio.get_running_loop().create_task(
            self._read(known, requests, link), name=f"remote client {client.id.hex()}"
        )
        try:
            async for frame in link.frames():
                yield frame
        finally:
            link.close("the stream ended")
            reader.cancel()
            self._node.client_left(client.id, link, link.reason)
        if link.reason.startswith("malformed"):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, link.reason)

    async def _read(self, client: Any, requests: AsyncIterator[common_pb2.Frame], link: StreamLink) -> None:
        try:
            async for frame in requests:
                self._frames.handle(client, frame.kind, frame.payload)
            link.close("the client ended the stream")
        except ProtocolError as error:
            _log.warning("client_malformed", client=client.id, reason=str(error))
            link.close(f"malformed: {error}")
        except grpc.aio.AioRpcError as error:
            link.close(f"the stream broke: {error.code().name}")

    def _hello(self, first: common_pb2.Frame | None) -> tuple[common_pb2.Hello, str]:
        """The hello, and why it cannot be accepted; empty when it can."""
        if first is None or first.kind != raylet_pb2.HELLO:
            return common_pb2.Hello(), "the first frame must be HELLO"
        try:
            hello = common_pb2.Hello.FromString(first.payload)
        except DecodeError:
            return common_pb2.Hello(), "the hello message cannot be parsed"
        reason = refusal(self._node, hello)
        if not reason and hello.node_id == self._node.node_id:
            reason = "processes of this node use its Unix socket, where their end is seen"
        if not reason and self._node.core.nodes.is_dead(NodeId(hello.node_id)):
            reason = f"node {hello.node_id.hex()} was declared dead"
        return hello, reason

    async def ListReferences(
        self, request: raylet_pb2.ListReferencesRequest, context: Any
    ) -> raylet_pb2.ListReferencesReply:
        return await self._node.survey.ask(self._node.clients, request.limit)

    async def Describe(self, request: raylet_pb2.DescribeRequest, context: Any) -> raylet_pb2.DescribeReply:
        core = self._node.core
        reply = raylet_pb2.DescribeReply(
            node_id=self._node.node_id, total=core.ledger.total.to_proto(), available=core.ledger.available.to_proto()
        )
        for worker in core.pool.table:
            reply.workers.add(
                worker_id=worker.id,
                pid=worker.pid,
                job_id=worker.key.job_id,
                actor_id=worker.actor_id or b"",
                lease_id=worker.lease_id or b"",
                state=worker.state.name,
                launched_at=self._node.wall(worker.launched_at),
                started_at=self._node.wall(worker.started_at),
            )
        for demand in core.demands():
            reply.demands.add(resources=demand.resources, count=demand.count, reason=demand.reason)
        reply.bundles.extend(core.bundles.held())
        return reply
