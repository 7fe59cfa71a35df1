"""A replica's life on a store that fails: what it does meanwhile, and what has to be true afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from manta_common.metrics import Metrics
from manta_gcs.kernel.events import ClientAsked
from manta_gcs.server.gcs_metrics import GcsMetrics
from manta_gcs.server.replica import Replica, ReplicaOptions
from manta_gcs.server.term import Term, now
from manta_gcs.store import Store
from manta_proto.gcs.v1 import gcs_pb2

ROOT = b"/manta/v1/default/"
LARGE = b"x" * 300_000  # kept in chunks
KEYS = {b"small": b"v", b"large": LARGE + b"y", b"last": b"v", b"gone": b""}
DEADLINE_S = 30.0
OPTIONS = ReplicaOptions(
    cluster="default",
    address="127.0.0.1:1",
    session_name="s",
    death_timeout_s=5,
    inbox_limit=100,
    store_name="sqlite",
    leader_ttl_s=0.15,
)


class Client:
    """Asks whichever term serves, again and again until it is answered, as a process of the cluster does."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._number = 0

    async def ask(self, **body: Any) -> gcs_pb2.GcsReply:
        while True:
            await self._replica.served.wait()
            term = self._replica.term
            reply = await self._ask(term, **body) if term is not None else None
            if reply is not None and not reply.HasField("error"):
                return reply
            await asyncio.sleep(0)

    async def _ask(self, term: Term, **body: Any) -> gcs_pb2.GcsReply | None:
        self._number += 1
        session, outbox = term.open_client()
        request = gcs_pb2.ClientRequest(request_id=self._number, **body)
        term.inbox.offer(ClientAsked(now(), session, request))
        try:
            async for replies in outbox.batches():
                return gcs_pb2.GcsReply.FromString(replies[0])
            return None
        finally:
            term.forget(session)


async def live(store: Store, arm: Callable[[bool], object]) -> None:
    """Lead, write small and large values, delete, hand over; nothing that was acknowledged may be lost.

    arm: turns the store's faults on, and off again.
    """
    arm(True)
    replica = Replica(store, OPTIONS, GcsMetrics(Metrics("gcs")))
    running = asyncio.create_task(replica.run())
    client = Client(replica)
    try:
        await client.ask(kv_put=gcs_pb2.KvPut(key=b"small", value=b"v"))
        await client.ask(kv_put=gcs_pb2.KvPut(key=b"large", value=LARGE))
        await client.ask(kv_put=gcs_pb2.KvPut(key=b"large", value=LARGE + b"y", overwrite=True))
        await client.ask(kv_put=gcs_pb2.KvPut(key=b"gone", value=b"v"))
        await client.ask(kv_delete=gcs_pb2.KvDelete(key=b"gone"))
        arm(False)
        await client.ask(kv_put=gcs_pb2.KvPut(key=b"last", value=b"v"))
        values = {key: (await client.ask(kv_get=gcs_pb2.KvGet(key=key))).kv_value for key in KEYS}
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await replica.stop()
    assert {key: value.value for key, value in values.items()} == KEYS
    assert not values[b"gone"].found
    assert await store.get(ROOT + b"leader") is None
