"""A standby's copy of the cluster's records, kept up to date by a watch, so that taking over needs no loading."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import Final

from manta_common import logs

from manta_gcs.store import Store, StoreUnavailable
from manta_gcs.store.backoff import Backoff
from manta_gcs.store.interface import EventKind, Record, Resync, WatchBatch

# The leader's key is written last; a watch that is alive brings it within milliseconds.
CATCH_UP_S: Final = 0.5
log = logs.get("gcs")


class Mirror:
    """Records under `root`, but for those under `without`. Memory: their keys and values, once."""

    def __init__(self, store: Store, root: bytes, without: bytes) -> None:
        self._store, self._root, self._without = store, root, without
        self._records: dict[bytes, Record] = {}
        self.moved = asyncio.Condition()  # notified of every change
        self.revision = 0  # as of which it is complete; 0: not yet

    def __len__(self) -> int:
        return len(self._records)

    async def follow(self) -> None:
        """Until cancelled. raises: StoreConfigError when the store refuses for good."""
        backoff = Backoff(random.Random(), first_s=0.05)
        while True:
            try:
                records, revision = await self._store.range(self._root)
                await self._take(Resync(tuple(records), revision))
                log.info("records_followed", records=len(self), revision=revision)
                async with aclosing(self._store.watch(self._root, revision + 1)) as batches:
                    async for batch in batches:
                        await self._take(batch)
            except StoreUnavailable as error:
                log.info("following_waits_for_store", reason=str(error))
                await asyncio.sleep(backoff.delay_s())

    async def reached(self, revision: int) -> bool:
        """Whether everything up to this revision is here, after a short wait; at once when nothing was followed."""
        if not self.revision:
            return False
        try:
            async with asyncio.timeout(CATCH_UP_S), self.moved:
                await self.moved.wait_for(lambda: self.revision >= revision)
        except TimeoutError:
            return False
        return True

    async def range(self, prefix: bytes) -> tuple[list[Record], int]:
        """As Store.range, without asking the store."""
        found = [record for key, record in self._records.items() if key.startswith(prefix)]
        return sorted(found, key=lambda record: record.key), self.revision

    async def _take(self, batch: WatchBatch) -> None:
        async with self.moved:
            if isinstance(batch, Resync):
                self._records = {record.key: record for record in batch.records if self._wanted(record.key)}
            else:
                for event in batch.events:
                    if event.kind is EventKind.DELETE:
                        self._records.pop(event.key, None)
                    elif self._wanted(event.key):
                        self._records[event.key] = Record(event.key, event.value, event.revision)
            self.revision = batch.revision
            self.moved.notify_all()

    def _wanted(self, key: bytes) -> bool:
        return not key.startswith(self._without)
