"""A task or call that arrived at a worker and has not started."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manta_proto.worker.v1 import worker_pb2

    from ray._runtime.transport.carrier import Peer


class Incoming:
    """One call: what is to be done, for whom, and who gets its reply."""

    __slots__ = ("batch", "peer", "task")

    def __init__(self, peer: Peer, batch: worker_pb2.Tasks, task: worker_pb2.Task) -> None:
        self.peer = peer
        self.batch = batch
        self.task = task
