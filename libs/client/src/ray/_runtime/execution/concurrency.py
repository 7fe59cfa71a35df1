"""Concurrency groups of an actor: which call may start now. A pure core; its lane changes it under a lock of its own.

Each group has a limit and a line of its own, so that calls of one never wait for those of another. Calls that name no
group are in the default one, whose limit is the actor's max_concurrency.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
from typing import Final, Generic, TypeVar

DEFAULT_GROUP: Final = ""

T = TypeVar("T")


class UnknownGroup(LookupError):
    """A call names a group that its actor does not have."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(name, known)
        self.name, self.known = name, known

    def __str__(self) -> str:
        return f"the actor has no concurrency group {self.name!r}; its groups are {list(self.known)}"


class Group(Generic[T]):
    """One group: how many of its calls run, and which wait, oldest first."""

    __slots__ = ("limit", "name", "running", "waiting")

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.running = 0
        self.waiting: collections.deque[T] = collections.deque()


class ConcurrencyGroups(Generic[T]):
    """All groups of an actor.

    The waiting lines have no bound of their own: what callers may have unfinished is bounded by max_pending_calls.
    """

    def __init__(self, default_limit: int, limits: Mapping[str, int]) -> None:
        """raises: ValueError for a limit below 1."""
        self._groups: dict[str, Group[T]] = {DEFAULT_GROUP: Group(DEFAULT_GROUP, default_limit)}
        for name, limit in limits.items():
            self._groups[name] = Group(name, limit)
        for group in self._groups.values():
            if group.limit < 1:
                raise ValueError(f"concurrency group {group.name!r} has limit {group.limit}, which must be at least 1")

    def group(self, name: str) -> Group[T]:
        """raises: UnknownGroup."""
        group = self._groups.get(name)
        if group is None:
            raise UnknownGroup(name, tuple(name for name in self._groups if name))
        return group

    def groups(self) -> Iterator[Group[T]]:
        return iter(self._groups.values())

    def arrived(self, group: Group[T], call: T) -> bool:
        """A call came. returns: True when it starts now, False when it waits."""
        if group.running < group.limit:
            group.running += 1
            return True
        group.waiting.append(call)
        return False

    def ended(self, group: Group[T]) -> T | None:
        """A call of the group ended. returns: the one that starts in its place."""
        if group.waiting:
            return group.waiting.popleft()
        group.running -= 1
        return None

    def withdraw(self, call: T) -> bool:
        """Take out a call that waits. returns: False when it does not wait (any more)."""
        for group in self._groups.values():
            if call in group.waiting:
                group.waiting.remove(call)
                return True
        return False

    def withdraw_all(self) -> list[T]:
        """Take out all calls that wait."""
        taken: list[T] = []
        for group in self._groups.values():
            taken.extend(group.waiting)
            group.waiting.clear()
        return taken

    def waiting(self) -> Iterator[T]:
        for group in self._groups.values():
            yield from group.waiting

    def running(self) -> int:
        return sum(group.running for group in self._groups.values())
