"""Objects that nobody refers to any more, told to the object manager, and through it to those of other nodes."""

from __future__ import annotations

import collections
import logging
import threading
from typing import TYPE_CHECKING, Final

from ray._runtime.arena_errors import ArenaBusy, ArenaDisconnected
from ray._runtime.object_table import ObjectState

if TYPE_CHECKING:
    from ray._runtime.process import Process
    from ray._runtime.task_record import TaskRecord

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
        tried = [node for node in dict.fromkeys(record.tried_at) if process.raylets.is_alive(node)]
        for object_id in record.return_ids():
            entry = process.objects.get(object_id)
            kept = entry.nodes if entry is not None and entry.state is ObjectState.STORED else ()
            self.copies(object_id, [node for node in tried if node not in kept])

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
