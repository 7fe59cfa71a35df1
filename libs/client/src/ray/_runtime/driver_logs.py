"""Output of the job's workers on the driver, as `(name pid=N) line`, with repeats folded."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from manta.proto.raylet.v1 import raylet_pb2

# A line that several processes print within this time is shown once, then counted.
FOLD_S: Final = 5.0
_REMEMBERED: Final = 512


class Fold:
    """Which lines were shown lately, and how often they came since; pure."""

    def __init__(self) -> None:
        self._seen: dict[str, list[float | int]] = {}

    def take(self, line: str, source: str, at: float) -> bool:
        """Whether to show the line now. A repeat by the same process is shown, as a program's own repeats are."""
        entry = self._seen.get(line)
        if entry is None or at - float(entry[0]) > FOLD_S:
            self._seen[line] = [at, 0, hash(source)]
            return True
        if entry[2] == hash(source):
            return True
        entry[1] = int(entry[1]) + 1
        return False

    def due(self, at: float, *, everything: bool = False) -> list[tuple[str, int]]:
        """Lines whose time is over, with how many repeats were not shown; they are forgotten."""
        over = [
            line
            for position, (line, entry) in enumerate(self._seen.items())
            if everything or at - float(entry[0]) > FOLD_S or len(self._seen) - position > _REMEMBERED
        ]
        folded = [(line, int(self._seen.pop(line)[1])) for line in over]
        return [(line, count) for line, count in folded if count]


class LogPrinter:
    """Writes workers' lines to the driver's own streams."""

    def __init__(self) -> None:
        self._fold = Fold()
        self._lock = threading.Lock()

    def print(self, message: raylet_pb2.LogLines) -> None:
        """Called on the reading thread for each batch that a raylet pushes."""
        now = time.monotonic()
        with self._lock:
            for batch in message.batches:
                stream = sys.stderr if batch.is_error else sys.stdout
                name = batch.name or "worker"
                where = f", ip={batch.node_ip}" if batch.node_ip else ""
                shown = [line for line in batch.lines if self._fold.take(line, f"{batch.pid}", now)]
                if shown:
                    stream.write("".join(f"({name} pid={batch.pid}{where}) {line}\n" for line in shown))
                    stream.flush()
            self._say_folded(now)

    def _say_folded(self, now: float, *, everything: bool = False) -> None:
        for line, count in self._fold.due(now, everything=everything):
            times = "once" if count == 1 else f"{count} times"
            sys.stdout.write(f"{line} [repeated {times} by other processes]\n")
        sys.stdout.flush()

    def close(self) -> None:
        with self._lock:
            self._say_folded(time.monotonic(), everything=True)
