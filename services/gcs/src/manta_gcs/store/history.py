"""The recent changes of a store that keeps none of its own, bounded; what watches are fed from."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from manta_gcs.store.interface import Changes, WatchEvent

LIMIT_EVENTS: Final = 10_000
LIMIT_BYTES: Final = 4 * 1024 * 1024
# What an event takes beside its key and value: itself, three objects, and its place in the list.
_EVENT_BYTES: Final = 250


class History:
    """Changes since `floor`, oldest dropped first. A reader further behind has to list again.

    floor: the last revision whose changes are not kept. Pure; not thread-safe.
    """

    def __init__(self, floor: int, limit_events: int = LIMIT_EVENTS, limit_bytes: int = LIMIT_BYTES) -> None:
        self.floor = floor
        self._limit_events, self._limit_bytes = limit_events, limit_bytes
        self._events: list[WatchEvent] = []
        self._bytes = 0

    def append(self, events: tuple[WatchEvent, ...]) -> None:
        """The changes of one revision, which is higher than all before."""
        self._events.extend(events)
        self._bytes += sum(_size(event) for event in events)
        if len(self._events) > self._limit_events or self._bytes > self._limit_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        # Down to three quarters, so that the cost of shifting the list is paid rarely.
        keep_events, keep_bytes = self._limit_events * 3 // 4, self._limit_bytes * 3 // 4
        count, size = 0, self._bytes
        while count < len(self._events) and (len(self._events) - count > keep_events or size > keep_bytes):
            size -= _size(self._events[count])
            count += 1
        self.forget_through(self._events[count - 1].revision)

    def forget_through(self, revision: int) -> None:
        """Drop the changes up to and with `revision`."""
        count = bisect_left(self._events, revision + 1, key=lambda event: event.revision)
        self._bytes -= sum(_size(event) for event in self._events[:count])
        del self._events[:count]
        self.floor = max(self.floor, revision)

    def since(self, prefix: bytes, from_revision: int, limit: int = 1000) -> Changes | None:
        """Changes under `prefix` from a revision on, whole revisions, at least `limit` if there are as many.

        returns: Changes whose revision is that up to which everything was looked at, even where no event
        matched; None when changes from `from_revision` on are no longer kept.
        """
        if from_revision <= self.floor:
            return None
        start = bisect_left(self._events, from_revision, key=lambda event: event.revision)
        found: list[WatchEvent] = []
        reached = from_revision - 1
        for event in self._events[start:]:
            if len(found) >= limit and event.revision != reached:
                break
            reached = event.revision
            if event.key.startswith(prefix):
                found.append(event)
        return Changes(tuple(found), reached)


def _size(event: WatchEvent) -> int:
    return len(event.key) + len(event.value) + _EVENT_BYTES
