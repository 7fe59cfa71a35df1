"""The selector of an async actor's event loop: while the loop has nothing to run, it reads the process's channels.

The loop's own descriptors and the reactor's epoll are watched by one call. The reactor's token is held only during the
wait, as by any other thread that waits (see reading.py): while a callback runs for long, the stand-in reads.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray._runtime.reactor import Reactor
    from ray._runtime.reading import Reading


class LoopSelector(selectors.EpollSelector):
    """`before_wait` runs each time the loop has run all that was ready."""

    def __init__(self, reactor: Reactor, reading: Reading, before_wait: Callable[[], None]) -> None:
        super().__init__()
        self._reactor = reactor
        self._reading = reading
        self._before_wait = before_wait
        self._watching = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As in selectors; timeout in seconds. What arrives on channels is handled in here."""
        self._before_wait()
        reactor = self._reactor
        if not self._reading.try_take():
            # Another thread reads. When it leaves, the stand-in takes over, until the loop next comes here.
            self._watch(False)
            return super().select(timeout)
        try:
            self._watch(True)
            due = reactor.due_in()
            if due is not None:
                timeout = due if timeout is None else min(timeout, due)
            ready = super().select(timeout)
            mine = reactor.fileno()
            found = [item for item in ready if item[0].fd != mine]
            if len(found) < len(ready) or due is not None:
                reactor.poll(0.0)
            return found
        finally:
            self._reading.leave()

    def _watch(self, wanted: bool) -> None:
        if wanted is not self._watching:
            self._watching = wanted
            if wanted:
                self.register(self._reactor, selectors.EVENT_READ)
            else:
                self.unregister(self._reactor)
