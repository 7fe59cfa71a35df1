"""The lines that wait for one driver; when it is slow the oldest are dropped, and it is told how many."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

BYTES_LIMIT: Final = 4 * 1024 * 1024
# What a line costs beside its text.
_LINE_OVERHEAD: Final = 64


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Lines that one worker wrote under one name. once: see LogLines."""

    name: str
    pid: int
    is_error: bool
    lines: tuple[str, ...]
    once: str = ""

    @property
    def size(self) -> int:
        return sum(len(line) + _LINE_OVERHEAD for line in self.lines)


class LogBacklog:
    """First in, first out; bounded in bytes."""

    def __init__(self, bytes_limit: int = BYTES_LIMIT) -> None:
        self._limit = bytes_limit
        self._batches: deque[LogBatch] = deque()
        self._size = 0
        self._dropped = 0

    def add(self, batch: LogBatch) -> None:
        self._batches.append(batch)
        self._size += batch.size
        while self._size > self._limit and self._batches:
            oldest = self._batches.popleft()
            self._size -= oldest.size
            self._dropped += len(oldest.lines)

    def take(self) -> list[LogBatch]:
        """All that waits, with a line of ours first when some were dropped."""
        batches = list(self._batches)
        if self._dropped:
            text = f"{self._dropped} lines were dropped since this driver reads its workers' output too slowly"
            batches.insert(0, LogBatch("raylet", 0, True, (text,)))
        self._batches.clear()
        self._size = self._dropped = 0
        return batches
