"""A lease on etcd."""

from __future__ import annotations

import math

from manta_proto.etcd.v3 import rpc_pb2 as pb

from manta_gcs.store.errors import StoreUnavailable
from manta_gcs.store.etcd_channel import CallFailed, EtcdChannel
from manta_gcs.store.etcd_errors import Verdict
from manta_gcs.store.etcd_methods import LEASE_KEEPALIVE, LEASE_REVOKE
from manta_gcs.store.kept_lease import KeptLease
from manta_gcs.store.operations import LeaseId


class EtcdLease(KeptLease):
    """Each renewal is a stream of its own, so that after a failure the next one goes to another endpoint."""

    def __init__(self, channel: EtcdChannel, lease_id: LeaseId, ttl_s: float, sent_at: float) -> None:
        super().__init__(lease_id, ttl_s, sent_at)
        self._channel = channel

    async def renew(self) -> float | None:
        try:
            async with self._channel.stream(LEASE_KEEPALIVE) as stream:
                await stream.send(pb.LeaseKeepAliveRequest(ID=self.id))
                reply = await stream.receive(max(self.ttl_s / 3, 0.1))
        except CallFailed as failure:
            raise StoreUnavailable(LEASE_KEEPALIVE.name, failure.reason) from failure
        return float(reply.TTL) if reply.TTL > 0 else None

    async def end_at_server(self) -> None:
        try:
            await self._channel.read(LEASE_REVOKE, pb.LeaseRevokeRequest(ID=self.id))
        except CallFailed as failure:
            if failure.verdict is not Verdict.LEASE_GONE:
                raise failure.as_store_error(self._channel.url.shown) from failure


def whole_seconds(ttl_s: float) -> int:
    """etcd counts in seconds: rounded up, at least one; raises ValueError for nonsense."""
    if not 0 < ttl_s <= 86_400:
        raise ValueError(f"a lease of {ttl_s} s: use a time above 0 and up to a day")
    return math.ceil(ttl_s)
