"""User-defined metrics of the node's processes, as the lines of its metrics page; pure.

A process tells each series as it is; its series go when the process is dead. The part of a line before its value is
made once, so that a page of many series is quick to write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from typing import Final

from manta_common.ids import WorkerId
from manta_proto.raylet.v1 import raylet_pb2

# Of the page. A series beyond it is not shown, and counted.
LINES_LIMIT: Final = 50_000
_KINDS: Final = {
    raylet_pb2.UserMetrics.COUNTER: "counter",
    raylet_pb2.UserMetrics.GAUGE: "gauge",
    raylet_pb2.UserMetrics.HISTOGRAM: "histogram",
}
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_:]")
_NOT_IN_LABELS: Final = re.compile(r"[^a-zA-Z0-9_]")

Key = tuple[WorkerId, tuple[str, ...]]


class _Series:
    """starts: of its lines, up to the value; of a histogram: its ranges, the count, the sum."""

    __slots__ = ("counts", "starts", "value")

    def __init__(self, starts: list[str]) -> None:
        self.starts = starts
        self.value = 0.0
        self.counts: list[int] = []

    def values(self) -> Iterator[str]:
        if not self.counts:
            yield number(self.value)
            return
        total = 0
        for count in self.counts:
            total += count
            yield f"{total}.0"
        yield f"{total}.0"
        yield number(self.value)


@dataclass(slots=True)
class _Family:
    """All series of one name on the page, of the kind that was told first."""

    kind: raylet_pb2.UserMetrics.Kind
    head: str
    series: dict[Key, _Series] = field(default_factory=dict)


class UserMetrics:
    """labels: of every series, beside those of its process. reserved: names that the page has without us.

    on_refused(name, why): said once for each name of a family that is not shown; bounded by the page's.
    """

    def __init__(
        self,
        labels: dict[str, str],
        reserved: Callable[[], Set[str]],
        on_refused: Callable[[str, str], None],
        lines_limit: int = LINES_LIMIT,
    ) -> None:
        self._labels = labels
        self._reserved = reserved
        self._on_refused = on_refused
        self._limit = lines_limit
        self._families: dict[str, _Family] = {}
        self._of_process: dict[WorkerId, set[tuple[str, Key]]] = {}
        self._refused: set[str] = set()
        self._lines = 0
        self.dropped = 0

    def told(self, worker_id: WorkerId, message: raylet_pb2.UserMetrics) -> None:
        """What the metrics of this process came to. raises: ValueError for a series that its family cannot have."""
        for told in message.families:
            name = shown_name(told)
            family = self._family(name, told)
            if family is None:
                continue
            for series in told.series:
                self._take(worker_id, message.version, name, family, told, series)
            if not family.series:
                del self._families[name]

    def _family(self, name: str, told: raylet_pb2.UserMetrics.Family) -> _Family | None:
        if told.kind not in _KINDS:
            raise ValueError(f"metric {told.name!r} is of kind {told.kind}, which there is not")
        family = self._families.get(name)
        if family is None:
            if name in self._reserved():
                self._refuse(name, "the node has a metric of that name itself")
                return None
            head = f"# HELP {name} {_escape_help(told.description)}\n# TYPE {name} {_KINDS[told.kind]}\n"
            family = self._families[name] = _Family(told.kind, head)
        elif family.kind != told.kind:
            self._refuse(name, f"another process has it as a {_KINDS[family.kind]}")
            return None
        return family

    def _refuse(self, name: str, why: str) -> None:
        if name not in self._refused and len(self._refused) < self._limit:
            self._refused.add(name)
            self._on_refused(name, why)

    def _take(
        self,
        worker_id: WorkerId,
        version: str,
        name: str,
        family: _Family,
        told: raylet_pb2.UserMetrics.Family,
        news: raylet_pb2.UserMetrics.Series,
    ) -> None:
        if len(news.tags) % 2 or len(news.counts) != (len(told.boundaries) + 1 if told.kind == _HISTOGRAM else 0):
            raise ValueError(f"a series of metric {told.name!r} has {len(news.tags)} tags, {len(news.counts)} counts")
        key = (worker_id, tuple(news.tags))
        series = family.series.get(key)
        if series is None:
            lines = len(news.counts) + 2 if news.counts else 1
            if self._lines + lines > self._limit:
                self.dropped += 1
                return
            labels = {_NOT_IN_LABELS.sub("_", k): v for k, v in zip(news.tags[::2], news.tags[1::2], strict=True)}
            labels |= {**self._labels, "Version": version, "WorkerId": worker_id.hex()}
            series = family.series[key] = _Series(_starts(name, labels, told))
            self._of_process.setdefault(worker_id, set()).add((name, key))
            self._lines += lines
        elif len(series.counts) != len(news.counts):
            raise ValueError(f"a series of metric {told.name!r} has other ranges than it had")
        series.value = news.value
        series.counts = list(news.counts)

    def gone(self, worker_id: WorkerId) -> None:
        """This process is dead: what it told is shown no more."""
        for name, key in self._of_process.pop(worker_id, ()):
            family = self._families[name]
            self._lines -= len(family.series.pop(key).starts)
            if not family.series:
                del self._families[name]

    def all_gone(self) -> None:
        for worker_id in list(self._of_process):
            self.gone(worker_id)

    def page(self) -> bytes:
        """The text for Prometheus. cost: O(lines)."""
        parts: list[str] = []
        for family in self._families.values():
            if family.series:
                parts.append(family.head)
                for series in family.series.values():
                    for start, value in zip(series.starts, series.values(), strict=True):
                        parts += (start, value, "\n")
        return "".join(parts).encode(errors="backslashreplace")


_HISTOGRAM: Final = raylet_pb2.UserMetrics.HISTOGRAM


def shown_name(family: raylet_pb2.UserMetrics.Family) -> str:
    """With upstream's prefix; a counter's ends in _total."""
    name = "ray_" + _NOT_IN_NAMES.sub("_", family.name)
    return name.removesuffix("_total") + "_total" if family.kind == raylet_pb2.UserMetrics.COUNTER else name


def number(value: float) -> str:
    """As the page's format has it."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _starts(name: str, labels: dict[str, str], told: raylet_pb2.UserMetrics.Family) -> list[str]:
    if told.kind != _HISTOGRAM:
        return [f"{name}{_labels(labels)} "]
    ends = [*map(number, told.boundaries), "+Inf"]
    ranges = [f"{name}_bucket{_labels({**labels, 'le': end})} " for end in ends]
    return [*ranges, f"{name}_count{_labels(labels)} ", f"{name}_sum{_labels(labels)} "]


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{key}="{_escape(labels[key])}"' for key in sorted(labels)) + "}"


def _escape(text: str) -> str:
    return _escape_help(text).replace('"', '\\"')


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
