"""Compaction: the leader forgets old changes regularly, so that etcd's quota never fills."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final, NoReturn

from manta_common import logs

from manta_gcs.store.errors import StoreUnavailable
from manta_gcs.store.interface import Store

INTERVAL_S: Final = 300.0
KEEP_S: Final = 600.0
log = logs.get("manta_gcs.store")


class CompactionSchedule:
    """Remembers which revision was current when; pure."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, at: float, revision: int) -> int | None:
        """Note the present revision; returns the newest one that is at least keep_s old, to compact at."""
        self._marks.append((at, revision))
        old: int | None = None
        while self._marks[0][0] <= at - self._keep_s:
            old = self._marks.popleft()[1]
        return old


async def run_compaction(store: Store, interval_s: float = INTERVAL_S, keep_s: float = KEEP_S) -> NoReturn:
    """Compact every interval_s, keeping the changes of the last keep_s; the leader runs it until it is deposed.

    A deposed leader's last compaction harms nobody: it forgets only what is keep_s old.
    """
    schedule = CompactionSchedule(keep_s)
    while True:
        try:
            revision = schedule.mark(time.monotonic(), await store.revision())
            if revision:
                await store.compact(revision)
                log.info("store_compacted", revision=revision)
        except StoreUnavailable as error:
            log.warning("store_not_compacted", reason=str(error))
        await asyncio.sleep(interval_s)
