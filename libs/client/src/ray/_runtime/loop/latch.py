"""A gate that opens once: what a thread waits at until objects are ready."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray._runtime.loop.reactor import Reactor


class Gate:
    """Opens after `needed` calls of one_ready, or by open(). One thread waits at it.

    It is a bare lock: a threading.Event costs three times as much to make and to set.
    """

    __slots__ = ("_count", "_lock", "_needed", "opened", "reader")

    def __init__(self, needed: int) -> None:
        self.opened = False
        # The reactor in whose poll the waiting thread sleeps, while it reads by itself.
        self.reader: Reactor | None = None
        self._needed = needed
        # Its next() is one step for the interpreter: objects may become ready on several threads at once.
        self._count = itertools.count(1)
        self._lock = threading.Lock()
        self._lock.acquire()

    def one_ready(self, _object_id: bytes = b"") -> None:
        if next(self._count) == self._needed:
            self.open()

    def open(self) -> None:
        self.opened = True
        reader = self.reader
        if reader is not None:
            reader.wake_unless_handling()
        self.kick()

    def kick(self) -> None:
        """Wake the waiting thread; it looks at `opened` and at whether it has to read now."""
        try:
            self._lock.release()
        except RuntimeError:
            return  # awake already

    def wait(self, timeout_s: float) -> None:
        """Sleep until open() or kick(), or for timeout_s seconds."""
        self._lock.acquire(timeout=timeout_s)
