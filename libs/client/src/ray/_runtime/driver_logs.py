"""Output of the job's workers on the driver, as `(name pid=N) line`, with repeats folded."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from manta_proto.raylet.v1 import raylet_pb2

log = logging.getLogger("ray.runtime")

# A line that several processes print within this time is shown once, then counted.
FOLD_S: Final = 5.0
_REMEMBERED: Final = 512
# Notices of the scheduler that are remembered as shown; each raylet bounds what it says.
_NOTICES: Final = 1_000


class Repeats:
    """A line that was shown, and how often other processes printed it since."""

    __slots__ = ("count", "shown_at", "source", "where")

    def __init__(self, shown_at: float, source: int, where: str) -> None:
        self.shown_at = shown_at
        self.source = source
        self.where = where
        self.count = 0


class Fold:
    """Which lines were shown lately, and how often they came since; pure."""

    def __init__(self) -> None:
        self._seen: dict[str, Repeats] = {}

    def take(self, line: str, source: int, where: str, at: float) -> bool:
        """Whether to show the line now. A repeat by the same process is shown, as a program's own repeats are."""
        entry = self._seen.get(line)
        if entry is None:
            self._seen[line] = Repeats(at, source, where)
            return True
        if entry.source == source:
            return True
        entry.count += 1
        entry.where = where
        return False

    def due(self, at: float, *, everything: bool = False) -> list[tuple[str, str, int]]:
        """Lines whose time is over as (where, line, repeats that were not shown); they are forgotten."""
        surplus = len(self._seen) - _REMEMBERED
        over = [
            line
            for position, (line, entry) in enumerate(self._seen.items())
            if everything or at - entry.shown_at >= FOLD_S or position < surplus
        ]
        folded = [(line, self._seen.pop(line)) for line in over]
        return [(entry.where, line, entry.count) for line, entry in folded if entry.count]

    def __len__(self) -> int:
        return len(self._seen)


class LogPrinter:
    """Writes workers' lines to the driver's own streams. RAY_DEDUP_LOGS=0 shows every repeat.

    Notices of the scheduler are shown once each, with RAY_SCHEDULER_EVENTS=0 not at all.

    own_ip: lines of other nodes name theirs. call_later: has a function called after a delay in seconds.
    """

    def __init__(self, own_ip: str, call_later: Callable[[float, Callable[[], None]], None]) -> None:
        self._own_ip = own_ip
        self._call_later = call_later
        self._fold = Fold() if os.environ.get("RAY_DEDUP_LOGS", "1") != "0" else None
        self._notices: set[str] | None = set() if os.environ.get("RAY_SCHEDULER_EVENTS", "1") != "0" else None
        self._timer_set = False
        self._failed = False
        self._lock = threading.Lock()

    def print(self, message: raylet_pb2.LogLines) -> None:
        """Called on the reading thread for each batch that a raylet pushes."""
        now = time.monotonic()
        with self._lock:
            for batch in message.batches:
                if batch.once and not self._is_news(batch.once):
                    continue
                stream = sys.stderr if batch.is_error else sys.stdout
                ip = f", ip={batch.node_ip}" if batch.node_ip != self._own_ip else ""
                where = f"({batch.name})" if batch.once else f"({batch.name or 'worker'} pid={batch.pid}{ip})"
                fold = self._fold
                lines = [line for line in batch.lines if fold is None or fold.take(line, batch.pid, where, now)]
                if lines:
                    self._write(stream, "".join(f"{where} {line}\n" for line in lines))
            if self._fold and not self._timer_set:
                self._timer_set = True
                self._call_later(FOLD_S, self._time_is_over)

    def _write(self, stream: TextIO, text: str) -> None:
        """A stream that is closed, or that cannot encode the text, is no matter of the cluster's."""
        try:
            stream.write(text)
            stream.flush()
        except Exception as error:
            if not self._failed:
                self._failed = True
                log.warning("worker_output_not_shown stream=%r error=%r: this is said once", stream, error)

    def _is_news(self, key: str) -> bool:
        if self._notices is None or key in self._notices or len(self._notices) >= _NOTICES:
            return False
        self._notices.add(key)
        return True

    def _time_is_over(self) -> None:
        with self._lock:
            self._timer_set = False
            self._say_folded()
            if self._fold:
                self._timer_set = True
                self._call_later(FOLD_S, self._time_is_over)

    def _say_folded(self, *, everything: bool = False) -> None:
        assert self._fold is not None
        for where, line, count in self._fold.due(time.monotonic(), everything=everything):
            self._write(sys.stdout, f"{where} {line} [repeated {count}x across cluster]\n")

    def close(self) -> None:
        with self._lock:
            if self._fold is not None:
                self._say_folded(everything=True)
