"""Leadership: a key bound to a lease, whose revision is the epoch and the fence of every write."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing
from typing import Final

from manta_common import logs

from manta_gcs.store.backoff import Backoff
from manta_gcs.store.errors import LeaseEnded, OutcomeUnknown, StoreError, StoreUnavailable
from manta_gcs.store.interface import Epoch, EventKind, Lease, Record, Resync, Store
from manta_gcs.store.operations import Compare, Put

DEFAULT_TTL_S: Final = 2.0  # a new leader must serve within 3 s of its predecessor's kill -9
COMPLAIN_AFTER_S: Final = 30.0
log = logs.get("manta_gcs.store")


class Leadership:
    """One replica's bid to lead, on any driver; after `lost` make another one for the next bid.

    The epoch is the revision at which the key was written. Revisions only rise, so each leader's epoch is above
    all earlier ones; on SQLite too, where the keys of a dead process's leases are deleted when the file is opened.
    """

    def __init__(self, store: Store, key: bytes, identity: bytes, ttl_s: float = DEFAULT_TTL_S) -> None:
        """identity: what the key holds while this replica leads; others read the leader's address from it."""
        self._store, self._key, self._identity, self._ttl_s = store, key, identity, ttl_s
        self._lease: Lease | None = None
        self._epoch: Epoch | None = None
        self._guard: asyncio.Task[None] | None = None
        self.standing_by = asyncio.Event()  # set once another is seen to lead
        self.lost = asyncio.Event()  # set when this replica led and must not write any more

    @property
    def leads(self) -> bool:
        """Whether the lease surely holds now. What counts is the fence; this spares a futile attempt."""
        lease = self._lease
        return (
            self._epoch is not None
            and lease is not None
            and not self.lost.is_set()
            and time.monotonic() < lease.deadline
        )

    @property
    def epoch(self) -> Epoch:
        """raises: RuntimeError before campaign() returned."""
        if self._epoch is None:
            raise RuntimeError("this replica has never led: await campaign() first")
        return self._epoch

    @property
    def fence(self) -> Compare:
        """The compare that every write of this leader carries."""
        return Compare(self._key, self.epoch)

    async def holder(self) -> Record | None:
        """The present leader's key; None when nobody leads. Raises StoreUnavailable."""
        return await self._store.get(self._key)

    async def campaign(self) -> Epoch:
        """Wait until nobody else leads, then lead. Waits as long as that takes; cancel it to give up.

        raises: StoreConfigError; RuntimeError when called twice.
        """
        if self._epoch is not None or self.lost.is_set():
            raise RuntimeError("campaign() works once: make a new Leadership for the next bid")
        backoff = Backoff(random.Random(), first_s=0.05)
        began = time.monotonic()
        while True:
            try:
                present = await self._store.get(self._key)
                if present is not None:
                    log.info("standing_by", key=self._key, leader_revision=present.revision)
                    self.standing_by.set()
                    await self._until_gone(present.revision)
                epoch = await self._try_to_lead()
            except (StoreUnavailable, OutcomeUnknown, LeaseEnded) as error:
                if time.monotonic() - began > COMPLAIN_AFTER_S:
                    log.warning("campaign_waits_for_store", key=self._key, reason=str(error))
                await asyncio.sleep(backoff.delay_s())
                continue
            if epoch is not None:
                return epoch

    async def _try_to_lead(self) -> Epoch | None:
        """None when another was faster."""
        lease = await self._store.grant_lease(self._ttl_s)
        try:
            result = await self._store.txn([Compare(self._key, 0)], [Put(self._key, self._identity, lease.id)])
        except BaseException:
            # The put may have been applied, or may still be: it hangs on this lease and goes with it.
            lease.abandon()
            raise
        if not result.succeeded:
            await self._drop(lease)
            return None
        self._lease, self._epoch = lease, Epoch(result.revision)
        self._guard = asyncio.create_task(self._watch_over(lease, result.revision), name="leadership")
        log.info("leadership_won", key=self._key, epoch=result.revision, ttl_s=lease.ttl_s)
        return self._epoch

    async def resign(self) -> None:
        """Stop leading; a standby takes over at once when the store answers, else when the lease ends."""
        if self._guard is not None:
            self._guard.cancel()
            await asyncio.gather(self._guard, return_exceptions=True)
        if self._lease is not None:
            self._step_down("resigned")
            await self._drop(self._lease)

    def step_down(self, reason: str) -> None:
        """For the one who met Fenced or OutcomeUnknown: sets `lost`; the lease is left to end by itself."""
        if self._lease is not None:
            self._step_down(reason)
            self._lease.abandon()

    def _step_down(self, reason: str) -> None:
        if not self.lost.is_set():
            self.lost.set()
            log.warning("leadership_lost", key=self._key, epoch=self._epoch, reason=reason)

    async def _watch_over(self, lease: Lease, revision: int) -> None:
        """Ends with the leadership: when the lease is lost, or the key is deleted or written by someone else."""
        gone = asyncio.create_task(self._until_gone(revision), name="leader-key-watch")
        ended = asyncio.create_task(lease.lost.wait(), name="leader-lease")
        try:
            await asyncio.wait({gone, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, ended):
                task.cancel()
            outcomes = await asyncio.gather(gone, ended, return_exceptions=True)
        broken = next((o for o in outcomes if isinstance(o, StoreError)), None)
        if lease.lost.is_set():
            self._step_down("lease_lost")
        else:
            self._step_down(f"key_watch_failed: {broken}" if broken else "key_changed")
            lease.abandon()

    async def _until_gone(self, revision: int) -> None:
        """Wait until the key written at `revision` is deleted or replaced."""
        async with aclosing(self._store.watch(self._key, revision + 1)) as batches:
            async for batch in batches:
                if isinstance(batch, Resync):
                    here = next((record for record in batch.records if record.key == self._key), None)
                    if here is None or here.revision != revision:
                        return
                    continue
                last = next((event for event in reversed(batch.events) if event.key == self._key), None)
                if last is not None and (last.kind is EventKind.DELETE or self._epoch is not None):
                    return

    async def _drop(self, lease: Lease) -> None:
        """Revoke a lease, or leave it to its end when the store does not answer."""
        try:
            await lease.revoke()
        except (StoreUnavailable, OutcomeUnknown) as error:
            log.info("lease_left_to_expire", lease_id=lease.id, reason=str(error))
            lease.abandon()
