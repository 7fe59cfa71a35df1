"""The etcd driver: the store's operations as calls of etcd's v3 API."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from manta_proto.etcd.v3 import rpc_pb2 as pb

from manta_gcs.store.errors import LeaseEnded, StoreUnavailable
from manta_gcs.store.etcd_channel import CallFailed, EtcdChannel
from manta_gcs.store.etcd_errors import Verdict
from manta_gcs.store.etcd_lease import EtcdLease, whole_seconds
from manta_gcs.store.etcd_methods import COMPACT, LEASE_GRANT, RANGE, TXN
from manta_gcs.store.etcd_watch import EtcdWatch, WatchStats
from manta_gcs.store.interface import Lease, Record, Store, TxnResult, WatchBatch
from manta_gcs.store.operations import Compare, Delete, DeleteRange, LeaseId, Op, Put, check_txn, prefix_end
from manta_gcs.store.url import EtcdUrl

FIRST_PAGE: Final = 128  # keys; at the largest value of 1 MiB that is twice what may be received, hence _Pages
LARGEST_PAGE: Final = 4096
PAGE_BYTES: Final = 8 * 1024 * 1024  # aimed at
LISTING_ATTEMPTS: Final = 5  # a compaction may overtake the revision that a long listing reads at


class EtcdStore(Store):
    """A store on an etcd cluster, 3.4 or newer."""

    def __init__(self, url: EtcdUrl) -> None:
        """Connects at the first call, so that a GCS can start before its etcd. raises: StoreConfigError."""
        self._channel = EtcdChannel(url)
        self._leases: set[EtcdLease] = set()
        self.watch_stats = WatchStats()

    def _error(self, failure: CallFailed) -> Exception:
        return failure.as_store_error(self._channel.url.shown)

    # ---- reads ----

    async def get(self, key: bytes) -> Record | None:
        try:
            reply = await self._channel.read(RANGE, pb.RangeRequest(key=key))
        except CallFailed as failure:
            raise self._error(failure) from failure
        return _record(reply.kvs[0]) if reply.kvs else None

    async def range(self, prefix: bytes) -> tuple[list[Record], int]:
        for _ in range(LISTING_ATTEMPTS):
            try:
                return await self._pages(prefix)
            except CallFailed as failure:
                if failure.verdict is not Verdict.COMPACTED:
                    raise self._error(failure) from failure
        raise StoreUnavailable("Range", f"etcd compacted during each of {LISTING_ATTEMPTS} listings of {prefix!r}")

    async def _pages(self, prefix: bytes) -> tuple[list[Record], int]:
        records: list[Record] = []
        revision = 0  # of the first page; the others are read at it
        start, end, limit = prefix or b"\0", prefix_end(prefix) or b"\0", FIRST_PAGE
        while True:
            request = pb.RangeRequest(key=start, range_end=end, limit=limit, revision=revision)
            try:
                reply = await self._channel.read(RANGE, request)
            except CallFailed as failure:
                if failure.verdict is Verdict.TOO_LARGE_TO_RECEIVE and limit > 1:
                    limit = max(1, limit // 8)
                    continue
                raise
            revision = revision or reply.header.revision
            records += map(_record, reply.kvs)
            if not reply.more:
                return records, revision
            start = reply.kvs[-1].key + b"\0"
            limit = _next_limit(limit, reply.ByteSize())

    async def revision(self) -> int:
        try:
            reply = await self._channel.read(RANGE, pb.RangeRequest(key=b"\0", count_only=True))
        except CallFailed as failure:
            raise self._error(failure) from failure
        return reply.header.revision

    # ---- writes ----

    async def txn(self, compares: Sequence[Compare], ops: Sequence[Op]) -> TxnResult:
        check_txn(compares, ops)
        request = pb.TxnRequest(
            compare=[
                pb.Compare(target=pb.Compare.MOD, result=pb.Compare.EQUAL, key=c.key, mod_revision=c.revision)
                for c in compares
            ],
            success=[_request_op(op) for op in ops],
            failure=[pb.RequestOp(request_range=pb.RangeRequest(key=compare.key)) for compare in compares],
        )
        try:
            reply = await self._channel.change(TXN, request)
        except CallFailed as failure:
            if failure.verdict is Verdict.LEASE_GONE:
                raise LeaseEnded(next((op.lease for op in ops if isinstance(op, Put) and op.lease), 0)) from failure
            raise self._error(failure) from failure
        seen: tuple[Record, ...] = ()
        if not reply.succeeded:
            seen = tuple(_record(pair) for response in reply.responses for pair in response.response_range.kvs)
        return TxnResult(reply.succeeded, reply.header.revision, seen)

    async def compact(self, revision: int) -> None:
        try:
            await self._channel.read(COMPACT, pb.CompactionRequest(revision=revision))
        except CallFailed as failure:
            if failure.verdict is not Verdict.COMPACTED:
                raise self._error(failure) from failure

    # ---- watches and leases ----

    def watch(self, prefix: bytes, from_revision: int) -> AsyncGenerator[WatchBatch, None]:
        return EtcdWatch(self._channel, self.range, prefix, from_revision, self.watch_stats).batches()

    async def grant_lease(self, ttl_s: float) -> Lease:
        """Repeated when the answer is lost: a lease nobody knows of ends by itself."""
        request = pb.LeaseGrantRequest(TTL=whole_seconds(ttl_s))
        while True:
            sent_at = time.monotonic()
            try:
                reply = await self._channel.read(LEASE_GRANT, request)
            except CallFailed as failure:
                raise self._error(failure) from failure
            if reply.error:
                raise StoreUnavailable(LEASE_GRANT.name, reply.error)
            if time.monotonic() < sent_at + reply.TTL:
                break  # else the answer took so long that the lease may have ended already
        lease = EtcdLease(self._channel, LeaseId(reply.ID), float(reply.TTL), sent_at)
        self._leases = {known for known in self._leases if not known.lost.is_set()} | {lease}
        return lease

    async def close(self) -> None:
        if self._channel.closed.is_set():
            return
        for lease in self._leases:
            await lease.stop()
        await self._channel.close()


def _next_limit(limit: int, page_bytes: int) -> int:
    """Keys of the next page: twice as many after a small page, half after a large one."""
    if page_bytes > PAGE_BYTES:
        return max(1, limit // 2)
    return min(LARGEST_PAGE, limit * 2) if page_bytes < PAGE_BYTES // 4 else limit


def _record(pair: pb.KeyValue) -> Record:
    return Record(pair.key, pair.value, pair.mod_revision)


def _request_op(op: Op) -> pb.RequestOp:
    match op:
        case Put(key=key, value=value, lease=lease):
            return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease or 0))
        case Delete(key=key):
            return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
        case DeleteRange(prefix=prefix):
            return pb.RequestOp(
                request_delete_range=pb.DeleteRangeRequest(key=prefix, range_end=prefix_end(prefix) or b"\0")
            )
