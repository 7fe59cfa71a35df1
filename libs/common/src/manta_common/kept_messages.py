"""Messages about what is over, kept for who asks late: as few bytes each as can be, and a bounded number of them.

A parsed message is no thing to keep: it takes up to ten times its bytes, and one that is a field of another, such as
one death of a batch of news, holds the memory of the whole batch. So here are bytes, which are parsed when asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
M = TypeVar("M")

# What an entry takes beside its bytes: its key, two objects and their places in the table.
ENTRY_BYTES: Final = 250


class KeptMessages(Generic[K, M]):
    """The latest messages, by key, at most `limit` of them and `limit_bytes` in all; the oldest leave first."""

    def __init__(self, parse: Callable[[bytes], M], limit: int, limit_bytes: int) -> None:
        """parse: as the FromString of their class."""
        self._parse = parse
        self._limit, self._limit_bytes = limit, limit_bytes
        self._kept: OrderedDict[K, bytes] = OrderedDict()
        self.bytes = 0  # in use, about

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: K) -> bool:
        return key in self._kept

    def __iter__(self) -> Iterator[K]:
        return iter(self._kept)

    def add(self, key: K, message: Any) -> list[K]:
        """Keep a message under a key, as the newest. returns: the keys that left for it."""
        raw: bytes = message.SerializeToString()
        before = self._kept.pop(key, None)
        if before is not None:
            self.bytes -= len(before) + ENTRY_BYTES
        self._kept[key] = raw
        self.bytes += len(raw) + ENTRY_BYTES
        left = []
        while len(self._kept) > self._limit or (self.bytes > self._limit_bytes and len(self._kept) > 1):
            oldest, gone = self._kept.popitem(last=False)
            self.bytes -= len(gone) + ENTRY_BYTES
            left.append(oldest)
        return left

    def get(self, key: K) -> M | None:
        """A message of the caller's own."""
        raw = self._kept.get(key)
        return None if raw is None else self._parse(raw)

    def values(self) -> Iterator[M]:
        """All, oldest first. cost: some microseconds each."""
        return map(self._parse, self._kept.values())

    def newest(self, holding: bytes = b"") -> Iterator[M]:
        """Newest first; those in whose bytes `holding` occurs, which is looked for before they are parsed."""
        return (self._parse(raw) for raw in reversed(self._kept.values()) if holding in raw)
