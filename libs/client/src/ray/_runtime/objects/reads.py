"""Reads of stored objects: what a view counts as, and for how long its pin is kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ray._runtime.arena.pins import View
from ray._runtime.objects.recent_pins import KEEP_S, RecentPins

if TYPE_CHECKING:
    from ray._runtime.arena.pins import Pinned
    from ray._runtime.process.process import Process


class Reads:
    """Of one process. `recent` is changed under the process's lock only."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.recent = RecentPins()
        # Whether a timer runs; changed under the lock as well.
        self._expiring = False

    def view(self, object_id: bytes, pin: Pinned) -> View:
        """Begin to read an object: the view counts as a local reference until its end."""
        process = self._process
        with process.lock:
            process.refs.add_local(object_id)
        self.keep(object_id, pin)
        return View(pin, process.drops.note)

    def keep(self, object_id: bytes, pin: Pinned) -> None:
        """Have the object's next read cost no round trip, if it comes soon."""
        process = self._process
        with process.lock:
            if object_id not in process.objects:
                return
            self.recent.keep(object_id, pin, time.monotonic())
            begin, self._expiring = not self._expiring, True
        if begin:
            process.reactor.call_later(KEEP_S, self._expire)

    def _expire(self) -> None:
        with self._process.lock:
            more = self._expiring = self.recent.expire(time.monotonic())
        if more:
            self._process.reactor.call_later(KEEP_S, self._expire)
