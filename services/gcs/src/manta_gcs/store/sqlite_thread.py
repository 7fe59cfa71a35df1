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

from manta_gcs.store.errors import OutcomeUnknown, StoreError, StoreUnavailable

T = TypeVar("T")

QUEUE_LIMIT: Final = 10_000  # jobs; beyond it callers get StoreUnavailable
GROUP_LIMIT: Final = 256  # jobs that share one commit


@dataclass(slots=True)
class _Job:
    run: Callable[[sqlite3.Connection], Any]
    done: asyncio.Future[Any]
    publish: Callable[[Any], None] | None  # in the loop, after the commit and before the caller resumes
    result: Any = None
    error: BaseException | None = None


class SqliteThread:
    """Runs jobs on one connection, in the order they were given, each in a savepoint of its own.

    A result, also that of a read, is handed out only after the commit that it may depend on.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], loop: asyncio.AbstractEventLoop) -> None:
        self._connect, self._loop = connect, loop
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
        """Run a job; its exception, turned into a StoreError when it is SQLite's, is raised here."""
        if self._closing:
            raise StoreUnavailable(operation, "the store was closed")
        if self._jobs.qsize() >= QUEUE_LIMIT:
            raise StoreUnavailable(operation, f"{QUEUE_LIMIT} operations are queued already")
        done: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(job, done, publish))
        try:
            return await done
        except sqlite3.Error as error:
            # The savepoint was rolled back before this error was handed out.
            raise StoreUnavailable(operation, f"SQLite: {error}") from error
        except _CommitError as error:
            # A failed commit may still have reached the log, and come back when the file is next opened.
            raise OutcomeUnknown(operation, f"SQLite could not commit: {error}") from error

    # ---- in the thread ----

    def _main(self) -> None:
        try:
            connection = self._connect()
        except (sqlite3.Error, OSError, StoreError) as error:
            self._post(_fail, self._opened, error)
            self._post(_settle, self._ended)
            return
        self._post(_settle, self._opened)
        try:
            while (group := self._next_group()) is not None:
                self._run_group(connection, group)
                self._post(_deliver, group)
        finally:
            connection.close()
            self._post(_settle, self._ended)

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
        except sqlite3.Error as error:  # BEGIN failed, or SQLite itself gave the transaction up
            _abort(connection, group, error)
            return
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            _abort(connection, group, _CommitError(str(error)))

    def _post(self, call: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return  # the loop is closed: nobody is left to hear of it


class _CommitError(Exception):
    """COMMIT failed."""


def _abort(connection: sqlite3.Connection, group: list[_Job], error: Exception) -> None:
    if connection.in_transaction:
        # When even this fails, each later BEGIN fails too, and every caller is told so.
        with contextlib.suppress(sqlite3.Error):
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
