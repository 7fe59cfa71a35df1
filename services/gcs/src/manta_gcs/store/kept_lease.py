"""A lease that a server ends by its own clock: kept alive in the background, believed only until its own deadline."""

from __future__ import annotations

import asyncio
import random
import time
from abc import abstractmethod

from manta_common import logs

from manta_gcs.store.backoff import Backoff
from manta_gcs.store.errors import StoreError
from manta_gcs.store.interface import Lease
from manta_gcs.store.operations import LeaseId

log = logs.get("manta_gcs.store")


class KeptLease(Lease):
    """`deadline` counts from when the last granted request was sent, so it never outlasts the server's."""

    def __init__(self, lease_id: LeaseId, ttl_s: float, sent_at: float) -> None:
        """sent_at: on time.monotonic(), when the request that granted it was sent."""
        super().__init__(lease_id, ttl_s, sent_at + ttl_s)
        self._expiry = asyncio.get_running_loop().call_later(self.deadline - time.monotonic(), self._expire)
        self._task = asyncio.create_task(self._keep_alive(), name=f"lease-{lease_id:x}")

    @abstractmethod
    async def renew(self) -> float | None:
        """Ask the server once. returns: the seconds granted; None: it does not know the lease. raises: StoreError."""

    @abstractmethod
    async def end_at_server(self) -> None:
        """Delete the lease and its keys there; one that is gone is no error. raises: StoreError."""

    async def revoke(self) -> None:
        self._end()
        await self.end_at_server()

    def abandon(self) -> None:
        """The expiry timer goes on: `lost` is set when the time has run out."""
        self._task.cancel()

    async def stop(self) -> None:
        """End the keepalive and the timer, when the store closes."""
        self._expiry.cancel()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_alive(self) -> None:
        """A renewal each third of the time; after a failure soon again."""
        backoff = Backoff(random.Random(), limit_s=self.ttl_s / 6)
        while not self.lost.is_set():
            sent_at = time.monotonic()
            try:
                granted_s = await self.renew()
            except StoreError as error:
                left_s = round(self.deadline - time.monotonic(), 3)
                log.warning("lease_not_renewed", lease_id=self.id, reason=str(error), left_s=left_s)
                delay_s = backoff.delay_s()
            else:
                backoff.reset()
                self._renewed(sent_at, granted_s)
                delay_s = self.ttl_s / 3
            await asyncio.sleep(delay_s)

    def _renewed(self, sent_at: float, granted_s: float | None) -> None:
        if granted_s is None:
            self._lose("the store no longer knows the lease")
            return
        self.deadline = max(self.deadline, sent_at + granted_s)
        self._expiry.cancel()
        if time.monotonic() >= self.deadline:
            self._expire()  # the reply came so late that the lease may be gone again
        else:
            self._expiry = asyncio.get_running_loop().call_later(self.deadline - time.monotonic(), self._expire)

    def _expire(self) -> None:
        self._lose("no renewal before the deadline")

    def _lose(self, reason: str) -> None:
        if not self.lost.is_set():
            log.warning("lease_lost", lease_id=self.id, ttl_s=self.ttl_s, reason=reason)
            self._end()

    def _end(self) -> None:
        self.lost.set()
        self._expiry.cancel()
        if self._task is not asyncio.current_task():
            self._task.cancel()
