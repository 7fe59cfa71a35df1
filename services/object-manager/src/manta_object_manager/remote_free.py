"""Frees on other nodes: batched, retried a few times, then given up, since copies there can be evicted anyway."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from manta_common.ids import NodeId
from manta_common.logs import get

from manta_object_manager.node_table import NodeTable, Peer

BATCH: Final = 5_000  # object ids a call
QUEUE_LIMIT: Final = 200_000  # object ids a node
ATTEMPTS: Final = 5
_FIRST_DELAY_S: Final = 0.1

_log = get("manta_object_manager")

# Sends one batch to a peer; raises OSError or a subclass when it could not.
Send = Callable[[Peer, list[bytes]], Awaitable[None]]


class RemoteFrees:
    """One queue and one task a node, which ends when the queue is empty. For the event loop's thread only."""

    def __init__(self, nodes: NodeTable, send: Send) -> None:
        self._nodes = nodes
        self._send = send
        self._queues: dict[NodeId, list[bytes]] = {}
        self._tasks: dict[NodeId, asyncio.Task[None]] = {}
        self.dropped = 0

    def add(self, node_id: NodeId, object_id: bytes) -> None:
        """Free the object there soon."""
        queue = self._queues.setdefault(node_id, [])
        if len(queue) >= QUEUE_LIMIT:
            self._drop(node_id, 1, f"{QUEUE_LIMIT} frees wait for this node")
            return
        queue.append(object_id)
        if node_id not in self._tasks:
            self._tasks[node_id] = asyncio.create_task(self._drain(node_id), name=f"frees on node {node_id.hex()}")

    def node_died(self, node_id: NodeId) -> None:
        """Its objects are gone with it."""
        self._queues.pop(node_id, None)

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _drain(self, node_id: NodeId) -> None:
        try:
            while queue := self._queues.get(node_id):
                batch = queue[:BATCH]
                del queue[:BATCH]
                await self._deliver(node_id, batch)
        finally:
            self._queues.pop(node_id, None)
            del self._tasks[node_id]

    async def _deliver(self, node_id: NodeId, batch: list[bytes]) -> None:
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(_FIRST_DELAY_S * 2**attempt)
            peer = self._nodes.find(node_id)
            if not isinstance(peer, Peer):
                reason = f"the node is {peer.name}"
                continue
            try:
                await self._send(peer, batch)
                return
            except OSError as error:
                reason = str(error)
        self._drop(node_id, len(batch), reason)

    def _drop(self, node_id: NodeId, count: int, reason: str) -> None:
        self.dropped += count
        _log.warning("remote_frees_dropped", node_id=node_id.hex(), objects=count, reason=reason)
