import asyncio

import grpc
from manta_common.ids import new_worker_id
from manta_common.rpc import method, open_channel
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2

from tests.integration.raylet.node_process import TestNode

SERVICE = raylet_pb2.DESCRIPTOR.services_by_name["Raylet"]


class RemotePeer:
    """A lease client of another node, over gRPC."""

    def __init__(self, node: TestNode, job_id: bytes) -> None:
        self.worker_id, self.job_id = new_worker_id(), job_id
        self._channel = open_channel(node.raylet.ready["address"], node.token)
        self._call = method(self._channel, SERVICE, "Channel")()

    async def send(self, kind: int, message: object) -> None:
        await self._call.write(common_pb2.Frame(kind=kind, payload=message.SerializeToString()))  # type: ignore[attr-defined]

    async def hello(self) -> None:
        hello = common_pb2.Hello(role=common_pb2.WORKER, node_id=b"R" * 28, worker_id=self.worker_id, pid=1)
        await self.send(raylet_pb2.HELLO, hello)
        assert (await self.take(raylet_pb2.WELCOME)) is not None

    async def take(self, kind: int) -> bytes:
        async with asyncio.timeout(10):
            while (frame := await self._call.read()) is not grpc.aio.EOF:
                if frame.kind == kind:
                    return bytes(frame.payload)
        raise ConnectionError("the stream ended")

    async def close(self) -> None:
        self._call.cancel()
        await self._channel.close(None)
