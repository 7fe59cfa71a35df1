"""A condition on one column of a state table, as users write it: `state=RUNNING`, `name!=f`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

_TRUE = ("true", "1")
_FALSE = ("false", "0")


@dataclass(frozen=True, slots=True)
class StateFilter:
    """Whether a column's value is, or with `unequal` is not, `value`. Case does not count."""

    column: str
    value: str
    unequal: bool = False

    def passes(self, value: object) -> bool:
        """value: of the column; None stands for "there is none" and equals no text but an empty one."""
        return self._equals(value) is not self.unequal

    def _equals(self, value: object) -> bool:
        wanted = self.value.lower()
        if isinstance(value, bool):
            return wanted in (_TRUE if value else _FALSE)
        return wanted == ("" if value is None else str(value)).lower()


def all_pass(filters: Iterable[StateFilter], value_of: Callable[[str], object]) -> bool:
    """Whether every condition holds; value_of(column) gives the value."""
    return all(condition.passes(value_of(condition.column)) for condition in filters)
