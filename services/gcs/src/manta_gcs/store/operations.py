"""The values a txn is made of, their keys' ranges and the limits they must keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NewType

LeaseId = NewType("LeaseId", int)

# etcd takes 128 operations and 1.5 MiB by default; the margin leaves room for compares and framing.
MAX_OPERATIONS: Final = 100
MAX_BYTES: Final = 1024 * 1024
OPERATION_OVERHEAD_BYTES: Final = 32  # tags, lengths and lease of one operation, generously


@dataclass(frozen=True, slots=True)
class Compare:
    """Holds when the key's last change was at `revision`; 0: when the key does not exist."""

    key: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class Put:
    key: bytes
    value: bytes
    lease: LeaseId | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    key: bytes


@dataclass(frozen=True, slots=True)
class DeleteRange:
    prefix: bytes


Op = Put | Delete | DeleteRange


def prefix_end(prefix: bytes) -> bytes | None:
    """The first key after all keys that begin with `prefix`; None when there is no such key."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


def name_of(op: Op) -> str:
    """How an error message names an operation: its kind and key, never its value."""
    return f"{type(op).__name__}({op.prefix if isinstance(op, DeleteRange) else op.key!r})"


def size_of(op: Op) -> int:
    """Bytes that an operation adds to a request, at most."""
    match op:
        case Put(key=key, value=value):
            return len(key) + len(value) + OPERATION_OVERHEAD_BYTES
        case Delete(key=key):
            return len(key) + OPERATION_OVERHEAD_BYTES
        case DeleteRange(prefix=prefix):
            return 2 * len(prefix) + OPERATION_OVERHEAD_BYTES


def check_txn(compares: Sequence[Compare], ops: Sequence[Op]) -> None:
    """Refuse what some driver could not apply, so that all refuse the same.

    raises: ValueError for an empty key or prefix, a key put twice or put and deleted, or a txn over the limits.
    """
    if len(ops) > MAX_OPERATIONS or len(compares) > MAX_OPERATIONS:
        raise ValueError(
            f"a txn of {len(ops)} operations and {len(compares)} compares exceeds the limit of {MAX_OPERATIONS}; "
            "use Store.write, which splits groups over several txns"
        )
    size = sum(size_of(op) for op in ops)
    if size > MAX_BYTES:
        largest = max(ops, key=size_of)
        raise ValueError(
            f"a txn of {size} bytes exceeds the limit of {MAX_BYTES}; its largest operation is {name_of(largest)} with "
            f"{size_of(largest)} bytes; save large values as chunks, or use Store.write"
        )
    if any(not compare.key for compare in compares):
        raise ValueError("a compare has an empty key")
    puts: set[bytes] = set()
    for op in ops:
        if not (op.prefix if isinstance(op, DeleteRange) else op.key):
            raise ValueError(f"{name_of(op)} has an empty key or prefix")
        if isinstance(op, Put):
            if op.key in puts:
                raise ValueError(f"key {op.key!r} is put twice in one txn")
            puts.add(op.key)
    for op in ops:
        if isinstance(op, Delete) and op.key in puts:
            raise ValueError(f"key {op.key!r} is put and deleted in one txn")
        if isinstance(op, DeleteRange):
            hit = next((key for key in puts if key.startswith(op.prefix)), None)
            if hit is not None:
                raise ValueError(f"key {hit!r} is put and deleted (prefix {op.prefix!r}) in one txn")
