"""The end of a worker that has served its time: it takes no more tasks, and stays while others need what it owns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ray._runtime.loop.latch import Gate

if TYPE_CHECKING:
    from ray._runtime.process.process import Process

log = logging.getLogger("ray.runtime")


class Retirement:
    """Of one worker process, after max_calls, a lease on GPUs, or a task that was cancelled by force.

    What only this process refers to, say in a global variable, keeps it from nothing.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._gate: Gate | None = None
        self._over: Callable[[], object] | None = None
        self._ended = False

    def needed(self) -> bool:
        """Whether others use objects of this process, or tasks that it submitted go on. cost: O(its objects)."""
        process = self._process
        with process.lock:
            return bool(process.submitter.pending) or self.holds_what_others_use()

    def holds_what_others_use(self) -> bool:
        """Whether the end of this process would lose others' objects; the lock is held. cost: O(its objects)."""
        return any(map(self._is_needed, self._process.refs.object_ids()))

    def _is_needed(self, object_id: bytes) -> bool:
        counts = self._process.refs.counts(object_id)
        if counts is None or counts.borrow is not None:
            return False
        return bool(counts.borrowers or counts.containers or counts.pinned)

    def wait(self) -> None:
        """Return when nobody needs this process any more, or `end` was called; on the main thread."""
        process = self._process
        gate = self._gate = Gate(1)
        process.retirement = self
        process.after_lock()
        self.look()
        if not gate.opened:
            log.info("worker_retired objects=%d tasks=%d", len(process.objects), len(process.submitter.pending))
        while not gate.opened:
            process.reading.wait(gate, 3600.0)
        process.retirement = None

    def begin(self, over: Callable[[], object]) -> None:
        """As wait, for a process whose main thread is stopped in the user's code: call `over` then, on any thread."""
        process = self._process
        self._over = over
        process.retirement = self
        log.debug("worker_outlives_its_task objects=%d", len(process.objects))
        self.look()

    def look(self) -> None:
        """Something changed in what this process owns; the lock is not held."""
        gate, over = self._gate, self._over
        if over is not None:
            with self._process.lock:
                stays = not self._ended and self.holds_what_others_use()
            if not stays:
                over()
        elif gate is not None and not gate.opened and (self._ended or not self.needed()):
            gate.open()

    def end(self) -> None:
        """Whatever is still needed is lost; safe from a signal handler."""
        self._ended = True
        if self._over is not None:
            self._over()
        elif self._gate is not None:
            self._gate.open()
