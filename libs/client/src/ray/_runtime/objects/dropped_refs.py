"""Ends of references, noted by destructors and counted by whoever reads or changes the counts next."""

from __future__ import annotations

import collections
import gc
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ray._runtime.process.process import Process

# What ends within this time of the first is counted, and told, together.
GATHER_S: Final = 0.002


class Drops:
    """Of one process. `note` and `ask` are safe on any thread and inside any destructor: they take no lock."""

    __slots__ = ("_handles", "_process", "asked", "refs")

    def __init__(self, process: Process) -> None:
        self._process = process
        # Object ids of refs, and of the last views of stored objects.
        self.refs: collections.deque[bytes] = collections.deque()
        self._handles: collections.deque[tuple[bytes, bool]] = collections.deque()
        # Whether the reader will look, now or within GATHER_S.
        self.asked = False

    def note(self, object_id: bytes) -> None:
        """A ref, or the last view, was collected."""
        self.refs.append(object_id)
        if not self.asked:
            self.ask()

    def note_handle(self, actor_id: bytes, weak: bool) -> None:
        """A handle of an actor was collected."""
        self._handles.append((actor_id, weak))
        if not self.asked:
            self.ask()

    def ask(self) -> None:
        """Something was appended, here or to what the object manager is to hear, that the reader is to empty."""
        if not self.asked and not self._process.closing:
            self.asked = True
            self._process.reactor.call_soon(self._round)

    def _round(self) -> None:
        """Empty it, and look again in a moment: what ends in a row shares one wake-up and its messages."""
        process = self._process
        try:
            if process.to_free or self._anything():
                with process.lock:
                    self.count()
                process.after_lock()
                process.arena.flush()
        finally:
            process.reactor.call_later(GATHER_S, self._again)

    def _again(self) -> None:
        if not (self._process.to_free or self._anything()):
            self.asked = False
            if not self._anything():
                return
            # Appended by somebody who saw that it was asked for.
            self.asked = True
        self._round()

    def _anything(self) -> bool:
        return bool(self.refs or self._handles or self._process.arena.has_unsent())

    def count(self) -> None:
        """Count what has ended; the lock is held, and after_lock follows."""
        process = self._process
        refs, handles, drop_some = self.refs, self._handles, process.refs.drop_some
        while refs or handles:
            if handles:
                process.actors.drop_handle(*handles.popleft())
                continue
            resting, commands = drop_some(refs)
            if resting:
                process.objects.rest(resting)
            if commands:
                process.holds.apply(commands)

    def collect(self) -> bool:
        """Collect this process's garbage, and settle. returns: whether references or views were in it.

        References that sit in cycles keep their objects until then, and nothing else would hurry the collector.
        """
        gc.collect()
        found = self._anything()
        self.settle()
        return found

    def collect_here(self) -> None:
        """As collect, for the owner of what this process holds."""
        self.collect()

    def collect_everywhere(self) -> bool:
        """As collect, here and in the processes that hold what this one owns. returns: whether room may come of it."""
        found = self.collect()
        process = self._process
        with process.lock:
            asked = process.holds.ask_holders_to_collect()
        process.after_lock()
        return found or asked

    def settle(self) -> None:
        """Count what has ended, and what was merely kept for another read, and tell whom it concerns."""
        process = self._process
        with process.lock:
            process.reads.recent.clear()
            self.count()
        process.after_lock()
        if not process.frees.sending():
            process.frees.send()
        process.arena.flush()
