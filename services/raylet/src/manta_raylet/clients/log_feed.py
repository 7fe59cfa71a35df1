"""Sends the output of a job's workers to one driver, no faster than it reads."""

from __future__ import annotations

import asyncio

from manta_common.channel.connection import ConnectionClosed
from manta_proto.raylet.v1 import raylet_pb2

from manta_raylet.clients.client import Client
from manta_raylet.processes.log_backlog import LogBacklog, LogBatch


class LogFeed:
    """A task named after its driver; it ends when it is cancelled, and rests while the driver is away."""

    def __init__(self, client: Client, node_ip: str) -> None:
        self._client = client
        self._node_ip = node_ip
        self._backlog = LogBacklog()
        self._more = asyncio.Event()
        self._flush_wanted = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"log feed of pid {client.pid}")

    def add(self, batch: LogBatch) -> None:
        self._backlog.add(batch)
        self._more.set()

    def flush(self) -> None:
        """Say LOGS_FLUSHED behind what waits now."""
        self._flush_wanted = True
        self._more.set()

    def close(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            link = self._client.link
            if link is None:
                continue  # what waits is sent with the next line after it is back
            try:
                await link.drain()
            except ConnectionClosed:
                continue
            message = raylet_pb2.LogLines(job_id=self._client.job_id)
            for batch in self._backlog.take():
                message.batches.add(
                    name=batch.name,
                    pid=batch.pid,
                    node_ip=self._node_ip,
                    is_error=batch.is_error,
                    lines=batch.lines,
                    once=batch.once,
                )
            self._client.send(raylet_pb2.LOG_LINES, message)
            if self._flush_wanted:
                self._flush_wanted = False
                self._client.send(raylet_pb2.LOGS_FLUSHED, raylet_pb2.LogsFlushed())
