"""User-defined metrics: Counter, Gauge and Histogram, on the metrics page of the node where their process runs.

They may be made and recorded to in drivers, tasks and actors. docs/metrics.md tells names, tags and limits.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ray._runtime.process.metric_table import COUNTER, GAUGE, HISTOGRAM, TABLE, Family, Tags

__all__ = ["Counter", "Gauge", "Histogram"]

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")


class Metric:
    """What the three kinds share: a name, a description, the keys of its tags and their default values.

    A name that no metric may have is warned about, and what is recorded under it is dropped. raises: ValueError for an
    empty name, TypeError for tag_keys that are no tuple of strings.
    """

    def __init__(self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None) -> None:
        if not len(name):
            raise ValueError("Empty name is not allowed: give the metric a name.")
        self._discard_metric = not _NAME.match(name)
        if self._discard_metric:
            warnings.warn(
                f"Invalid metric name: {name}. Names have letters, digits, _ and :, and begin with no digit; what is "
                "recorded under this one is dropped.",
                UserWarning,
                stacklevel=3,
            )
        keys = tag_keys or ()
        if not isinstance(keys, tuple):
            raise TypeError(f"tag_keys should be a tuple type, got: {type(keys)}")
        for key in keys:
            if not isinstance(key, str):
                raise TypeError(f"Tag keys must be str, got {type(key)}.")
        if ":" in name:
            warnings.warn(
                f"Metric name {name} contains a : character, which is for the names of rules; choose another.",
                FutureWarning,
                stacklevel=3,
            )
        self._name = name
        self._description = description
        self._tag_keys = keys
        self._default_tags: Mapping[str, str] = {}

    @property
    def info(self) -> dict[str, Any]:
        """name, description, tag_keys, default_tags; of a histogram boundaries too."""
        return {
            "name": self._name,
            "description": self._description,
            "tag_keys": self._tag_keys,
            "default_tags": self._default_tags,
        }

    def set_default_tags(self, default_tags: Mapping[str, str]) -> Metric:
        """Values for tags that a record leaves out; returns the metric itself.

        raises: ValueError for an unknown key, TypeError for a value that is no string.
        """
        for key, value in default_tags.items():
            if key not in self._tag_keys:
                raise ValueError(f"Unrecognized tag key {key}.")
            _check_tag(value)
        self._default_tags = default_tags
        return self

    def _tags(self, tags: Mapping[str, str] | None) -> Tags:
        """The full set of tags of one record, by key; keys that are none of the metric's are left out.

        raises: ValueError for a missing one, TypeError for a value that is no string.
        """
        for value in (tags or {}).values():
            _check_tag(value)
        full = {**self._default_tags, **(tags or {})}
        missing = [key for key in self._tag_keys if key not in full]
        if missing:
            raise ValueError(f"Missing value for tag key(s): {','.join(missing)}.")
        return tuple((key, full[key]) for key in sorted(self._tag_keys))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._arguments(), self._default_tags)

    def _arguments(self) -> tuple[Any, ...]:
        return (self._name, self._description, self._tag_keys)


def _rebuild(kind: type[Metric], arguments: tuple[Any, ...], default_tags: Mapping[str, str]) -> Metric:
    metric = kind(*arguments)
    if default_tags:
        metric.set_default_tags(default_tags)
    return metric


def _check_tag(value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"Tag values must be str, got {type(value)}.")


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)):
        raise TypeError(f"value must be int or float, got {type(value)}.")
    return float(value)


class Counter(Metric):
    """A number that only grows; its name on the page ends in _total."""

    def __init__(self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None) -> None:
        super().__init__(name, description, tag_keys)
        self._family: Family = TABLE.family(name, COUNTER, description)

    def inc(self, value: float = 1.0, tags: Mapping[str, str] | None = None) -> None:
        """Add `value`. raises: ValueError unless it is > 0, TypeError unless it is a number."""
        amount = _number(value)
        if value <= 0:
            raise ValueError(f"value must be >0, got {value}")
        if not self._discard_metric:
            TABLE.add(self._family, self._tags(tags), amount)


class Gauge(Metric):
    """A number that goes up and down; the last one set is shown."""

    def __init__(self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None) -> None:
        super().__init__(name, description, tag_keys)
        self._family: Family = TABLE.family(name, GAUGE, description)

    def set(self, value: float | None, tags: Mapping[str, str] | None = None) -> None:
        """value: None records nothing. raises: TypeError unless it is a number."""
        if value is None:
            return
        amount = _number(value)
        if not self._discard_metric:
            TABLE.set(self._family, self._tags(tags), amount)


class Histogram(Metric):
    """Counts of observed numbers by range, with their sum. boundaries: numbers > 0, the upper ends of the ranges."""

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Sequence[float] | None = None,
        tag_keys: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(name, description, tag_keys)
        if boundaries is None or len(boundaries) == 0:
            raise ValueError("boundaries argument should be provided, for example Histogram('name', boundaries=[1, 2])")
        for index, boundary in enumerate(boundaries):
            if not boundary > 0:
                raise ValueError(f"Invalid `boundaries` argument at index {index}, {boundaries}: each must be > 0")
        self.boundaries = boundaries
        self._family: Family = TABLE.family(name, HISTOGRAM, description, sorted(set(map(float, boundaries))))

    def observe(self, value: float, tags: Mapping[str, str] | None = None) -> None:
        """Count `value` in its range. raises: TypeError unless it is a number."""
        amount = _number(value)
        if not self._discard_metric:
            TABLE.observe(self._family, self._tags(tags), amount)

    @property
    def info(self) -> dict[str, Any]:
        return {**super().info, "boundaries": self.boundaries}

    def _arguments(self) -> tuple[Any, ...]:
        return (self._name, self._description, self.boundaries, self._tag_keys)
