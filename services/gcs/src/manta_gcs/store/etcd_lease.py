"""A lease on etcd, kept alive in the background and believed only until its own deadline."""

from __future__ import annotations

import asyncio
import math
import random
import time

from manta_common import logs
from manta_proto.etcd.v3 import rpc_pb2 as pb

from manta_gcs.store.backoff import Backoff
from manta_gcs.store.etcd_channel import CallFailed, EtcdChannel
from manta_gcs.store.etcd_errors import Verdict
from manta_gcs.store.etcd_methods import LEASE_KEEPALIVE, LEASE_REVOKE
from manta_gcs.store.interface import Lease
from manta_gcs.store.operations import LeaseId

log = logs.get("manta_gcs.store")


class EtcdLease(Lease):
    """`deadline` counts from when the last granted request was sent, so it never outlasts the server's."""

    def __init__(self, channel: EtcdChannel, lease_id: LeaseId, ttl_s: float, sent_at: float) -> None:
        super().__init__(lease_id, ttl_s, sent_at + ttl_s)
        self._channel = channel
        self._expiry = asyncio.get_running_loop().call_later(self.deadline - time.monotonic(), self._expire)
        self._task = asyncio.create_task(self._keep_alive(), name=f"etcd-lease-{lease_id:x}")

    async def revoke(self) -> None:
        self._end()
        try:
            await self._channel.read(LEASE_REVOKE, pb.LeaseRevokeRequest(ID=self.id))
        except CallFailed as failure:
            if failure.verdict is not Verdict.LEASE_GONE:
                raise failure.as_store_error(self._channel.url.shown) from failure

    def abandon(self) -> None:
        """The expiry timer goes on: `lost` is set when the time has run out."""
        self._task.cancel()

    async def stop(self) -> None:
        """End the keepalive and the timer, when the store closes."""
        self._expiry.cancel()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_alive(self) -> None:
        """A renewal each third of the time; after a failure at once again, on another endpoint."""
        backoff = Backoff(random.Random(), limit_s=self.ttl_s / 6)
        while not self.lost.is_set():
            try:
                await self._renew()
            except CallFailed as failure:
                log.warning("lease_not_renewed", lease_id=self.id, reason=failure.reason, left_s=self._left_s())
                delay_s = backoff.delay_s()
            else:
                backoff.reset()
                delay_s = self.ttl_s / 3
            await asyncio.sleep(delay_s)

    async def _renew(self) -> None:
        sent_at = time.monotonic()
        async with self._channel.stream(LEASE_KEEPALIVE) as stream:
            await stream.send(pb.LeaseKeepAliveRequest(ID=self.id))
            reply = await stream.receive(max(self.ttl_s / 3, 0.1))
        if reply.TTL <= 0:
            self._lose("etcd no longer knows the lease")
            return
        self.deadline = max(self.deadline, sent_at + reply.TTL)
        self._expiry.cancel()
        if time.monotonic() >= self.deadline:
            self._expire()  # the reply came so late that the lease may be gone again
        else:
            self._expiry = asyncio.get_running_loop().call_later(self.deadline - time.monotonic(), self._expire)

    def _left_s(self) -> float:
        return round(self.deadline - time.monotonic(), 3)

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


def whole_seconds(ttl_s: float) -> int:
    """etcd counts in seconds: rounded up, at least one; raises ValueError for nonsense."""
    if not 0 < ttl_s <= 86_400:
        raise ValueError(f"a lease of {ttl_s} s: use a time above 0 and up to a day")
    return math.ceil(ttl_s)
