"""inspect_serializability: which part of a value cannot be pickled."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO


class FailureTuple(NamedTuple):
    """A part that cannot be pickled, its name, and what holds it."""

    obj: Any
    name: str
    parent: Any


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: TextIO | None = None
) -> tuple[bool, set[FailureTuple]]:
    """Try to pickle a value, print which of its parts fail, and return (it works, the innermost failures).

    depth: levels of closures, attributes and members to look into. print_file: stdout when None.
    """
    report = _Report(print_file or sys.stdout)
    shown = name or getattr(base_obj, "__qualname__", None) or repr(base_obj)
    report.line(0, f"Checking serializability of {shown}")
    serializable = report.check(base_obj, shown, None, depth, 1)
    if serializable:
        report.line(0, "It can be serialized.")
    else:
        for failure in report.failures:
            report.line(0, f"FAILED: {failure.name} ({failure.obj!r}), held by {failure.parent!r}")
    return serializable, set(report.failures)


class _Report:
    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.failures: list[FailureTuple] = []
        self._seen: set[int] = set()

    def line(self, level: int, text: str) -> None:
        print("    " * level + text, file=self._file)

    def check(self, value: Any, name: str, parent: Any, depth: int, level: int) -> bool:
        error = _why_not(value)
        if error is None:
            return True
        if id(value) in self._seen:
            return False
        self._seen.add(id(value))
        self.line(level, f"{name} cannot be serialized: {error}")
        found = False
        if depth > 0:
            for part_name, part in _parts(value):
                found |= not self.check(part, part_name, value, depth - 1, level + 1)
        if not found:
            self.failures.append(_hashable(value, name, parent))
        return False


def _why_not(value: Any) -> Exception | None:
    from ray._runtime.values.pickler import dumps

    try:
        dumps(value)
    except Exception as error:  # any class may refuse in any way
        return error
    return None


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a value holds: a function's globals and closure, an object's attributes, a container's members."""
    if inspect.isfunction(value) or inspect.ismethod(value):
        function = inspect.unwrap(value.__func__ if inspect.ismethod(value) else value)
        captured = inspect.getclosurevars(function)
        yield from captured.globals.items()
        yield from captured.nonlocals.items()
        if inspect.ismethod(value):
            yield "self", value.__self__
    elif isinstance(value, dict):
        yield from ((f"[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
    elif isinstance(value, type):
        yield from ((key, part) for key, part in vars(value).items() if inspect.isfunction(part))
    else:
        yield from getattr(value, "__dict__", {}).items()


def _hashable(value: Any, name: str, parent: Any) -> FailureTuple:
    """Failures go into a set; an unhashable value or parent is named by its repr."""

    def safe(part: Any) -> Any:
        try:
            hash(part)
        except TypeError:
            return repr(part)
        return part

    return FailureTuple(safe(value), name, safe(parent))
