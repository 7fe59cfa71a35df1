"""Objects that nobody refers to any more, told to the object manager, and through it to those of other nodes."""

from __future__ import annotations

import collections
import logging
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from ray._runtime.arena.arena_errors import ArenaBusy, ArenaDisconnected
from ray._runtime.objects.object_table import ObjectState

if TYPE_CHECKING:
    from ray._runtime.process.process import Process
    from ray._runtime.specs.task_record import TaskRecord

log = logging.getLogger("ray.runtime")

# While the object manager is away. Beyond it the oldest copies at other nodes stay until this process ends.
_UNSENT_LIMIT: Final = 100_000


class Frees:
    """Sends what `process.to_free` gathered."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._sending = threading.RLock()
        # Copies that earlier attempts of a task left at other nodes than those of its result.
        self._stale: list[tuple[bytes, list[bytes]]] = []
        self._unsent: collections.deque[tuple[bytes, list[bytes]]] = collections.deque(maxlen=_UNSENT_LIMIT)
        # What processes that are given up, and not declared dead yet, may store still.
        self._when_dead: dict[bytes, tuple[bytes, list[bytes]]] = {}

    def sending(self) -> bool:
        """Whether this thread is in the middle of `send`: a finalizer runs there, and must not begin another."""
        return bool(self._sending._is_owned())  # type: ignore[attr-defined]

    def send(self) -> None:
        """Send now; never with the process's lock held, nor while `sending`."""
        process = self._process
        # One thread at a time: who comes here for room must not go on while another holds frees that are not sent.
        with self._sending:
            with process.lock:
                items, process.to_free = [*self._unsent, *process.to_free], []
                self._unsent.clear()
                stale, self._stale = self._stale, []
            try:
                process.arena.free(items, stale)
            except ArenaBusy:
                with process.lock:
                    self._unsent.extend(items)
                    self._stale = [*stale, *self._stale]
                # It may have been made between that answer and our note of it; else `connected` comes behind it.
                if process.arena.size:
                    process.reactor.call_soon(self.send)
            except ArenaDisconnected as error:
                # What was on this node went with its object manager; the other nodes are told through its successor.
                log.debug("free_not_sent objects=%d reason=%s", len(items), error)
                self._unsent.extend(item for item in items if any(node != process.node_id for node in item[1]))

    def earlier(self, record: TaskRecord) -> None:
        """Free what attempts that died may have stored where the results of the task are not; the lock is held."""
        process = self._process
        for trial in record.tried_at:
            peer = trial.peer
            if not process.raylets.is_alive(peer.node_id):
                continue
            object_ids = record.made_by(trial)
            self._left_at(peer.node_id, object_ids)
            if not trial.replied and not process.refs.is_dead(peer.worker_id):
                process.watch(peer)
                self._when_dead.setdefault(peer.worker_id, (peer.node_id, []))[1].extend(object_ids)

    def worker_died(self, worker_id: bytes) -> None:
        """A declared death: what the process stored, it has stored; the lock is held."""
        node_id, object_ids = self._when_dead.pop(worker_id, (b"", ()))
        if object_ids and self._process.raylets.is_alive(node_id):
            self._left_at(node_id, object_ids)

    def _left_at(self, node_id: bytes, object_ids: Iterable[bytes]) -> None:
        objects = self._process.objects
        for object_id in object_ids:
            entry = objects.get(object_id)
            kept = entry.nodes if entry is not None and entry.state is ObjectState.STORED else ()
            if node_id not in kept:
                self.copies(object_id, [node_id])

    def copies(self, object_id: bytes, nodes: list[bytes]) -> None:
        """Free copies at these nodes that are not those of the object; the lock is held."""
        if nodes:
            if not self._stale:
                self._process.reactor.call_soon(self.send)
            self._stale.append((object_id, nodes))

    def connected(self) -> None:
        """There is an object manager again."""
        if self._unsent or self._stale:
            self._process.reactor.call_soon(self.send)
