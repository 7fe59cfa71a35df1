"""The values of this process's user-defined metrics, and which of them its raylet has not been told.

A record changes a number here, and nothing is sent for it: what changed is told once in a while, each series as it is
then, so that nothing is lost when it is told once more.
"""

from __future__ import annotations

import bisect
import logging
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from manta_proto.raylet.v1 import raylet_pb2

from ray._distribution import VERSION

if TYPE_CHECKING:
    from ray._runtime.process.process import Process

log = logging.getLogger("ray.runtime")

Tags = tuple[tuple[str, str], ...]

COUNTER: Final = raylet_pb2.UserMetrics.COUNTER
GAUGE: Final = raylet_pb2.UserMetrics.GAUGE
HISTOGRAM: Final = raylet_pb2.UserMetrics.HISTOGRAM

# What one process keeps: series of all its metrics, and the bytes of their tags. Further series are not kept.
SERIES_LIMIT: Final = 10_000
TAG_BYTES_LIMIT: Final = 4 * 1024 * 1024
# Series in one message; the rest follows at once.
MESSAGE_SERIES: Final = 2_000


class Series:
    """One metric under one set of tags. value: of a histogram, the sum. counts: of a histogram, by range."""

    __slots__ = ("changed", "counts", "family", "tags", "value")

    def __init__(self, family: Family, tags: Tags) -> None:
        self.family = family
        self.tags = tags
        self.value = 0.0
        self.counts = [0] * (len(family.boundaries) + 1) if family.kind == HISTOGRAM else []
        self.changed = False


class Family:
    """All series of one name and kind; metrics that are made twice share it, with the first one's description."""

    __slots__ = ("boundaries", "description", "kind", "name", "series")

    def __init__(self, name: str, kind: raylet_pb2.UserMetrics.Kind, description: str, boundaries: Sequence[float]):
        self.name = name
        self.kind = kind
        self.description = description
        self.boundaries = boundaries
        self.series: dict[Tags, Series] = {}


class MetricTable:
    """All of a process. From any thread; nothing is told while no process is connected."""

    def __init__(self) -> None:
        self._renew()
        self._families: dict[tuple[str, int], Family] = {}
        self._changed: list[Series] = []
        self._series = 0
        self._tag_bytes = 0
        self._full = False
        self._process: Process | None = None
        self._armed = False
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        # Reentrant: a finalizer may run while it is held, and record something.
        self._lock = threading.RLock()

    def family(
        self, name: str, kind: raylet_pb2.UserMetrics.Kind, description: str, boundaries: Sequence[float] = ()
    ) -> Family:
        """The family of that name and kind. A histogram of other boundaries than the first keeps the first's."""
        with self._lock:
            found = self._families.get((name, kind))
            if found is None:
                found = Family(name, kind, description, tuple(boundaries))
                # One beyond the limit keeps no series either: there are at least as many as families by then, or none.
                if len(self._families) < SERIES_LIMIT:
                    self._families[name, kind] = found
            return found

    # -- records

    def add(self, family: Family, tags: Tags, amount: float) -> None:
        with self._lock:
            series = family.series.get(tags) or self._new(family, tags)
            if series is not None:
                series.value += amount
                self._note(series)

    def set(self, family: Family, tags: Tags, value: float) -> None:
        with self._lock:
            series = family.series.get(tags) or self._new(family, tags)
            if series is not None:
                series.value = value
                self._note(series)

    def observe(self, family: Family, tags: Tags, value: float) -> None:
        with self._lock:
            series = family.series.get(tags) or self._new(family, tags)
            if series is not None:
                series.counts[bisect.bisect_left(family.boundaries, value)] += 1
                series.value += value
                self._note(series)

    def _new(self, family: Family, tags: Tags) -> Series | None:
        size = sum(len(key) + len(value) for key, value in tags)
        if self._series >= SERIES_LIMIT or self._tag_bytes + size > TAG_BYTES_LIMIT:
            if not self._full:
                self._full = True
                log.warning(
                    "metrics_full name=%s series=%d: this process keeps no further values of tags; this is said once",
                    family.name,
                    self._series,
                )
            return None
        self._series += 1
        self._tag_bytes += size
        made = family.series[tags] = Series(family, tags)
        return made

    def _note(self, series: Series) -> None:
        if not series.changed:
            series.changed = True
            self._changed.append(series)
            if not self._armed:
                self._arm()

    # -- telling

    def connected(self, process: Process) -> None:
        """Whom to tell from now on; it has not been told anything."""
        with self._lock:
            self._process = process
            self._armed = False
            self._changed = [series for family in self._families.values() for series in family.series.values()]
            for series in self._changed:
                series.changed = True
            if self._changed:
                self._arm()

    def disconnected(self, process: Process) -> None:
        with self._lock:
            if self._process is process:
                self._process = None
                self._armed = False

    def _arm(self) -> None:
        process = self._process
        if process is not None and process.tuning.metrics_interval_s > 0:
            self._armed = True
            process.reactor.call_later(process.tuning.metrics_interval_s, lambda: self._due(process))

    def _due(self, process: Process) -> None:
        """On the thread that reads."""
        with self._lock:
            if process is not self._process or process.closing:
                return
            self._armed = False
            message = self.take()
            if self._changed:
                self._armed = True
                process.reactor.call_soon(lambda: self._due(process))
        if message.families:
            process.raylet.send(raylet_pb2.USER_METRICS, message.SerializeToString())

    def take(self) -> raylet_pb2.UserMetrics:
        """What has changed since it was taken last, up to MESSAGE_SERIES."""
        message = raylet_pb2.UserMetrics(version=VERSION)
        families: dict[Family, raylet_pb2.UserMetrics.Family] = {}
        with self._lock:
            taken, self._changed = self._changed[:MESSAGE_SERIES], self._changed[MESSAGE_SERIES:]
            for series in taken:
                series.changed = False
                family = series.family
                told = families.get(family)
                if told is None:
                    told = families[family] = message.families.add(
                        name=family.name,
                        kind=family.kind,
                        description=family.description,
                        boundaries=family.boundaries,
                    )
                told.series.add(
                    tags=[text for tag in series.tags for text in tag], value=series.value, counts=series.counts
                )
        return message


# Of this process: a metric of the user's outlives a connection, as it may be made before there is one.
TABLE: Final = MetricTable()
