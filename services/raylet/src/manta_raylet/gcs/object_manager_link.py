"""The link to this node's object manager: it is told who lives, and tells where it serves."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from google.protobuf.message import DecodeError, Message
from manta_common.channel.connection import Connection, ConnectionClosed
from manta_common.channel.framing import ProtocolError
from manta_common.channel.hello import HelloRefused
from manta_common.channel.unix_asyncio import connect_unix
from manta_common.ids import JobId, WorkerId
from manta_common.logs import get
from manta_proto.common.v1 import common_pb2
from manta_proto.object_manager.v1 import object_manager_pb2
from manta_proto.raylet.v1 import raylet_pb2

from manta_raylet.clients.node import Node

_log = get("manta_raylet.object_manager")

FIRST_RETRY_S: Final = 0.02
LONGEST_RETRY_S: Final = 1.0
_JOBS_KEPT: Final = 1_000


class ObjectManagerLink:
    """Connects, and connects again when it was restarted; then it is told all that it may have missed."""

    def __init__(self, path: str, node: Node, on_addresses: Callable[[object_manager_pb2.ArenaWelcome], None]) -> None:
        self._path = path
        self._node = node
        self._on_addresses = on_addresses
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended_jobs: deque[JobId] = deque(maxlen=_JOBS_KEPT)
        self.answered = asyncio.Event()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="object manager link")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def connect_again(self) -> None:
        """The node has another id now."""
        if self._connection is not None:
            self._connection.close("the node has another id")

    def nodes(self, infos: list[common_pb2.NodeInfo]) -> None:
        self._send(object_manager_pb2.NODES, object_manager_pb2.Nodes(nodes=infos))

    def workers_died(self, deaths: list[common_pb2.DeadWorker]) -> None:
        self._send(object_manager_pb2.WORKERS_DIED, object_manager_pb2.WorkersDied(workers=deaths))

    def prefetch(self, arguments: Iterable[raylet_pb2.LeaseArgument]) -> None:
        """Have objects brought that tasks will ask for; while it is away, the tasks bring them."""
        items = [
            object_manager_pb2.Prefetch.Item(
                object_id=argument.object_id, size=argument.size, node_ids=argument.node_ids, owner=argument.owner
            )
            for argument in arguments
        ]
        self._send(object_manager_pb2.PREFETCH, object_manager_pb2.Prefetch(items=items))

    def job_ended(self, job_id: JobId, surviving: Iterable[WorkerId]) -> None:
        self._ended_jobs.append(job_id)
        ended = object_manager_pb2.JobEnded(job_id=job_id, surviving_worker_ids=sorted(surviving))
        self._send(object_manager_pb2.JOB_ENDED, ended)

    def _send(self, kind: int, message: Message) -> None:
        """Lost while it is away: it is told everything when it is back."""
        if self._connection is None or self._connection.closed:
            return
        try:
            self._connection.send(kind, message)
        except ConnectionClosed as error:
            _log.warning("object_manager_not_reached", reason=str(error))

    async def _run(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            try:
                await self._serve()
                retry_s = FIRST_RETRY_S
            except (OSError, HelloRefused, ProtocolError, DecodeError, TimeoutError) as error:
                _log.info("object_manager_not_there", path=self._path, reason=str(error), retry_s=round(retry_s, 3))
            await asyncio.sleep(retry_s)  # backoff: nothing tells when it serves again
            retry_s = min(retry_s * 1.5, LONGEST_RETRY_S)

    async def _serve(self) -> None:
        hello = common_pb2.Hello(role=common_pb2.RAYLET, node_id=self._node.node_id, pid=os.getpid(), name="raylet")
        connection = await connect_unix(self._path, self._node.token, hello)
        try:
            assert connection.welcome is not None, "connect_unix returns welcomed connections"
            self._connection = connection
            self._on_addresses(object_manager_pb2.ArenaWelcome.FromString(connection.welcome.details))
            self.nodes([self._node.info(), *self._node.core.nodes.infos()])
            self.workers_died(self._node.deaths.last(1_000))
            for job_id in self._ended_jobs:
                surviving = sorted(self._node.survivors(job_id))
                ended = object_manager_pb2.JobEnded(job_id=job_id, surviving_worker_ids=surviving)
                self._send(object_manager_pb2.JOB_ENDED, ended)
            self.answered.set()
            _log.info("object_manager_connected", path=self._path)
            async for kind, payload in connection:
                if kind == object_manager_pb2.ARENA_USE:
                    self._node.arena_used = object_manager_pb2.ArenaUse.FromString(payload).used
                    self._node.gcs.changed()
                else:
                    # Of a later version; what it means is nothing that this raylet waits for.
                    _log.debug("object_manager_frame_ignored", kind=kind)
            _log.warning("object_manager_left", reason=connection.reason)
        finally:
            self._connection = None
            connection.close()
