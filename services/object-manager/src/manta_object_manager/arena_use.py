"""Tells the node's raylet how much of the arena is in use, about once a second and only when that has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from manta_proto.common.v1.common_pb2 import Role
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

from manta_object_manager.client_server import LocalClient

# As often as a raylet tells its GCS that it lives: sooner nobody would see it.
INTERVAL_S: Final = 1.0


class ArenaUse:
    """used: reads the bytes in use. clients: those that are connected."""

    def __init__(self, used: Callable[[], int], clients: Callable[[], Iterable[LocalClient]]) -> None:
        self._used = used
        self._clients = clients
        self._told: dict[LocalClient, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self.start)
        self.tell()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def tell(self) -> None:
        used = self._used()
        told = {}
        for client in self._clients():
            if client.hello.role == Role.RAYLET and not client.closed:
                if self._told.get(client) != used:
                    client.send(pb.ARENA_USE, pb.ArenaUse(used=used))
                told[client] = used
        self._told = told
