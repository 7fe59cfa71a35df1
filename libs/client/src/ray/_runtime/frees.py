"""Objects that nobody refers to any more, told to the object manager, and through it to those of other nodes."""

from __future__ import annotations

import collections
import logging
import threading
from typing import TYPE_CHECKING, Final

from ray._runtime.arena_errors import ArenaDisconnected

if TYPE_CHECKING:
    from ray._runtime.process import Process

log = logging.getLogger("ray.runtime")

# While the object manager is away. Beyond it the oldest copies at other nodes stay until this process ends.
_UNSENT_LIMIT: Final = 100_000


class Frees:
    """Sends what `process.to_free` gathered."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._sending = threading.Lock()
        self._unsent: collections.deque[tuple[bytes, list[bytes]]] = collections.deque(maxlen=_UNSENT_LIMIT)

    def send(self) -> None:
        """Send now; never with the process's lock held."""
        process = self._process
        # One thread at a time: who comes here for room must not go on while another holds frees that are not sent.
        with self._sending:
            with process.lock:
                items, process.to_free = [*self._unsent, *process.to_free], []
                self._unsent.clear()
            try:
                process.arena.free(items)
            except ArenaDisconnected as error:
                # What was on this node went with its object manager; the other nodes are told through its successor.
                log.debug("free_not_sent objects=%d reason=%s", len(items), error)
                self._unsent.extend(item for item in items if any(node != process.node_id for node in item[1]))

    def connected(self) -> None:
        """There is an object manager again."""
        if self._unsent:
            self._process.reactor.call_soon(self.send)
