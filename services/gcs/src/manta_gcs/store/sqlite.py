"""The SQLite driver: one file, one process, watches pushed within it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from manta_common import logs

from manta_gcs.store.backoff import Backoff
from manta_gcs.store.errors import LeaseEnded, OutcomeUnknown, StoreConfigError, StoreUnavailable
from manta_gcs.store.history import History
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
from manta_gcs.store.sqlite_file import connect, revision_of, set_revision
from manta_gcs.store.sqlite_lock import FileLock
from manta_gcs.store.sqlite_thread import SqliteThread
from manta_gcs.store.url import SqliteUrl

COMPLAIN_EVERY_S: Final = 30.0
log = logs.get("manta_gcs.store")


@dataclass(frozen=True, slots=True)
class _Written:
    """A txn's result and the changes it made."""

    result: TxnResult
    events: tuple[WatchEvent, ...]


_Job = Callable[[sqlite3.Connection], _Written]


class SqliteStore(Store):
    """Records in a table; revisions from a counter in the same transaction; changes kept in memory for watches."""

    def __init__(self, url: SqliteUrl, thread: SqliteThread, lock: FileLock | None, revision: int) -> None:
        self._url, self._thread, self._lock = url, thread, lock
        self._history = History(floor=revision)
        self._revision = revision
        self._loop = asyncio.get_running_loop()
        thread.on_reopened = self._reopened
        self._changed = asyncio.Event()  # replaced at each change: watches wait on the one they saw
        self._leases: dict[LeaseId, _SqliteLease] = {}
        # Above every id of earlier processes, whose leases ended with them.
        self._next_lease = time.time_ns()
        self._sweeping: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(cls, url: SqliteUrl, holder: str) -> SqliteStore:
        """Lock and open the file, and end the leases of a process that died.

        holder: this process's address, for the message that a second process on the same file gets.
        raises: StoreHeldError, StoreConfigError; StoreUnavailable, OutcomeUnknown when it cannot be written.
        """
        lock = FileLock.acquire(url.path, holder) if url.path else None
        thread = SqliteThread(_Connect(url), asyncio.get_running_loop(), url.shown)
        try:
            await thread.start()
            revision = await thread.read("open", revision_of)
            store = cls(url, thread, lock, revision)
            await store._delete_ended()
        except BaseException:
            await thread.close()
            if lock is not None:
                lock.release()
            raise
        return store

    # ---- reads ----

    async def get(self, key: bytes) -> Record | None:
        return await self._thread.read("get", lambda connection: _record(connection, key))

    async def range(self, prefix: bytes) -> tuple[list[Record], int]:
        def job(connection: sqlite3.Connection) -> tuple[list[Record], int]:
            end = prefix_end(prefix)
            where, arguments = ("", (prefix,)) if end is None else (" AND key < ?", (prefix, end))
            rows = connection.execute(
                f"SELECT key, value, revision FROM records WHERE key >= ?{where} ORDER BY key", arguments
            )
            return [Record(*row) for row in rows], revision_of(connection)

        return await self._thread.read("range", job)

    async def revision(self) -> int:
        return await self._thread.read("revision", revision_of)

    # ---- writes ----

    async def txn(self, compares: Sequence[Compare], ops: Sequence[Op]) -> TxnResult:
        check_txn(compares, ops)
        compares, ops = tuple(compares), tuple(ops)
        for op in ops:
            if isinstance(op, Put) and op.lease is not None and op.lease not in self._leases:
                raise LeaseEnded(op.lease)
        return (await self._run("txn", lambda connection: _apply(connection, compares, ops))).result

    async def _run(self, operation: str, job: _Job) -> _Written:
        return await self._thread.run(operation, job, self._publish)

    def _publish(self, written: _Written) -> None:
        if not written.events:
            return
        self._history.append(written.events)
        self._revision = written.events[-1].revision
        self._wake_watches()

    def _reopened(self, connection: sqlite3.Connection) -> None:
        """In the thread. Watches list anew when the file holds changes that nobody was told of."""
        self._loop.call_soon_threadsafe(self._begin_history_at, revision_of(connection))

    def _begin_history_at(self, revision: int) -> None:
        if revision != self._revision:
            self._history.forget_through(max(revision, self._revision))
            self._revision = revision
            self._wake_watches()

    def _wake_watches(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def compact(self, revision: int) -> None:
        if revision > self._revision:
            raise ValueError(f"cannot compact at revision {revision}: the store is at {self._revision}")
        self._history.forget_through(revision - 1)

    # ---- watches ----

    async def watch(self, prefix: bytes, from_revision: int) -> AsyncGenerator[WatchBatch, None]:
        if from_revision < 1:
            raise ValueError(f"a watch from revision {from_revision}: the first revision is 1")
        next_revision = from_revision
        while True:
            await asyncio.sleep(0)  # a consumer that catches up must not hold the event loop
            if self._closed:
                return
            changed = self._changed
            batch = self._history.since(prefix, next_revision)
            if batch is None:
                records, revision = await self.range(prefix)
                next_revision = revision + 1
                yield Resync(tuple(records), revision)
                continue
            if batch.revision >= next_revision:
                next_revision = batch.revision + 1
                if batch.events:
                    yield Changes(batch.events, batch.events[-1].revision)
                continue
            await changed.wait()

    # ---- leases ----

    async def grant_lease(self, ttl_s: float) -> Lease:
        if ttl_s <= 0:
            raise ValueError(f"a lease of {ttl_s} s")
        lease = _SqliteLease(self, LeaseId(self._next_lease), ttl_s)
        self._next_lease += 1
        self._leases[lease.id] = lease
        return lease

    async def end_lease(self, lease_id: LeaseId) -> None:
        """Delete a lease's keys. When that fails the store goes on trying by itself.

        raises: StoreUnavailable, OutcomeUnknown.
        """
        if self._leases.pop(lease_id, None) is None:
            return
        try:
            await self._delete_ended()
        except BaseException:
            self._sweep()
            raise

    async def _delete_ended(self) -> None:
        """Delete the keys of all leases but those that live; so one that could not be ended goes with the next."""
        living = tuple(self._leases)
        await self._run("end leases", lambda connection: _end_leases(connection, living))

    def _sweep(self) -> None:
        """Keys of an ended lease are there still, as after a full disk: a leader's would keep everyone standing by."""
        if not self._closed and (self._sweeping is None or self._sweeping.done()):
            self._sweeping = asyncio.create_task(self._keep_deleting(), name="sqlite-lease-sweep")

    async def _keep_deleting(self) -> None:
        backoff = Backoff(random.Random(), first_s=0.05)
        told_at = 0.0
        while True:
            # First of all a pause: whoever began this has just failed. No event tells that the disk has room again.
            await asyncio.sleep(backoff.delay_s())
            try:
                await self._delete_ended()
                return
            except (StoreUnavailable, OutcomeUnknown) as error:
                if time.monotonic() - told_at > COMPLAIN_EVERY_S:
                    told_at = time.monotonic()
                    log.warning("lease_end_waits_for_store", reason=str(error))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._wake_watches()
        for lease in list(self._leases.values()):
            await lease.stop()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        await self._thread.close()
        if self._lock is not None:
            self._lock.release()


class _Connect:
    """Opens the file, as often as needed; memory only once, for what was in it went with its connection."""

    def __init__(self, url: SqliteUrl) -> None:
        self._url, self._opened = url, False

    def __call__(self) -> sqlite3.Connection:
        if self._opened and self._url.path is None:
            raise StoreConfigError(self._url.shown, "was lost with its connection", "use a file")
        connection = connect(self._url)
        self._opened = True
        return connection


class _SqliteLease(Lease):
    """A lease that only this process can lose: it lasts until it is revoked or its keepalive stops."""

    def __init__(self, store: SqliteStore, lease_id: LeaseId, ttl_s: float) -> None:
        super().__init__(lease_id, ttl_s, time.monotonic() + ttl_s)
        self._store = store
        self._abandoned = asyncio.Event()
        self._task = asyncio.create_task(self._keep(), name=f"sqlite-lease-{lease_id:x}")

    async def _keep(self) -> None:
        while not self._abandoned.is_set():
            self.deadline = time.monotonic() + self.ttl_s
            try:
                async with asyncio.timeout(self.ttl_s / 3):
                    await self._abandoned.wait()
            except TimeoutError:
                continue
        await asyncio.sleep(self.deadline - time.monotonic())
        self.lost.set()
        with contextlib.suppress(StoreUnavailable, OutcomeUnknown):  # the store goes on trying
            await self._store.end_lease(self.id)

    async def revoke(self) -> None:
        await self.stop()
        self.lost.set()
        await self._store.end_lease(self.id)

    def abandon(self) -> None:
        self._abandoned.set()

    async def stop(self) -> None:
        """End the timer; the keys stay for whoever opens the file next to delete."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


# ---- jobs, run in the thread ----


def _record(connection: sqlite3.Connection, key: bytes) -> Record | None:
    row = connection.execute("SELECT key, value, revision FROM records WHERE key = ?", (key,)).fetchone()
    return Record(*row) if row else None


def _apply(connection: sqlite3.Connection, compares: Sequence[Compare], ops: Sequence[Op]) -> _Written:
    present = [(compare, _record(connection, compare.key)) for compare in compares]
    if any((record.revision if record else 0) != compare.revision for compare, record in present):
        seen = tuple(record for _, record in present if record is not None)
        return _Written(TxnResult(False, revision_of(connection), seen), ())
    events: list[WatchEvent] = []
    revision = revision_of(connection) + 1
    for op in ops:
        match op:
            case Put(key=key, value=value, lease=lease):
                connection.execute(
                    "INSERT OR REPLACE INTO records (key, value, revision, lease) VALUES (?, ?, ?, ?)",
                    (key, value, revision, lease or 0),
                )
                events.append(WatchEvent(EventKind.PUT, key, value, revision))
            case Delete(key=key):
                rows = connection.execute("DELETE FROM records WHERE key = ? RETURNING key", (key,)).fetchall()
                events += _deletions(rows, revision)
            case DeleteRange(prefix=prefix):
                end = prefix_end(prefix)
                rows = connection.execute(
                    "DELETE FROM records WHERE key >= ? AND (? IS NULL OR key < ?) RETURNING key", (prefix, end, end)
                ).fetchall()
                events += _deletions(sorted(rows), revision)
    return _written(connection, events, revision)


def _end_leases(connection: sqlite3.Connection, living: Sequence[LeaseId]) -> _Written:
    # "lease != 0" lets SQLite use the index, which covers just those.
    marks = ", ".join("?" * len(living))
    query = f"DELETE FROM records WHERE lease != 0 AND lease NOT IN ({marks}) RETURNING key"
    rows = connection.execute(query, living).fetchall()
    revision = revision_of(connection) + 1
    return _written(connection, _deletions(sorted(rows), revision), revision)


def _deletions(rows: Sequence[tuple[bytes]], revision: int) -> list[WatchEvent]:
    return [WatchEvent(EventKind.DELETE, key, b"", revision) for (key,) in rows]


def _written(connection: sqlite3.Connection, events: Sequence[WatchEvent], revision: int) -> _Written:
    """As etcd does: a txn that changed nothing does not raise the revision."""
    if not events:
        return _Written(TxnResult(True, revision - 1), ())
    set_revision(connection, revision)
    return _Written(TxnResult(True, revision), tuple(events))
