"""What a process holds, read from /proc, and whether it grows."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

MIB: Final = 1024.0 * 1024
_SHARED: Final = ("/memfd:", "/dev/shm/", "/dev/zero", "/SYSV")


@dataclass(frozen=True, slots=True)
class Sample:
    """At a time (seconds since the start): bytes of memory that only this process has, open descriptors, threads."""

    at_s: float
    bytes: int
    descriptors: int
    threads: int


@dataclass(slots=True)
class Series:
    """One process's samples, in order."""

    name: str
    samples: list[Sample] = field(default_factory=list)

    def after(self, start_s: float) -> "Series":
        return Series(self.name, [sample for sample in self.samples if sample.at_s >= start_s])

    @property
    def span_s(self) -> float:
        return self.samples[-1].at_s - self.samples[0].at_s if self.samples else 0.0

    @property
    def bytes_a_minute(self) -> float:
        """By Theil and Sen: the median of the slopes of all pairs, which a few outliers do not move."""
        return 60 * _slope([(sample.at_s, sample.bytes) for sample in self.samples])

    @property
    def descriptors_a_minute(self) -> float:
        return 60 * _slope([(sample.at_s, sample.descriptors) for sample in self.samples])

    @property
    def grown(self) -> float:
        """Bytes: from the median of the first fifth to that of the last."""
        fifth = max(1, len(self.samples) // 5)
        first, last = self.samples[:fifth], self.samples[-fifth:]
        return median(sample.bytes for sample in last) - median(sample.bytes for sample in first)


def _slope(points: Sequence[tuple[float, float]]) -> float:
    slopes = [
        (y2 - y1) / (x2 - x1) for index, (x1, y1) in enumerate(points) for x2, y2 in points[index + 1 :] if x2 > x1
    ]
    return median(slopes) if slopes else 0.0


def sample(pid: int, at_s: float) -> Sample | None:
    """None once the process is gone. Pages of the arena and of other shared memory are not the process's own."""
    with contextlib.suppress(OSError):
        own = _own_bytes(Path(f"/proc/{pid}/smaps").read_text())
        if own:
            return Sample(at_s, own, len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")))
    return None


def _own_bytes(smaps: str) -> int:
    total, shared = 0, False
    for line in smaps.splitlines():
        head, _, rest = line.partition(":")
        if " " in head or "-" in head:  # the first line of a mapping: addresses, rights, offset, device, inode, path
            shared = any(name in line for name in _SHARED)
        elif not shared and head in ("Private_Clean", "Private_Dirty"):
            total += int(rest.split()[0]) * 1024
    return total
