"""The end of the stream of changes: wakes all watches of a store, and sees to it that leases end in time."""

from __future__ import annotations

import asyncio
import random
from typing import Final

from manta_common import logs
from redis import exceptions as errors

from manta_gcs.store.backoff import Backoff
from manta_gcs.store.errors import StoreError, StoreUnavailable
from manta_gcs.store.redis_channel import CHANGES_KEY, RedisChannel

LONGEST_BLOCK_S: Final = 5.0  # a server that is gone without a word is noticed after that, and after the URL's time
LAST_OF_REVISION: Final = 2**64 - 1
log = logs.get("manta_gcs.store")


class RedisTail:
    """One blocking read for all watches. Redis ends a lease only when it is called, so a call comes when one is due."""

    def __init__(self, channel: RedisChannel) -> None:
        self._channel = channel
        self._changed = asyncio.Event()  # replaced at each change: watches wait on the one they saw
        self._task: asyncio.Task[None] | None = None

    def changed(self) -> asyncio.Event:
        """Set once something may have changed since this call, or the connection was made anew.

        To be taken before the changes are read. Starts the reading with the first watch.
        """
        if self._task is None and not self._channel.closed.is_set():
            self._task = asyncio.create_task(self._follow(), name="redis-tail")
        return self._changed

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _follow(self) -> None:
        backoff = Backoff(random.Random())
        known = -1
        while not self._channel.closed.is_set():
            try:
                revision, due_ms = (int(item) for item in (await self._channel.read("state")).items)
                if revision != known:
                    known = revision
                    self._wake()
                await self._block(revision, due_ms)
            except StoreError as error:
                log.warning("watch_interrupted", store=self._channel.url.shown, reason=str(error))
                self._wake()  # a watch that failed for the same reason tries again
                known = -1
                await asyncio.sleep(backoff.delay_s())
            else:
                backoff.reset()

    async def _block(self, revision: int, due_ms: int) -> None:
        """Until the stream goes beyond the revision, a lease is due (-1: there is none), or for LONGEST_BLOCK_S."""
        longest_ms = int(LONGEST_BLOCK_S * 1000)
        block_ms = min(due_ms + 1, longest_ms) if due_ms >= 0 else longest_ms
        async with self._channel.connection("XREAD") as (connection, _):
            after = f"{revision}-{LAST_OF_REVISION}"
            try:
                async with asyncio.timeout(block_ms / 1000 + self._channel.url.timeout_s):
                    await connection.send_command("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", CHANGES_KEY, after)
                    await connection.read_response()
            except (errors.RedisError, OSError) as error:  # a TimeoutError is an OSError
                await self._channel.drop(connection)
                raise StoreUnavailable("XREAD", str(error) or "no answer in time") from error
            except BaseException:
                await self._channel.drop(connection)
                raise

    async def close(self) -> None:
        self._wake()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
