"""What ps and top show of a worker: `ray::IDLE`, the call that has run for some milliseconds, or its actor's class.

Linux shows a process's arguments as they lie in its own memory, so they are written over there: nothing is allocated,
and a fork costs no more than one copied page. Short calls never get here: the stand-in looks, see reading.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING, Final

from ray._runtime.loop.reading import TAKE_OVER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ray._runtime.execution.execution import Execution

_PREFIX: Final = "ray::"
IDLE: Final = _PREFIX + "IDLE"
# Of /proc/self/stat behind the name, which may hold spaces: where the arguments begin and end.
_ARGUMENTS: Final = slice(45, 47)
_NAME_BYTES: Final = 15


class ProcessTitle:
    """Of this process and what is forked from it. Any thread may write it."""

    def __init__(self) -> None:
        self._start = self._size = 0
        # Where this is not Linux's /proc, or hides the addresses, the title stays what it is.
        with contextlib.suppress(OSError, ValueError), open("/proc/self/stat", "rb") as file:
            start, end = map(int, file.read().rpartition(b")")[2].split()[_ARGUMENTS])
            self._start, self._size = start, end - start if start else 0

    def write(self, title: str) -> None:
        """Show it, as much of it as there is room for where the command line was."""
        if self._size <= 0:
            return
        raw = title.encode(errors="replace").replace(b"\0", b" ")
        # The last byte stays zero: Linux shows what lies behind the arguments where it is not.
        shown = raw[: self._size - 1].ljust(self._size, b"\0")
        ctypes.memmove(self._start, shown, self._size)
        # Not prctl, which names the thread that calls it.
        with contextlib.suppress(OSError):
            # Without a file object: each worker comes here right after its fork, when all that it touches is copied.
            name = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(name, raw[:_NAME_BYTES])
            finally:
                os.close(name)


class WorkerTitle:
    """Which title a worker has; none before `begin`: a zygote makes workers ahead, and keeps its own title."""

    def __init__(self, title: ProcessTitle) -> None:
        self._title = title
        self._begun = False
        self._idle = IDLE
        # The call that is shown.
        self.named: Execution | None = None

    def begin(self) -> None:
        """This process is a worker from now on."""
        self._begun = True
        self.idle()

    def idle(self, name: str = "") -> None:
        """Nothing of note runs. name: from now on, when nothing does: of the actor that lives here."""
        if name:
            self._idle = _PREFIX + name
        self.named = None
        if self._begun:
            self._title.write(self._idle)

    def name(self, execution: Execution) -> None:
        self.named = execution
        self._title.write(_PREFIX + execution.name.rpartition("<locals>.")[2])
        if execution.over:  # meanwhile, and whoever ended it may have looked before it was named
            self.idle()

    def look(self, now: float, calls: Sequence[tuple[Execution, bool]]) -> None:
        """Show the call that has run longest, if it has run for some milliseconds. now: Unix time; calls: that run."""
        if not self._begun or (self.named is not None and not self.named.over):
            return
        long = [execution for execution, _ in calls if now - execution.started_at >= TAKE_OVER_S]
        # One whose arguments are still on their way has no name yet.
        named = [execution for execution in long if execution.function_name]
        if named:
            self.name(min(named, key=_started_at))


def _started_at(execution: Execution) -> float:
    return execution.started_at
