"""How far the worker that runs a generator may go ahead of its caller: a pure core, one for each running generator."""

from __future__ import annotations

from ray._runtime.generators.generator_stream import WINDOW


class GeneratorFlow:
    """Counts of one attempt. arrived: items that the caller has from earlier attempts, which are not sent again.

    limit: how many items may be unread at the caller; 0 for any number.
    """

    __slots__ = ("_arrived", "_read", "dropped", "limit", "made", "skip")

    def __init__(self, arrived: int, limit: int) -> None:
        self.skip = arrived
        self.limit = limit
        self.made = 0
        self.dropped = False
        self._arrived = arrived
        self._read = 0

    def next_item(self) -> int | None:
        """The generator yields. returns: the item's index; None when the caller has that item already."""
        self.made += 1
        return self.made - 1 if self.made > self.skip else None

    def unmade(self) -> None:
        """The item just yielded cannot be sent; its error takes its place."""
        self.made -= 1

    def told(self, arrived: int, read: int) -> None:
        """The caller's progress, possibly late."""
        self._arrived = max(self._arrived, arrived)
        self._read = max(self._read, read)

    def may_go_on(self) -> bool:
        """Whether the generator may run on to its next yield. A dropped one may: it ends there."""
        if self.dropped or self.made <= self.skip:
            return True
        return self.made - self._arrived < WINDOW and not (self.limit and self.made - self._read >= self.limit)
