"""When extents that are not used go back to the object manager."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ray._runtime.arena.extents import OFTEN_S

if TYPE_CHECKING:
    from ray._runtime.process.process import Process


class ExtentExpiry:
    """One timer of the process's, while it holds any."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._planned = threading.Lock()  # held from the first extent until there are none

    def held(self) -> None:
        """There is an extent. On any thread; takes no lock that somebody waits for."""
        if self._planned.acquire(blocking=False):
            self._process.reactor.call_later(OFTEN_S, self._expire)

    def _expire(self) -> None:
        if self._process.arena.expire_extents():
            self._process.reactor.call_later(OFTEN_S, self._expire)
            return
        self._planned.release()
        if self._process.arena.holds_extents():  # granted since the look
            self.held()
