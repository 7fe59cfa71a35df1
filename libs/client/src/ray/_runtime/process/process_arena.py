"""The door to the node's arena, joined to a process: its sockets to the reactor, its news to who is to hear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ray._runtime.arena.arena_client import ArenaClient
from ray._runtime.arena.extent_expiry import ExtentExpiry
from ray._runtime.process.arena_wait import arena_wait_s

if TYPE_CHECKING:
    from ray._runtime.process.process import Process


def arena_of(process: Process, path: str) -> ArenaClient:
    """path: the object manager's socket. It connects when it is first used."""

    def connected(fd: int) -> None:
        process.reactor.add(fd, process.arena.on_readable)
        process.frees.connected()
        process.recovery.arena_size = process.arena.size

    def answer(number: int) -> None:
        process.arena.collected(number, let_go=process.drops.collect_everywhere())

    return ArenaClient(
        path,
        process.identity.hello_bytes,
        on_released=lambda _object_id: process.drops.ask(),
        on_connected=connected,
        on_disconnected=process.reactor.remove,
        on_extent=ExtentExpiry(process).held,
        on_garbage=lambda number: process.reactor.call_soon(lambda: answer(number)),
        connect_timeout_s=arena_wait_s(),
    )
