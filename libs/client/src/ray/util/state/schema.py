"""What the records of all state tables share: columns that say when they are shown and what filters may name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

_UNITS = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def column(
    *, filterable: bool = False, detail: bool = False, default: Any = MISSING, text: Callable[[Any], Any] | None = None
) -> Any:
    """A field of a record. detail: shown only when details are asked for. text: how people read it."""
    metadata = {"filterable": filterable, "detail": detail, "text": text}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(kw_only=True)
class StateSchema:
    """A row of a state table, with its columns as attributes, as items and as a dict."""

    @classmethod
    def list_columns(cls, detail: bool = True) -> list[str]:
        """In the order of the table."""
        return [one.name for one in fields(cls) if detail or not one.metadata["detail"]]

    @classmethod
    def columns(cls) -> set[str]:
        return set(cls.list_columns())

    @classmethod
    def base_columns(cls) -> set[str]:
        return set(cls.list_columns(detail=False))

    @classmethod
    def detail_columns(cls) -> set[str]:
        return cls.columns() - cls.base_columns()

    @classmethod
    def filterable_columns(cls) -> set[str]:
        return {one.name for one in fields(cls) if one.metadata["filterable"]}

    @classmethod
    def humanify(cls, state: Mapping[str, Any]) -> dict[str, Any]:
        """The values as people read them: times as dates, sizes with a unit."""
        texts = {one.name: one.metadata["text"] for one in fields(cls)}
        shown = dict(state)
        for name, value in state.items():
            text = texts.get(name)
            if text is not None and value is not None:
                shown[name] = text(value)
        return shown

    def asdict(self) -> dict[str, Any]:
        return asdict(self)

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key, default)

    def __getitem__(self, key: str) -> Any:
        """raises: KeyError for what is no column."""
        if key not in self.columns():
            raise KeyError(f"{type(self).__name__} has no column {key!r}; it has {', '.join(self.list_columns())}")
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in self.columns()


def date_text(milliseconds: float) -> str:
    """2024-01-31 12:00:00.500000, local time; "" for the moments 0 and -1, which stand for never."""
    from datetime import datetime

    return str(datetime.fromtimestamp(milliseconds / 1000)) if milliseconds > 0 else ""


def events_text(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each event with its time as a date."""
    return [{**event, "created_ms": date_text(event["created_ms"])} for event in events]


def resources_text(resources: Mapping[str, float]) -> dict[str, Any]:
    """Memory with a unit, other amounts as they are."""
    return {name: size_text(amount) if "memory" in name else amount for name, amount in resources.items()}


def size_text(count: float) -> str:
    """1.500 GiB; whole bytes below 1 KiB."""
    for unit, size in _UNITS:
        if count >= size:
            return f"{count / size:.3f} {unit}"
    return f"{count:g} B"
