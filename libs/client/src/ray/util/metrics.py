"""User-defined metrics: checked and counted in this process. Exporting them is not there yet."""

from __future__ import annotations

import bisect
import math
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")

Tags = Mapping[str, str]


class Metric:
    """What the three kinds share: a name, a description, the keys of its tags and their default values."""

    def __init__(self, name: str, description: str = "", tag_keys: Sequence[str] | None = None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a metric must be a string, not {name!r}")
        if not name:
            raise ValueError("the name of a metric must not be empty")
        if not _NAME.match(name):
            raise ValueError(f"the name of a metric must match {_NAME.pattern[:-2]}, not {name!r}")
        keys = () if tag_keys is None else tag_keys
        if not isinstance(keys, (tuple, list)):
            raise TypeError(f"tag_keys must be a tuple of strings, not {tag_keys!r}")
        for key in keys:
            if not isinstance(key, str):
                raise TypeError(f"tag_keys must be strings, not {key!r}")
        self._name = name
        self._description = description
        self._tag_keys = tuple(keys)
        self._default_tags: dict[str, str] = {}
        # Reentrant: a finalizer may run while it is held, and record something.
        self._lock = threading.RLock()

    @property
    def info(self) -> dict[str, Any]:
        """name, description, tag_keys, default_tags."""
        return {
            "name": self._name,
            "description": self._description,
            "tag_keys": self._tag_keys,
            "default_tags": self._default_tags,
        }

    def set_default_tags(self, default_tags: Tags) -> Metric:
        """Values for tags that a record leaves out. raises: ValueError for an unknown key, TypeError for no string."""
        for key, value in default_tags.items():
            if key not in self._tag_keys:
                raise ValueError(f"the metric {self._name} has the tags {self._tag_keys}, and not {key!r}")
            if not isinstance(value, str):
                raise TypeError(f"the tag {key!r} must be a string, not {value!r}")
        self._default_tags = dict(default_tags)
        return self

    def _tags(self, tags: Tags | None) -> tuple[tuple[str, str], ...]:
        """The full set of tags of one record, sorted. raises: ValueError for a missing or unknown one."""
        for key, value in (tags or {}).items():
            if key not in self._tag_keys:
                raise ValueError(f"the metric {self._name} has the tags {self._tag_keys}, and not {key!r}")
            if not isinstance(value, str):
                raise TypeError(f"the tag {key!r} must be a string, not {value!r}")
        full = {**self._default_tags, **(tags or {})}
        missing = [key for key in self._tag_keys if key not in full]
        if missing:
            raise ValueError(f"the metric {self._name} needs values for the tags {', '.join(missing)}")
        return tuple(sorted(full.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._arguments(), self._default_tags)

    def _arguments(self) -> tuple[Any, ...]:
        return (self._name, self._description, self._tag_keys)


def _rebuild(kind: type[Metric], arguments: tuple[Any, ...], default_tags: Tags) -> Metric:
    metric = kind(*arguments)
    if default_tags:
        metric.set_default_tags(default_tags)
    return metric


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"the value of a metric must be a number, not {value!r}")
    return float(value)


class Counter(Metric):
    """A number that only grows."""

    def __init__(self, name: str, description: str = "", tag_keys: Sequence[str] | None = None) -> None:
        super().__init__(name, description, tag_keys)
        self._values: dict[tuple[tuple[str, str], ...], float] = {}

    def inc(self, value: float = 1.0, tags: Tags | None = None) -> None:
        """Add `value`. raises: ValueError unless it is > 0."""
        amount = _number(value)
        if not amount > 0:
            raise ValueError(f"a counter grows by a number > 0, not {value!r}")
        key = self._tags(tags)
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + amount


class Gauge(Metric):
    """A number that goes up and down."""

    def __init__(self, name: str, description: str = "", tag_keys: Sequence[str] | None = None) -> None:
        super().__init__(name, description, tag_keys)
        self._values: dict[tuple[tuple[str, str], ...], float] = {}

    def set(self, value: float | None, tags: Tags | None = None) -> None:
        """value: None records nothing."""
        if value is None:
            return
        key, amount = self._tags(tags), _number(value)
        with self._lock:
            self._values[key] = amount


class Histogram(Metric):
    """Counts of observed numbers by range. boundaries: rising numbers > 0, the upper ends of the ranges."""

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Sequence[float] | None = None,
        tag_keys: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name, description, tag_keys)
        if not boundaries:
            raise ValueError("a histogram needs boundaries, for example [0.01, 0.1, 1, 10]")
        self.boundaries = [_number(boundary) for boundary in boundaries]
        if any(not boundary > 0 or math.isinf(boundary) for boundary in self.boundaries):
            raise ValueError(f"boundaries must be finite numbers > 0, not {list(boundaries)}")
        if any(low >= high for low, high in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError(f"boundaries must rise, not {list(boundaries)}")
        self._counts: dict[tuple[tuple[str, str], ...], list[int]] = {}
        self._sums: dict[tuple[tuple[str, str], ...], float] = {}

    def observe(self, value: float, tags: Tags | None = None) -> None:
        key, amount = self._tags(tags), _number(value)
        with self._lock:
            counts = self._counts.setdefault(key, [0] * (len(self.boundaries) + 1))
            counts[bisect.bisect_left(self.boundaries, amount)] += 1
            self._sums[key] = self._sums.get(key, 0.0) + amount

    @property
    def info(self) -> dict[str, Any]:
        return {**super().info, "boundaries": self.boundaries}

    def _arguments(self) -> tuple[Any, ...]:
        return (self._name, self._description, self.boundaries, self._tag_keys)
