"""Asking every driver and worker of the node what it holds of objects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2

from manta_raylet.clients.client import Client
from manta_raylet.kernel.lease import ClientId

ANSWER_TIMEOUT_S: Final = 5.0
# Of one process; the whole reply is bounded by the size of a gRPC message.
LIMIT: Final = 100_000


class _Round:
    """One question under way."""

    def __init__(self, asked: set[ClientId]) -> None:
        self.waiting = asked
        self.answers: dict[ClientId, raylet_pb2.ReferenceList] = {}
        self.done = asyncio.Event()


class ReferenceSurvey:
    """A process that does not answer in time (its reader is busy, or it ended) is missing, and counted."""

    def __init__(self) -> None:
        self._rounds: dict[int, _Round] = {}
        self._last = 0

    async def ask(self, clients: Iterable[Client], limit: int) -> raylet_pb2.ListReferencesReply:
        self._last += 1
        request_id = self._last
        wanted = raylet_pb2.ReferencesWanted(request_id=request_id, limit=min(limit or LIMIT, LIMIT))
        local = {client.id: client for client in clients if client.local}
        asked = {client.id for client in local.values() if client.send(raylet_pb2.REFERENCES_WANTED, wanted)}
        if asked:
            self._rounds[request_id] = current = _Round(asked)
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await current.done.wait()
            except TimeoutError:
                pass  # the reply says how many are missing
            finally:
                del self._rounds[request_id]
        else:
            current = _Round(asked)
        reply = raylet_pb2.ListReferencesReply(silent=len(current.waiting))
        for client_id, references in current.answers.items():
            client = local[client_id]
            address = common_pb2.WorkerAddress(node_id=client.node_id, worker_id=client_id)
            reply.processes.add(address=address, pid=client.pid, is_driver=client.is_driver, references=references)
        return reply

    def answered(self, client_id: ClientId, references: raylet_pb2.ReferenceList) -> None:
        """An answer that comes too late is for nobody."""
        current = self._rounds.get(references.request_id)
        if current is not None and client_id in current.waiting:
            current.waiting.discard(client_id)
            current.answers[client_id] = references
            if not current.waiting:
                current.done.set()
