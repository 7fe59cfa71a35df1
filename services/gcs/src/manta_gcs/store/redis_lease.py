"""A lease on Redis, which ends by the server's clock."""

from __future__ import annotations

from manta_gcs.store.kept_lease import KeptLease
from manta_gcs.store.operations import LeaseId
from manta_gcs.store.redis_channel import RedisChannel


class RedisLease(KeptLease):
    """Renewed and ended by calls of the script."""

    def __init__(self, channel: RedisChannel, lease_id: LeaseId, ttl_s: float, sent_at: float) -> None:
        super().__init__(lease_id, ttl_s, sent_at)
        self._channel = channel

    async def renew(self) -> float | None:
        (kind,) = (await self._channel.read("keep", lease_text(self.id), int(self.ttl_s * 1000))).items
        return self.ttl_s if kind == b"done" else None

    async def end_at_server(self) -> None:
        await self._channel.read("revoke", lease_text(self.id))


def lease_text(lease_id: LeaseId) -> str:
    """A lease's id as the script takes it: 16 hex digits; zeros mean no lease."""
    return f"{lease_id:016x}"
