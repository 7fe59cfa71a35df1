"""A protocol peer in the place of a GCS: it says what a test wants and keeps what the raylet says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from manta_common.credentials import Token
from manta_common.rpc import RpcServer
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2


class ScriptedGcs:
    def __init__(self, token: Token, epoch: int = 1) -> None:
        self.epoch = epoch
        self.attached: list[gcs_pb2.AttachNode] = []
        self.heard: list[gcs_pb2.NodeToGcs] = []
        self.refuse_with: gcs_pb2.Error | None = None
        self.nodes: list[common_pb2.NodeInfo] = []
        self.jobs: list[gcs_pb2.JobRecord] = []
        self.acknowledge = True
        self._news = asyncio.Condition()
        self._outgoing: asyncio.Queue[gcs_pb2.GcsToNodeBatch | None] = asyncio.Queue()
        self._server = RpcServer(token, part="gcs")
        self._server.add_service(gcs_pb2.DESCRIPTOR.services_by_name["Gcs"], self)
        self.address = ""

    async def start(self, listen: str = "127.0.0.1:0") -> None:
        self.address = await self._server.start(listen)

    async def stop(self) -> None:
        await self._server.stop(0)

    def say(self, epoch: int | None = None, **body: Any) -> None:
        batch = gcs_pb2.GcsToNodeBatch(epoch=self.epoch if epoch is None else epoch)
        batch.messages.append(gcs_pb2.GcsToNode(**body))
        self._outgoing.put_nowait(batch)

    def end_stream(self) -> None:
        self._outgoing.put_nowait(None)

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Wait until what was heard makes it true."""
        async with asyncio.timeout(15), self._news:
            await self._news.wait_for(holds)
        return holds()

    def said(self, body: str) -> list[Any]:
        return [getattr(message, body) for message in self.heard if message.HasField(body)]

    async def Connect(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[gcs_pb2.GcsBatch]:
        async for _ in requests:
            yield gcs_pb2.GcsBatch()

    async def Attach(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[gcs_pb2.GcsToNodeBatch]:
        first = await anext(aiter(requests))
        async with self._news:
            self.attached.append(first.messages[0].attach)
            self.heard += first.messages[1:]
            self._news.notify_all()
        if self.refuse_with is not None:
            yield gcs_pb2.GcsToNodeBatch(messages=[gcs_pb2.GcsToNode(refused=self.refuse_with)])
            return
        while not self._outgoing.empty():
            self._outgoing.get_nowait()
        self.say(attached=gcs_pb2.Attached(cluster_id="c", nodes=self.nodes, jobs=self.jobs))
        reader = asyncio.create_task(self._read(requests))
        try:
            while (batch := await self._outgoing.get()) is not None:
                yield batch
        finally:
            reader.cancel()

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        async for batch in requests:
            async with self._news:
                self.heard += batch.messages
                self._news.notify_all()
            for message in batch.messages:
                if message.HasField("drain_done"):
                    self.end_stream()
                if message.HasField("look_up_nodes"):
                    self.say(nodes_looked_up=gcs_pb2.NodesLookedUp(node_ids=message.look_up_nodes.node_ids))
                if message.HasField("workers_died") and self.acknowledge:
                    received = gcs_pb2.WorkersDiedReceived(report_id=message.workers_died.report_id)
                    self.say(workers_died_received=received)
