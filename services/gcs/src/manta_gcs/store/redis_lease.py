"""A lease on Redis, kept alive in the background and believed only until its own deadline."""

from __future__ import annotations

import asyncio
import random
import time

from manta_common import logs

from manta_gcs.store.backoff import Backoff
from manta_gcs.store.errors import StoreError
from manta_gcs.store.interface import Lease
from manta_gcs.store.operations import LeaseId
from manta_gcs.store.redis_channel import RedisChannel

log = logs.get("manta_gcs.store")


class RedisLease(Lease):
    """Its end is reckoned by the server's clock; `deadline` counts from when the last renewal was sent."""

    def __init__(
        self, channel: RedisChannel, lease_id: LeaseId, ttl_s: float, sent_at: float, rng: random.Random
    ) -> None:
        super().__init__(lease_id, ttl_s, sent_at + ttl_s)
        self._channel = channel
        self._backoff = Backoff(rng, limit_s=ttl_s / 6)
        self._expiry = asyncio.get_running_loop().call_later(self.deadline - time.monotonic(), self._expire)
        self._task = asyncio.create_task(self._keep_alive(), name=f"redis-lease-{lease_id:x}")

    async def revoke(self) -> None:
        self._end()
        await self._channel.read("revoke", lease_text(self.id))

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
        await asyncio.sleep(self.ttl_s / 3)
        while not self.lost.is_set():
            try:
                await self._renew()
            except StoreError as error:
                left_s = round(self.deadline - time.monotonic(), 3)
                log.warning("lease_not_renewed", lease_id=self.id, reason=str(error), left_s=left_s)
                delay_s = self._backoff.delay_s()
            else:
                self._backoff.reset()
                delay_s = self.ttl_s / 3
            await asyncio.sleep(delay_s)

    async def _renew(self) -> None:
        sent_at = time.monotonic()
        (kind,) = (await self._channel.read("keep", lease_text(self.id), int(self.ttl_s * 1000))).items
        if kind == b"gone":
            self._lose("Redis no longer knows the lease")
            return
        self.deadline = max(self.deadline, sent_at + self.ttl_s)
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


def lease_text(lease_id: LeaseId) -> str:
    """A lease's id as the script takes it: 16 hex digits; zeros mean no lease."""
    return f"{lease_id:016x}"
