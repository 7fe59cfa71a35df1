"""Refs met while values are pickled and unpickled: who is told of them, and when those that arrived are counted.

Apart from serialization.py, so that ObjectRef can be imported without what that needs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray._runtime.values.object_ref import ObjectRef


class _RefsMet(threading.local):
    """Where the refs met by the running pickling or unpickling of this thread belong."""

    contained: list[ObjectRef] | None = None
    # Refs that were made and are not counted yet, and who counts them.
    arrived: list[ObjectRef] | None = None
    count: Callable[[list[ObjectRef]], None] | None = None


refs_met = _RefsMet()

# What to do with a ref that is pickled or unpickled outside a call, say by the user's own pickle.dumps.
_outside_pickled: Callable[[ObjectRef], None] | None = None
_outside_unpickled: Callable[[ObjectRef], None] | None = None


def set_outside_hooks(
    pickled: Callable[[ObjectRef], None] | None, unpickled: Callable[[ObjectRef], None] | None
) -> None:
    global _outside_pickled, _outside_unpickled
    _outside_pickled, _outside_unpickled = pickled, unpickled


def ref_pickled(ref: ObjectRef) -> None:
    contained = refs_met.contained
    if contained is not None:
        contained.append(ref)
    elif _outside_pickled is not None:
        _outside_pickled(ref)


def ref_unpickled(ref: ObjectRef) -> None:
    """Have a ref that was just made counted, now or with the others of its value."""
    arrived = refs_met.arrived
    if arrived is not None:
        arrived.append(ref)
    elif _outside_unpickled is not None:
        _outside_unpickled(ref)


class receiving:
    """Refs that this thread unpickles inside are counted together at the end, by `count`; when it fails, not at all.

    Not a generator: contextlib sets an attribute of the error that passes, which may be of a class that refuses.
    """

    __slots__ = ("_arrived", "_count", "_outer")

    def __init__(self, count: Callable[[list[ObjectRef]], None]) -> None:
        self._count = count
        self._arrived: list[ObjectRef] = []

    def __enter__(self) -> None:
        self._outer = refs_met.arrived, refs_met.count
        refs_met.arrived, refs_met.count = self._arrived, self._count

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        refs_met.arrived, refs_met.count = self._outer
        if kind is None and self._arrived:
            self._count(self._arrived)


def count_arrived() -> bool:
    """Count the refs that this thread has unpickled so far: user code uses one before its value is whole.

    returns: whether there were any.
    """
    arrived, count = refs_met.arrived, refs_met.count
    if not arrived or count is None:
        return False
    refs = arrived.copy()
    arrived.clear()
    count(refs)
    return True
