"""The Redis driver: each operation is one call of one script; watches follow its stream of changes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from manta_gcs.store.backoff import Backoff
from manta_gcs.store.errors import LeaseEnded, StoreUnavailable
from manta_gcs.store.interface import (
    Changes,
    EventKind,
    Lease,
    Record,
    Resync,
    Store,
    TxnResult,
    WatchBatch,
    WatchEvent,
)
from manta_gcs.store.operations import Compare, Delete, DeleteRange, LeaseId, Op, Put, check_txn, prefix_end
from manta_gcs.store.redis_channel import RedisChannel
from manta_gcs.store.redis_lease import RedisLease, lease_text
from manta_gcs.store.redis_tail import RedisTail
from manta_gcs.store.url import RedisUrl

PAGE_KEYS: Final = 1000
PAGE_BYTES: Final = 4 * 1024 * 1024
CHANGES_BYTES: Final = 4 * 1024 * 1024
LISTING_ATTEMPTS: Final = 5  # the stream may be trimmed while a long listing reads
REVISION_DIGITS: Final = 16
HEAD: Final = REVISION_DIGITS + 16  # of a stored record: its revision, then its lease


class RedisStore(Store):
    """A store on one primary of Redis 7.0 or newer, found through Sentinel or not."""

    def __init__(self, url: RedisUrl) -> None:
        self._channel = RedisChannel(url)
        self._tail = RedisTail(self._channel)
        self._leases: set[RedisLease] = set()

    # ---- reads ----

    async def get(self, key: bytes) -> Record | None:
        _, packed = (await self._channel.read("get", key)).items
        return None if packed is None else _record(key, packed)

    async def range(self, prefix: bytes) -> tuple[list[Record], int]:
        records, revision, _ = await self._listing(prefix)
        return records, revision

    async def _listing(self, prefix: bytes) -> tuple[list[Record], int, str]:
        """All records under the prefix as of one revision, that revision, and the history that it belongs to.

        Redis keeps no old states, so pages are of different revisions. What changed between the first page and the
        last is read from the stream and applied: a record is then as its last change left it, or as it was read.
        """
        for _ in range(LISTING_ATTEMPTS):
            found, first, last, history = await self._pages(prefix)
            if first == last:
                return [found[key] for key in sorted(found)], last, history
            caught_up = await self._catch_up(found, prefix, first, history)
            if caught_up is not None:
                return [found[key] for key in sorted(found)], caught_up, history
        raise StoreUnavailable("range", f"the changes were trimmed during each of {LISTING_ATTEMPTS} listings")

    async def _pages(self, prefix: bytes) -> tuple[dict[bytes, Record], int, int, str]:
        """The records, the revisions of the first and the last page, and the history of the first."""
        found: dict[bytes, Record] = {}
        start, beyond = b"[" + prefix if prefix else b"-", prefix_end(prefix) or b""
        first, history = -1, ""
        while True:
            answer = await self._channel.read("page", start, beyond, PAGE_KEYS, PAGE_BYTES)
            revision, more, *pairs = answer.items
            if first < 0:
                first, history = int(revision), answer.history
            for key, packed in zip(pairs[::2], pairs[1::2], strict=True):
                found[key] = _record(key, packed)
            if more == b"0":
                return found, first, int(revision), history
            start = b"(" + pairs[-2]

    async def _catch_up(self, found: dict[bytes, Record], prefix: bytes, first: int, history: str) -> int | None:
        """Apply the changes after `first`. returns: the revision reached; None when they are no longer kept."""
        revision = first
        while True:
            answer = await self._channel.read("changes", revision + 1, CHANGES_BYTES)
            kind, last, *entries = answer.items
            if kind == b"gone" or answer.history != history:
                return None
            for event in _events(entries, prefix):
                if event.kind is EventKind.PUT:
                    found[event.key] = Record(event.key, event.value, event.revision)
                else:
                    found.pop(event.key, None)
            if not entries:
                return max(revision, int(last))
            revision = int(entries[-1][0])

    async def revision(self) -> int:
        return int((await self._channel.read("state")).items[0])

    # ---- writes ----

    async def txn(self, compares: Sequence[Compare], ops: Sequence[Op]) -> TxnResult:
        check_txn(compares, ops)
        arguments: list[Any] = [len(compares)]
        for compare in compares:
            arguments += (compare.key, f"{compare.revision:0{REVISION_DIGITS}d}")
        arguments.append(len(ops))
        for op in ops:
            arguments += _step(op)
        kind, detail, *seen = (await self._channel.change("txn", *arguments)).items
        if kind == b"lease":
            raise LeaseEnded(int(detail, 16))
        pairs = dict(zip(seen[::2], seen[1::2], strict=True))  # a key may be compared twice
        records = tuple(_record(key, packed) for key, packed in pairs.items())
        return TxnResult(kind == b"done", int(detail), records)

    async def compact(self, revision: int) -> None:
        kind, last = (await self._channel.read("compact", revision)).items
        if kind == b"future":
            raise ValueError(f"cannot compact at revision {revision}: the store is at {int(last)}")

    # ---- watches ----

    async def watch(self, prefix: bytes, from_revision: int) -> AsyncGenerator[WatchBatch, None]:
        if from_revision < 1:
            raise ValueError(f"a watch from revision {from_revision}: the first revision is 1")
        next_revision, history = from_revision, ""
        backoff = Backoff(random.Random())
        while not self._channel.closed.is_set():
            changed = self._tail.changed()
            try:
                answer = await self._channel.read("changes", next_revision, CHANGES_BYTES)
                kind, _, *entries = answer.items
                # Another history may lack what was delivered, and have other changes at the same revisions.
                if kind == b"gone" or answer.history != (history or answer.history):
                    records, revision, history = await self._listing(prefix)
                    next_revision = revision + 1
                    yield Resync(tuple(records), revision)
                    continue
            except StoreUnavailable:
                # Of what could not be read just now the tail may have told already: nothing else would wake us.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(backoff.delay_s()):
                        await changed.wait()
                continue
            history = answer.history
            backoff.reset()
            if not entries:
                await changed.wait()
                continue
            next_revision = int(entries[-1][0]) + 1
            if events := tuple(_events(entries, prefix)):
                yield Changes(events, events[-1].revision)

    # ---- leases ----

    async def grant_lease(self, ttl_s: float) -> Lease:
        """Under an id of our own choosing, so that a repeated request grants no second one."""
        if not 0 < ttl_s <= 86_400:
            raise ValueError(f"a lease of {ttl_s} s: use a time above 0 and up to a day")
        lease_id = LeaseId(secrets.randbits(62) + 1)
        while True:
            sent_at = time.monotonic()
            await self._channel.read("grant", lease_text(lease_id), int(ttl_s * 1000))
            if time.monotonic() < sent_at + ttl_s:
                break  # else the answer took so long that the lease may have ended already
        lease = RedisLease(self._channel, lease_id, ttl_s, sent_at)
        self._leases = {known for known in self._leases if not known.lost.is_set()} | {lease}
        return lease

    async def close(self) -> None:
        if self._channel.closed.is_set():
            return
        self._channel.closed.set()
        for lease in self._leases:
            await lease.stop()
        await self._tail.close()
        await self._channel.close()


def _record(key: bytes, packed: bytes) -> Record:
    return Record(key, packed[HEAD:], int(packed[:REVISION_DIGITS]))


def _step(op: Op) -> tuple[str, bytes, bytes, str]:
    """An operation as the script takes it: its kind, its key, a value or an end, a lease."""
    match op:
        case Put(key=key, value=value, lease=lease):
            return "put", key, value, lease_text(lease or LeaseId(0))
        case Delete(key=key):
            return "delete", key, b"", lease_text(LeaseId(0))
        case DeleteRange(prefix=prefix):
            return "range", prefix, prefix_end(prefix) or b"", lease_text(LeaseId(0))


def _events(entries: Sequence[Any], prefix: bytes) -> list[WatchEvent]:
    """The changes under a prefix in entries of the stream, (revision, [key, change, ...]) each."""
    found = []
    for revision, fields in entries:
        for key, change in zip(fields[::2], fields[1::2], strict=True):
            if key.startswith(prefix):
                kind = EventKind.PUT if change[:1] == b"P" else EventKind.DELETE
                found.append(WatchEvent(kind, key, change[1:], int(revision)))
    return found
