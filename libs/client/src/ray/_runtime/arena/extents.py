"""Extents as the client that holds them uses them: objects are carved off the front, without a message.

A pure core: no lock, no clock; times are seconds of any one clock, sizes and offsets bytes of the arena.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ALIGNMENT: Final = 64
# Of the arena, for one object or extent. Larger objects are asked for one by one.
_SHARE: Final = 16
SMALLEST_EXTENT: Final = 4 * 1024 * 1024
# Unless one object is larger.
LARGEST_EXTENT: Final = 64 * 1024 * 1024
# So many objects an extent: its two messages are shared by that many.
OBJECTS: Final = 16
# Two such writes this close to each other are "often"; an extent unused for as long goes back.
OFTEN_S: Final = 1.0
# After a refusal, or after room was asked back.
PAUSE_S: Final = 1.0
# Parts that were taken back, and are kept for objects of the same size.
_AGAIN: Final = OBJECTS
# An extent is asked for while this share of the present one is left.
_LEFT: Final = 2


def rounded(size: int) -> int:
    """The bytes that an object of that size takes."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes [offset, offset + size) of the arena, in an extent of that number; size is a multiple of ALIGNMENT."""

    extent: int
    offset: int
    size: int


class Extents:
    """What one connection holds: the extent in use, and the one after it.

    arena_bytes: its size. Objects over a sixteenth of it are never carved.
    """

    def __init__(self, arena_bytes: int) -> None:
        self._largest_object = arena_bytes // _SHARE
        self._current = Part(0, 0, 0)  # what is left of it
        self._whole = 0  # bytes that it had
        self._spare: Part | None = None
        # Parts taken back that do not touch what is left; the last is the warmest.
        self._again: list[Part] = []
        self._asked = False
        self._written_at = float("-inf")
        self._used_at = float("-inf")
        self._paused_until = float("-inf")

    @property
    def holds(self) -> bool:
        """Whether there is anything to give back."""
        return self._current.size > 0 or self._spare is not None or bool(self._again)

    @property
    def bytes(self) -> int:
        """Not carved yet."""
        return sum(part.size for part in self._parts())

    def suits(self, size: int) -> bool:
        """Whether an object of that size may be carved."""
        return 0 < size <= self._largest_object

    def carve(self, size: int, now: float) -> tuple[Part | None, list[Part]]:
        """A part for an object of that size, None when there is none; and what is not to be used any more."""
        whole = rounded(size)
        for at in reversed(range(len(self._again))):
            if self._again[at].size == whole:
                self._used_at = now
                return self._again.pop(at), []
        over: list[Part] = []
        if whole > self._current.size and self._spare is not None:
            over = [*self._again, *([self._current] if self._current.size else ())]
            self._again = []
            self._current, self._spare = self._spare, None
            self._whole = self._current.size
        left = self._current
        if whole > left.size:
            return None, over
        self._used_at = now
        part = Part(left.extent, left.offset, whole)
        self._current = Part(left.extent, left.offset + whole, left.size - whole)
        return part, over

    def taken_back(self, part: Part, now: float) -> list[Part]:
        """A carved part that nobody was told of is free again: the next object is written where memory is warm.

        returns: what is to be given back instead.
        """
        if now < self._paused_until:
            return [part]
        if not self._join(part):
            self._again.append(part)
        while self._again and self._join(self._again[-1]):
            self._again.pop()
        return [self._again.pop(0)] if len(self._again) > _AGAIN else []

    def wish(self, size: int, now: float) -> int:
        """After each write of an object of that size: how large an extent to ask for now, 0 for none."""
        often = now - self._written_at < OFTEN_S
        self._written_at = now
        if self._asked or self._spare is not None or not often or now < self._paused_until:
            return 0
        if self._current.size >= max(size, self._whole // _LEFT):
            return 0
        self._asked = True
        return max(rounded(size), min(max(SMALLEST_EXTENT, OBJECTS * size), LARGEST_EXTENT))

    def granted(self, part: Part, now: float) -> None:
        """The answer to the wish; of size 0 when it is refused."""
        self._asked = False
        if not part.size:
            self._paused_until = now + PAUSE_S
            return
        self._used_at = now
        self._spare = part

    def give_back(self, now: float) -> list[Part]:
        """Room is short: all that is not carved, and nothing new for a while."""
        self._paused_until = now + PAUSE_S
        return self._drop()

    def expire(self, now: float) -> list[Part]:
        """All that is not carved, if nothing was carved for OFTEN_S."""
        return self._drop() if now - self._used_at >= OFTEN_S else []

    def _join(self, part: Part) -> bool:
        """Put a part back before what is left, if it lay there."""
        left = self._current
        if part.extent != left.extent or part.offset + part.size != left.offset:
            return False
        self._current = Part(left.extent, part.offset, part.size + left.size)
        return True

    def _parts(self) -> list[Part]:
        return [part for part in (self._current, self._spare, *self._again) if part is not None and part.size]

    def _drop(self) -> list[Part]:
        parts = self._parts()
        self._current, self._whole, self._spare, self._again = Part(0, 0, 0), 0, None, []
        return parts
