"""Who wants to hear of whose death, and the deaths that are remembered for those who ask late."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from manta_common.ids import NodeId, WorkerId
from manta_common.kept_messages import KeptMessages
from manta_proto.common.v1 import common_pb2

from manta_raylet.kernel.lease import ClientId

DEATHS_KEPT: Final = 10_000
DEATHS_BYTES: Final = 8 * 1024 * 1024


class RecentDeaths:
    """The last deaths by worker id, oldest first; bounded."""

    def __init__(self, limit: int = DEATHS_KEPT) -> None:
        self._deaths: KeptMessages[WorkerId, common_pb2.DeadWorker] = KeptMessages(
            common_pb2.DeadWorker.FromString, limit, DEATHS_BYTES
        )

    def add(self, death: common_pb2.DeadWorker) -> bool:
        """returns: False when it is known already."""
        worker_id = WorkerId(death.address.worker_id)
        if worker_id in self._deaths:
            return False
        self._deaths.add(worker_id, death)
        return True

    def get(self, worker_id: WorkerId) -> common_pb2.DeadWorker | None:
        return self._deaths.get(worker_id)

    def last(self, count: int, node_id: NodeId | None = None) -> list[common_pb2.DeadWorker]:
        """The newest `count`, oldest first; of one node when it is named."""
        newest = self._deaths.newest(node_id or b"")
        found = (death for death in newest if node_id is None or death.address.node_id == node_id)
        return list(islice(found, count))[::-1]


class WatchTable:
    """Watchers by the watched process. Bounded by what clients refer to; a client that goes takes its watches along."""

    def __init__(self) -> None:
        self._watchers: dict[WorkerId, set[ClientId]] = {}
        self._watched: dict[ClientId, dict[WorkerId, NodeId]] = {}

    def watch(self, client: ClientId, node_id: NodeId, worker_id: WorkerId) -> None:
        """Idempotent."""
        self._watchers.setdefault(worker_id, set()).add(client)
        self._watched.setdefault(client, {})[worker_id] = node_id

    def forget(self, client: ClientId, worker_id: WorkerId) -> None:
        self._watched.get(client, {}).pop(worker_id, None)
        watchers = self._watchers.get(worker_id)
        if watchers is not None:
            watchers.discard(client)
            if not watchers:
                del self._watchers[worker_id]

    def client_gone(self, client: ClientId) -> None:
        for worker_id in list(self._watched.get(client, {})):
            self.forget(client, worker_id)
        self._watched.pop(client, None)

    def died(self, worker_id: WorkerId) -> set[ClientId]:
        """Who is to be told; a death is told once."""
        watchers = self._watchers.pop(worker_id, set())
        for client in watchers:
            self._watched[client].pop(worker_id, None)
        return watchers

    def on_node(self, node_id: NodeId) -> list[WorkerId]:
        """The watched processes of a node, for when all of it dies. cost: O(watches)."""
        found: dict[WorkerId, None] = {}
        for watched in self._watched.values():
            found.update((worker_id, None) for worker_id, node in watched.items() if node == node_id)
        return list(found)


def group_by_watcher(
    watchers_of: Iterable[tuple[common_pb2.DeadWorker, Iterable[ClientId]]],
) -> dict[ClientId, list[common_pb2.DeadWorker]]:
    """One message a client for many deaths."""
    news: dict[ClientId, list[common_pb2.DeadWorker]] = {}
    for death, clients in watchers_of:
        for client in clients:
            news.setdefault(client, []).append(death)
    return news
