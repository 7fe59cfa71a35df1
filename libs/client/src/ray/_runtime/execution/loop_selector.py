"""The selector of an async actor's event loop: while the loop has nothing to run, it reads the process's channels.

The loop's own epoll is one more descriptor of the reactor, so one wait serves both. The reactor's token is held only
during the wait, as by any other thread that waits (see reading.py): while a callback runs for long, the stand-in reads.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import TYPE_CHECKING

from ray._runtime.loop.reactor import READ

if TYPE_CHECKING:
    from ray._runtime.loop.reactor import Reactor
    from ray._runtime.loop.reading import Reading


class LoopSelector(selectors.EpollSelector):
    """`before_wait` runs each time the loop has run all that was ready."""

    def __init__(self, reactor: Reactor, reading: Reading, before_wait: Callable[[], None]) -> None:
        super().__init__()
        self._reactor = reactor
        self._reading = reading
        self._before_wait = before_wait
        # The loop's wait is under way, and saw something of the loop's own.
        self._selecting = False
        self._own_ready = False
        self._watched = True
        reactor.add(self.fileno(), self._on_own)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As in selectors; timeout in seconds. What arrives on channels is handled in here."""
        self._before_wait()
        if not self._reading.try_take():
            # Another thread reads. When it leaves, the stand-in takes over, until the loop next comes here.
            return super().select(timeout)
        self._selecting = True
        try:
            if not self._watched:
                self._watched = True
                self._reactor.modify(self.fileno(), READ)
            self._reactor.poll(-1.0 if timeout is None else timeout)
        finally:
            self._selecting = False
            self._reading.leave()
        if not self._own_ready:
            return []
        self._own_ready = False
        return super().select(0)

    def _on_own(self, _events: int) -> None:
        if self._selecting:
            self._own_ready = True
            return
        # Somebody else reads, and it stays readable until the loop looks, which may take long.
        self._watched = False
        self._reactor.modify(self.fileno(), 0)


class GroupSelector(selectors.EpollSelector):
    """Of a loop on another thread, which reads no channels. `before_wait` as above."""

    def __init__(self, before_wait: Callable[[], None]) -> None:
        super().__init__()
        self._before_wait = before_wait

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As in selectors; timeout in seconds."""
        self._before_wait()
        return super().select(timeout)
