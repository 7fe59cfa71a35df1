"""Splitting groups of operations into txns: pure, and never through a group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from manta_gcs.store.operations import MAX_BYTES, MAX_OPERATIONS, Delete, DeleteRange, Op, Put, name_of, size_of


@dataclass(frozen=True, slots=True)
class Part:
    """The operations of one txn."""

    ops: tuple[Op, ...]


class _PutAfterDeleteRange(Exception):
    """A put under a prefix deleted before: one txn cannot tell the order of the two."""

    def __init__(self, put: Put, prefix: bytes) -> None:
        super().__init__(put, prefix)
        self.put, self.prefix = put, prefix


class _Assembly:
    """One txn in the making; a later operation on a key replaces the earlier one.

    Nobody can see the state between two writes of one txn, so the last one is all that matters.
    """

    def __init__(self) -> None:
        self.by_key: dict[bytes, Put | Delete] = {}
        self.ranges: dict[bytes, DeleteRange] = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self.by_key) + len(self.ranges)

    def copy(self) -> _Assembly:
        twin = _Assembly()
        twin.by_key, twin.ranges, twin.size = dict(self.by_key), dict(self.ranges), self.size
        return twin

    def add(self, op: Op) -> None:
        match op:
            case DeleteRange(prefix=prefix):
                for key in [key for key in self.by_key if key.startswith(prefix)]:
                    self.size -= size_of(self.by_key.pop(key))
                if prefix not in self.ranges:
                    self.ranges[prefix] = op
                    self.size += size_of(op)
            case Put(key=key) | Delete(key=key):
                cover = next((prefix for prefix in self.ranges if key.startswith(prefix)), None)
                if cover is not None:
                    if isinstance(op, Put):
                        raise _PutAfterDeleteRange(op, cover)
                    return  # the range deletes it already
                before = self.by_key.pop(key, None)
                if before is not None:
                    self.size -= size_of(before)
                self.by_key[key] = op
                self.size += size_of(op)

    def fits(self) -> bool:
        return len(self) <= MAX_OPERATIONS and self.size <= MAX_BYTES

    def part(self) -> Part:
        return Part((*self.ranges.values(), *self.by_key.values()))


def _assembled(base: _Assembly, group: Iterable[Op]) -> _Assembly:
    joined = base.copy()
    for op in group:
        joined.add(op)
    return joined


def _alone(index: int, group: Sequence[Op]) -> _Assembly:
    """The group as a txn of its own; ValueError when that cannot be."""
    try:
        alone = _assembled(_Assembly(), group)
    except _PutAfterDeleteRange as clash:
        raise ValueError(
            f"group {index} puts {clash.put.key!r} after deleting the prefix {clash.prefix!r}: a txn cannot do both; "
            "delete the keys one by one or make them two groups"
        ) from clash
    if not alone.fits():
        largest = max(group, key=size_of)
        raise ValueError(
            f"group {index} ({name_of(group[0])} and {len(group) - 1} more) needs {len(alone)} operations and "
            f"{alone.size} bytes in one txn, over the limit of {MAX_OPERATIONS} and {MAX_BYTES}; its largest is "
            f"{name_of(largest)} with {size_of(largest)} bytes; save large values as chunks or make smaller groups"
        )
    return alone


def split_groups(groups: Sequence[Sequence[Op]]) -> list[Part]:
    """Pack groups, in order, into as few txns as one greedy pass can, without splitting any group.

    raises: ValueError naming the group that exceeds the limits of one txn by itself; checked for all of them
    before any part is returned. Empty groups vanish. cost: linear in the operations, times the parts' size.
    """
    parts: list[Part] = []
    current = _Assembly()
    for index, group in enumerate(groups):
        if not group:
            continue
        alone = _alone(index, group)
        joined: _Assembly | None
        try:
            joined = _assembled(current, group)
        except _PutAfterDeleteRange:
            joined = None
        if joined is not None and joined.fits():
            current = joined
            continue
        parts.append(current.part())
        current = alone
    if len(current):
        parts.append(current.part())
    return parts
