"""The arena's ranges: which bytes of [0, size) are free, and which of them have been used before."""

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Final

# What SIMD code and Arrow buffers want; also one cache line, so that two objects never share one.
ALIGNMENT: Final = 64


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes [offset, offset + size); size is a multiple of ALIGNMENT, 0 for an empty object."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


def rounded(size: int) -> int:
    """The bytes that an object of that size takes."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class Arena:
    """Hands out ranges: the best fitting used ("warm") one first, since fresh memory costs a page fault per 4 KiB.

    Everything below `touched` was handed out at least once; above it lies one free tail, kept apart.
    size: bytes, rounded down to ALIGNMENT. raises: ValueError when nothing is left of it.
    """

    __slots__ = ("_by_size", "_end_of", "_start_of", "_taken", "size", "touched", "used")

    def __init__(self, size: int) -> None:
        self.size = size // ALIGNMENT * ALIGNMENT
        if self.size <= 0:
            raise ValueError(f"an arena of {size} bytes holds nothing; at least {ALIGNMENT} are needed")
        self.touched = 0
        self.used = 0
        self._taken: dict[int, int] = {}  # offset -> size
        # The warm free ranges, three ways; neighbours are always merged.
        self._end_of: dict[int, int] = {}
        self._start_of: dict[int, int] = {}
        self._by_size: list[tuple[int, int]] = []

    @property
    def available(self) -> int:
        """Free bytes, maybe in several ranges."""
        return self.size - self.used

    def allocate(self, size: int) -> Range | None:
        """A free range for `size` bytes, None when no single one is large enough.

        cost: O(log F) and a shift of a list of F free ranges. source: best fit with immediate coalescing
        (Knuth, TAOCP 1, 2.5).
        """
        if size < 0:
            raise ValueError(f"an object of {size} bytes cannot be; the size must be 0 or more")
        if size == 0:
            return Range(0, 0)
        wanted = rounded(size)
        at = bisect_left(self._by_size, (wanted, 0))
        if at < len(self._by_size):
            free, start = self._by_size[at]
            self._remove(start, start + free)
            if free > wanted:
                self._add(start + wanted, start + free)
        else:
            # A free range that ends where the tail begins is used up first, so that less is touched anew.
            start = self._start_of.get(self.touched, self.touched)
            if start + wanted > self.size:
                return None
            if start < self.touched:
                self._remove(start, self.touched)
            self.touched = start + wanted
        self._taken[start] = wanted
        self.used += wanted
        return Range(start, wanted)

    def free(self, taken: Range) -> None:
        """Take a range back. raises: ValueError when it was not handed out; a bug of the caller."""
        if taken.size == 0:
            return
        if self._taken.get(taken.offset) != taken.size:
            raise ValueError(f"{taken} was not handed out by this arena")
        del self._taken[taken.offset]
        self.used -= taken.size
        start, end = taken.offset, taken.end
        before = self._start_of.get(start)
        if before is not None:
            self._remove(before, start)
            start = before
        after = self._end_of.get(end)
        if after is not None:
            self._remove(end, after)
            end = after
        self._add(start, end)

    def split(self, taken: Range, offset: int, size: int) -> list[Range]:
        """Make a part of a range that was handed out a range by itself; returns what is left before and behind it.

        raises: ValueError when the part is not inside it, or not on ALIGNMENT.
        """
        part = Range(offset, size)
        if self._taken.get(taken.offset) != taken.size:
            raise ValueError(f"{taken} was not handed out by this arena")
        if offset % ALIGNMENT or size % ALIGNMENT or size <= 0 or offset < taken.offset or part.end > taken.end:
            raise ValueError(f"{part} is no part of {taken} in steps of {ALIGNMENT} bytes")
        rests = [Range(taken.offset, offset - taken.offset), Range(part.end, taken.end - part.end)]
        rests = [rest for rest in rests if rest.size]
        for piece in (*rests, part):
            self._taken[piece.offset] = piece.size
        return rests

    def largest_warm(self) -> int:
        """The largest size that `allocate` would grant now without touching fresh memory."""
        return self._by_size[-1][0] if self._by_size else 0

    def largest(self) -> int:
        """The largest size that `allocate` would grant now."""
        return max(self.largest_warm(), self.size - self._start_of.get(self.touched, self.touched))

    def validate(self) -> None:
        """Check every invariant. raises: AssertionError that names the broken one. cost: O(N log N)."""
        ranges = [(start, start + size, "taken") for start, size in self._taken.items()]
        ranges += [(start, end, "free") for start, end in self._end_of.items()]
        position, last = 0, ""
        for start, end, kind in sorted(ranges):
            assert start == position, f"[{position}, {start}) is neither taken nor free"
            assert start % ALIGNMENT == 0 and end > start, f"[{start}, {end}) is empty or not aligned"
            assert (last, kind) != ("free", "free"), f"free ranges meet at {start} and were not merged"
            position, last = end, kind
        assert position == self.touched <= self.size, f"ranges end at {position} and not at {self.touched}"
        assert self.used == sum(self._taken.values()), "used differs from what is taken"
        assert self._start_of == {end: start for start, end in self._end_of.items()}, "the two maps differ"
        assert self._by_size == sorted((end - start, start) for start, end in self._end_of.items()), "index differs"

    def _add(self, start: int, end: int) -> None:
        self._end_of[start] = end
        self._start_of[end] = start
        insort(self._by_size, (end - start, start))

    def _remove(self, start: int, end: int) -> None:
        del self._end_of[start]
        del self._start_of[end]
        del self._by_size[bisect_left(self._by_size, (end - start, start))]
