"""The processes that died lately, so that whoever asks late still learns it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from manta_common.ids import WorkerId
from manta_common.kept_messages import KeptMessages
from manta_proto.common.v1 import common_pb2

LIMIT: Final = 1_000
LIMIT_BYTES: Final = 4 * 1024 * 1024


class WorkerDeaths:
    """A ring of declared deaths by worker id; the oldest leave first.

    Kept in memory only: raylets repeat what they saw when they attach to a new leader.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._dead: KeptMessages[WorkerId, common_pb2.DeadWorker] = KeptMessages(
            common_pb2.DeadWorker.FromString, limit, LIMIT_BYTES
        )

    def add(self, workers: Iterable[common_pb2.DeadWorker]) -> list[common_pb2.DeadWorker]:
        """Take deaths in; returns those that were not known."""
        fresh = []
        for worker in workers:
            worker_id = WorkerId(worker.address.worker_id)
            if worker_id in self._dead:
                continue
            self._dead.add(worker_id, worker)
            fresh.append(worker)
        return fresh

    def get(self, worker_id: bytes) -> common_pb2.DeadWorker | None:
        return self._dead.get(WorkerId(worker_id))

    def recent(self) -> list[common_pb2.DeadWorker]:
        """All that are kept, oldest first."""
        return list(self._dead.values())
