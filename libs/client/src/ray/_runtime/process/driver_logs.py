"""Output of the job's workers on the driver, as `(name pid=N) line`, with what many processes print shown once."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

if TYPE_CHECKING:
    from manta_proto.raylet.v1 import raylet_pb2

log = logging.getLogger("ray.runtime")

# A line that several processes print within this time is shown once, then counted.
DEFAULT_WINDOW_S: Final = 5.0
_REMEMBERED: Final = 512
# Notices of the scheduler that are remembered as shown; each raylet bounds what it says.
_NOTICES: Final = 1_000

_HAS_DIGIT: Final = re.compile(r"\d").search
_HINT: Final = (
    " (Lines that differ in numbers only are folded over all processes. Set RAY_DEDUP_LOGS=0 to disable log "
    "deduplication; docs/output.md has more options.)"
)
_RESET: Final = "\x1b[0m"
_GREEN: Final = "\x1b[32m"
_YELLOW: Final = "\x1b[33m"
_CYAN: Final = "\x1b[36m"
# Of processes, by pid: magenta, cyan, green, grey, light blue, light magenta.
_BY_PID: Final = ("\x1b[35m", _CYAN, _GREEN, "\x1b[90m", "\x1b[94m", "\x1b[95m")

# Of a process: its node's address and its pid.
Source = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """What the environment says of workers' output.

    folds: whether repeats are counted. always: lines that never are. never: lines that are not shown at all, unless
    `always` matches. colour: "0" none, "1" by pid whatever the stream is, else one for all on a terminal. prefix:
    whether lines begin with who wrote them.
    """

    folds: bool = True
    window_s: float = DEFAULT_WINDOW_S
    always: re.Pattern[str] | None = None
    never: re.Pattern[str] | None = None
    colour: str = ""
    notices: bool = True
    prefix: bool = True

    @classmethod
    def read(cls, env: Mapping[str, str]) -> OutputOptions:
        """raises: ValueError naming the variable that cannot be used."""
        text = env.get("RAY_DEDUP_LOGS_AGG_WINDOW_S", "") or str(DEFAULT_WINDOW_S)
        try:
            window_s = float(text)
        except ValueError:
            window_s = -1.0
        if not 0 <= window_s < 1e6:
            raise ValueError(f"RAY_DEDUP_LOGS_AGG_WINDOW_S is {text!r}; expected a number of seconds from 0 on")
        return cls(
            folds=env.get("RAY_DEDUP_LOGS", "1").lower() not in ("0", "false"),
            window_s=window_s,
            always=_pattern(env, "RAY_DEDUP_LOGS_ALLOW_REGEX"),
            never=_pattern(env, "RAY_DEDUP_LOGS_SKIP_REGEX"),
            colour=env.get("RAY_COLOR_PREFIX", ""),
            notices=env.get("RAY_SCHEDULER_EVENTS", "1") != "0",
            prefix=env.get("RAY_DISABLE_WORKER_LOG_PREFIX", "0").lower() not in ("1", "true"),
        )


def _pattern(env: Mapping[str, str], name: str) -> re.Pattern[str] | None:
    text = env.get(name, "")
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise ValueError(f"{name} is {text!r}, which is no regular expression: {error}") from None


class _Repeats:
    """A pattern that was shown, and how often lines of it came since without being shown."""

    __slots__ = ("at", "count", "line", "many", "source", "where")

    def __init__(self, at: float, source: Source, where: str, line: str) -> None:
        self.at = at
        self.source = source
        self.many = False  # other processes print it too
        self.where = where
        self.line = line
        self.count = 0


class Folded(NamedTuple):
    """The latest line of a pattern, and how many it stands for."""

    where: str
    line: str
    repeats: int
    pid: int


class Fold:
    """Which patterns of lines were shown lately on one stream, and how often they came since; pure.

    Lines that differ only in words with digits are of one pattern. One that is nothing but such words has none.
    """

    def __init__(self, window_s: float = DEFAULT_WINDOW_S) -> None:
        self._window_s = window_s
        # By the time since which they count: the oldest first.
        self._seen: dict[str, _Repeats] = {}

    def take(self, line: str, source: Source, where: str, at: float) -> bool:
        """Whether to show the line now. Repeats by one process alone are shown, as a program's own repeats are."""
        pattern = " ".join([word for word in line.split() if not _HAS_DIGIT(word)])
        if not pattern:
            return True
        entry = self._seen.get(pattern)
        if entry is None:
            self._seen[pattern] = _Repeats(at, source, where, line)
            return True
        if not entry.many and entry.source == source:
            return True
        entry.many = True
        entry.count += 1
        entry.where, entry.line, entry.source = where, line, source
        return False

    def due(self, at: float, *, everything: bool = False) -> list[Folded]:
        """What came in windows that are over. A pattern goes on being counted while more than one line of it comes."""
        surplus = len(self._seen) - _REMEMBERED
        over = [
            pattern
            for position, (pattern, entry) in enumerate(self._seen.items())
            if everything or at - entry.at >= self._window_s or position < surplus
        ]
        folded = []
        for position, pattern in enumerate(over):
            entry = self._seen.pop(pattern)
            if entry.count:
                folded.append(Folded(entry.where, entry.line, entry.count, entry.source[1]))
            if entry.count > 1 and not everything and position >= surplus:
                entry.at, entry.count = at, 0
                self._seen[pattern] = entry
        return folded

    def __len__(self) -> int:
        return len(self._seen)


class LogPrinter:
    """Writes workers' lines to the driver's own streams; notices of the scheduler are shown once each.

    own_ip: lines of other nodes name theirs. call_later: has a function called after a delay in seconds. prefix:
    whether lines say who wrote them; a LoggingConfig has them say it themselves.
    """

    def __init__(
        self,
        own_ip: str,
        call_later: Callable[[float, Callable[[], None]], None],
        options: OutputOptions,
        *,
        prefix: bool = True,
    ) -> None:
        self._own_ip = own_ip
        self._call_later = call_later
        self._options = options
        self._prefix = prefix and options.prefix
        # By whether it is standard error.
        self._folds = {is_error: Fold(options.window_s) for is_error in (False, True)} if options.folds else {}
        self._hinted = False
        self._notices: set[str] = set()
        self._timer_set = False
        self._failed = False
        self._lock = threading.Lock()

    def print(self, message: raylet_pb2.LogLines) -> None:
        """Called on the reading thread for each batch that a raylet pushes."""
        now = time.monotonic()
        with self._lock:
            for batch in message.batches:
                stream = sys.stderr if batch.is_error else sys.stdout
                if batch.once:
                    if self._is_news(batch.once):
                        self._write(stream, [(f"({batch.name})", line, _notice_colour(line)) for line in batch.lines])
                    continue
                ip = f", ip={batch.node_ip}" if batch.node_ip != self._own_ip else ""
                where = f"({batch.name or 'worker'} pid={batch.pid}{ip})"
                source = (batch.node_ip, batch.pid)
                colour = self._colour(batch.pid)
                shown = [line for line in batch.lines if self._is_shown(line, batch.is_error, source, where, now)]
                self._write(stream, [(where, line, colour) for line in shown])
            if self._folds and not self._timer_set:
                self._timer_set = True
                self._call_later(self._options.window_s, self._time_is_over)

    def _is_shown(self, line: str, is_error: bool, source: Source, where: str, at: float) -> bool:
        options = self._options
        if not options.folds or (options.always is not None and options.always.search(line)):
            return True
        if options.never is not None and options.never.search(line):
            return False
        return self._folds[is_error].take(line, source, where, at)

    def _colour(self, pid: int) -> str:
        return _BY_PID[pid % len(_BY_PID)] if self._options.colour == "1" else _CYAN

    def _write(self, stream: TextIO, lines: list[tuple[str, str, str]]) -> None:
        """Lines as (where, text, colour). A stream that is closed, or that cannot encode the text, is no matter of
        the cluster's."""
        if not lines:
            return
        try:
            if not self._prefix:
                stream.write("".join(f"{line}\n" for _, line, _ in lines))
            elif self._has_colours(stream):
                stream.write("".join(f"{colour}{where}{_RESET} {line}\n" for where, line, colour in lines))
            else:
                stream.write("".join(f"{where} {line}\n" for where, line, _ in lines))
            stream.flush()
        except Exception as error:
            if not self._failed:
                self._failed = True
                log.warning("worker_output_not_shown stream=%r error=%r: this is said once", stream, error)

    def _has_colours(self, stream: TextIO) -> bool:
        colour = self._options.colour
        return colour == "1" or (colour != "0" and _is_terminal(stream))

    def _is_news(self, key: str) -> bool:
        if not self._options.notices or key in self._notices or len(self._notices) >= _NOTICES:
            return False
        self._notices.add(key)
        return True

    def _time_is_over(self) -> None:
        with self._lock:
            self._timer_set = False
            self._say_folded()
            if any(self._folds.values()):
                self._timer_set = True
                self._call_later(max(self._options.window_s, 0.1), self._time_is_over)

    def _say_folded(self, *, everything: bool = False) -> None:
        now = time.monotonic()
        for is_error, fold in self._folds.items():
            stream = sys.stderr if is_error else sys.stdout
            for where, line, count, pid in fold.due(now, everything=everything):
                shown = line
                if count > 1:
                    # One is no repeat to be counted: the line itself says more.
                    told = f" [repeated {count}x across cluster]" + ("" if self._hinted else _HINT)
                    self._hinted = True
                    shown += f"{_GREEN}{told}{_RESET}" if self._has_colours(stream) else told
                self._write(stream, [(where, shown, self._colour(pid))])

    def close(self) -> None:
        with self._lock:
            self._say_folded(everything=True)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, OSError, ValueError):  # it is closed, or something of the user's
        return False


def _notice_colour(line: str) -> str:
    return _YELLOW if "Warning:" in line or "Error:" in line else _CYAN
