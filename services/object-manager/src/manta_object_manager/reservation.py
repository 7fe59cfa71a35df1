"""Reserving the arena's memory off the event loop, in order, and ahead of need."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from manta_common.logs import get

from manta_object_manager.memory import STEP_BYTES, ArenaMemory, MemoryShort

AHEAD_BYTES: Final = 256 * 1024 * 1024
_IDLE_S: Final = 0.05
# Up to here the kernel is faster than a thread switch.
_INLINE_BYTES: Final = STEP_BYTES

_log = get("manta_object_manager")

Done = Callable[[MemoryShort | None], None]


class Reservations:
    """Makes memory ready before anybody writes to it. For the event loop's thread only.

    idle: whether nobody is writing; memory is reserved ahead of need only then.
    """

    def __init__(self, memory: ArenaMemory, idle: Callable[[], bool] = lambda: True) -> None:
        self._memory = memory
        self._idle = idle
        self._thread = ThreadPoolExecutor(1, "arena-reserve")
        # Now, so that a system that has no thread left later does not matter.
        self._thread.submit(int)
        self._pending = 0
        self._ahead: asyncio.TimerHandle | None = None
        self._closed = False

    def reserve(self, end: int, done: Done) -> None:
        """Call done, now or later, once [0, end) can be touched, or with why it cannot."""
        memory = self._memory
        if end <= memory.reserved:
            done(None)
            return
        self._plan_ahead(end)
        if not self._pending and end - memory.reserved <= _INLINE_BYTES:
            try:
                memory.reserve(end)
            except MemoryShort as error:
                done(error)
            else:
                done(None)
            return
        self._submit(end, done)

    def close(self) -> None:
        self._closed = True
        if self._ahead is not None:
            self._ahead.cancel()
        self._thread.shutdown(wait=True)

    def _submit(self, end: int, done: Done) -> None:
        loop = asyncio.get_running_loop()
        self._pending += 1

        def work() -> None:
            problem: MemoryShort | None = None
            try:
                self._memory.reserve(end)
            except MemoryShort as error:
                problem = error
            except OSError as error:
                problem = MemoryShort(f"the arena's memory cannot be reserved: {error}")
            loop.call_soon_threadsafe(finish, problem)

        def finish(problem: MemoryShort | None) -> None:
            self._pending -= 1
            if not self._closed:
                done(problem)

        self._thread.submit(work)

    def _plan_ahead(self, end: int) -> None:
        """When nothing new was needed for a moment, reserve as much again as is used, at most AHEAD_BYTES."""
        if self._ahead is not None:
            self._ahead.cancel()
        target = min(end + min(end, AHEAD_BYTES), self._memory.size)
        self._ahead = asyncio.get_running_loop().call_later(_IDLE_S, self._step_ahead, target)

    def _step_ahead(self, target: int) -> None:
        self._ahead = None
        end = min(target, self._memory.reserved + STEP_BYTES)
        if self._closed or end <= self._memory.reserved:
            return
        if not self._idle():
            self._ahead = asyncio.get_running_loop().call_later(_IDLE_S, self._step_ahead, target)
            return

        def stepped(problem: MemoryShort | None) -> None:
            if problem is not None:
                _log.debug("arena_not_reserved_ahead", reason=str(problem))
            elif self._ahead is None:  # else somebody needed more meanwhile, and planned anew
                self._step_ahead(target)

        self._submit(end, stepped)
