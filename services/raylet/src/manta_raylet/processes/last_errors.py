"""The last lines of a worker's standard error: what errors quote of a process that died. A pure core.

After a crash, of which the interpreter writes the stack, they are the innermost frames of that, and what came just
before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

LAST_LINES: Final = 20
# How many lines ahead of a stack are kept: what the allocator or a native library said of it.
_LINES_BEFORE: Final = 5
# How the interpreter's fault handler begins.
_CRASH: Final = "Fatal Python error: "
# What says nothing to the user: the frames below the user's function, and which native modules were loaded.
_NOT_TOLD: Final = ("/ray/_runtime/", "/ray/_zygote/", '/manta-zygote"', '"<frozen runpy>"')
_MODULES: Final = "Extension modules: "


class LastErrors:
    """Of one worker; at most LAST_LINES lines."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._crashed = False

    def extend(self, lines: Iterable[str]) -> None:
        for line in lines:
            if line.startswith(_CRASH):
                self._crashed = True
                self._lines = deque([*self._lines][-_LINES_BEFORE:])
            if not self._crashed or (len(self._lines) < LAST_LINES and _is_told(line)):
                self._lines.append(line)

    def lines(self) -> list[str]:
        """Oldest first."""
        return list(self._lines)


def _is_told(line: str) -> bool:
    """Whether a line of a crash is worth its place."""
    if line.startswith(_MODULES) or not line.strip():
        return False
    return not (line.startswith("  File ") and any(part in line for part in _NOT_TOLD))
