"""The thread that owns the SQLite connection: jobs in, one commit for many, results after the commit."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from manta_gcs.store.errors import OutcomeUnknown, StoreConfigError, StoreError, StoreUnavailable

T = TypeVar("T")

QUEUE_LIMIT: Final = 10_000  # jobs; beyond it callers get StoreUnavailable
GROUP_LIMIT: Final = 256  # jobs that share one commit
# What SQLite raises: MemoryError stands for SQLITE_NOMEM.
FAILURES: Final = (sqlite3.Error, MemoryError)
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass(slots=True)
class _Job:
    run: Callable[[sqlite3.Connection], Any]
    done: asyncio.Future[Any]
    publish: Callable[[Any], None] | None  # in the loop, after the commit and before the caller resumes
    result: Any = None
    error: BaseException | None = None


class SqliteThread:
    """Runs jobs on one connection, in the order they were given, each in a savepoint of its own.

    A result, also that of a read, is handed out only after the commit that it may depend on. After a failure that
    leaves the connection within a transaction it is closed, and the next job opens another.
    """

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], loop: asyncio.AbstractEventLoop, shown: str = "sqlite"
    ) -> None:
        """shown: the store's URL, for messages."""
        self._connect, self._loop, self._shown = connect, loop, shown
        # Told of each further connection, in the thread: what a failed commit left in the log may have come back.
        self.on_reopened: Callable[[sqlite3.Connection], None] = lambda connection: None
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._thread = threading.Thread(target=self._main, name="manta-sqlite", daemon=True)
        self._opened: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._closing = False

    async def start(self) -> None:
        """Open the connection; raises what `connect` raises."""
        self._thread.start()
        await self._opened

    async def close(self) -> None:
        """Finish the queued jobs, close the connection and end the thread."""
        if not self._closing:
            self._closing = True
            self._jobs.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()  # its last act was to say that it ended

    async def run(
        self,
        operation: str,
        job: Callable[[sqlite3.Connection], T],
        publish: Callable[[T], None] | None = None,
    ) -> T:
        """Run a job that may write.

        raises: StoreUnavailable, OutcomeUnknown, StoreConfigError for a damaged file; what the job itself raises.
        """
        try:
            return await self._result(operation, job, publish)
        except _CommitError as error:
            # A failed commit may still have reached the log, and come back when the file is next opened.
            raise OutcomeUnknown(operation, f"SQLite could not commit: {error}") from error

    async def read(self, operation: str, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job that changes nothing, so that its outcome is never unknown. raises: as run(), but for that."""
        try:
            return await self._result(operation, job, None)
        except _CommitError as error:
            raise StoreUnavailable(operation, f"SQLite could not commit what went before: {error}") from error

    async def _result(
        self, operation: str, job: Callable[[sqlite3.Connection], T], publish: Callable[[T], None] | None
    ) -> T:
        if self._closing:
            raise StoreUnavailable(operation, "the store was closed")
        if self._jobs.qsize() >= QUEUE_LIMIT:
            raise StoreUnavailable(operation, f"{QUEUE_LIMIT} operations are queued already")
        done: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(job, done, publish))
        try:
            return await done
        except FAILURES as error:
            if _is_damage(error):
                raise damaged(self._shown, error) from error
            # The savepoint was rolled back before this error was handed out.
            raise StoreUnavailable(operation, f"SQLite: {error or 'out of memory'}") from error

    # ---- in the thread ----

    def _main(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            connection = self._connect()
        except (*FAILURES, OSError, StoreError) as error:
            self._post(_fail, self._opened, error)
            self._post(_settle, self._ended)
            return
        self._post(_settle, self._opened)
        try:
            while (group := self._next_group()) is not None:
                connection = self._served(connection, group)
                self._post(_deliver, group)
        finally:
            if connection is not None:
                _close(connection)
            self._post(_settle, self._ended)

    def _served(self, connection: sqlite3.Connection | None, group: list[_Job]) -> sqlite3.Connection | None:
        """Run a group, whatever happens. returns: the connection for the next one; None: it needs another."""
        try:
            if connection is None:
                connection = self._connect()
                self.on_reopened(connection)
            self._run_group(connection, group)
            if not connection.in_transaction:
                return connection
        except (*FAILURES, OSError, StoreError) as error:
            # None of the group has run: there is no connection.
            for job in group:
                job.error = job.error or (
                    error if isinstance(error, StoreError) else StoreUnavailable("open", str(error))
                )
        if connection is not None:
            _close(connection)
        return None

    def _next_group(self) -> list[_Job] | None:
        """Wait for a job, then take along what else is queued; None at the end."""
        first = self._jobs.get()
        if first is None:
            return None
        group = [first]
        while len(group) < GROUP_LIMIT:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)  # nothing is queued behind it: finish this group, then end
                break
            group.append(job)
        return group

    @staticmethod
    def _run_group(connection: sqlite3.Connection, group: list[_Job]) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in group:
                connection.execute("SAVEPOINT job")
                try:
                    job.result = job.run(connection)
                except Exception as error:  # belongs to the caller of this job, who gets it
                    job.error = error
                    connection.execute("ROLLBACK TO job")
                connection.execute("RELEASE job")
        except FAILURES as error:  # BEGIN failed, or SQLite itself gave the transaction up
            _abort(connection, group, error)
            return
        try:
            connection.execute("COMMIT")
        except FAILURES as error:
            _abort(connection, group, error if _is_damage(error) else _CommitError(str(error) or "out of memory"))

    def _post(self, call: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return  # the loop is closed: nobody is left to hear of it


class _CommitError(Exception):
    """COMMIT failed."""


def damaged(shown: str, error: BaseException) -> StoreConfigError:
    """The error of a file that SQLite cannot make sense of."""
    problem = f"is damaged or no SQLite file: {error}"
    return StoreConfigError(shown, problem, "restore it from a backup or name another file")


def _is_damage(error: BaseException) -> bool:
    # The low byte: SQLite tells the kind of a failure in the others.
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGED


def _close(connection: sqlite3.Connection) -> None:
    # What could not be written back is in the log, and read from there when the file is next opened.
    with contextlib.suppress(*FAILURES):
        connection.close()


def _abort(connection: sqlite3.Connection, group: list[_Job], error: Exception) -> None:
    if connection.in_transaction:
        # When even this fails the connection is given up, which rolls back.
        with contextlib.suppress(*FAILURES):
            connection.execute("ROLLBACK")
    for job in group:
        job.error = job.error or error


def _deliver(group: list[_Job]) -> None:
    for job in group:
        if job.error is None and job.publish is not None:
            job.publish(job.result)
    for job in group:
        if job.done.done():
            continue  # the caller was cancelled
        if job.error is not None:
            job.done.set_exception(job.error)
        else:
            job.done.set_result(job.result)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
