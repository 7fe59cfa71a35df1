"""A watch on etcd that loses nothing: resumed after every break, listed anew after a compaction."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from manta_common import logs
from manta_proto.etcd.v3 import rpc_pb2 as pb

from manta_gcs.store.backoff import Backoff
from manta_gcs.store.errors import StoreConfigError, StoreUnavailable
from manta_gcs.store.etcd_channel import CallFailed, EtcdChannel, EtcdStream
from manta_gcs.store.etcd_errors import Verdict
from manta_gcs.store.etcd_methods import WATCH
from manta_gcs.store.interface import Changes, EventKind, Record, Resync, WatchBatch, WatchEvent
from manta_gcs.store.operations import prefix_end

# Without it a member that lost its quorum goes on as if nothing happened from then on.
HAS_LEADER: Final = (("hasleader", "true"),)
COMPLAIN_AFTER_S: Final = 30.0
DENIALS_LIMIT: Final = 3  # with a fresh token each time, before the user is taken to lack the right

Lister = Callable[[bytes], Awaitable[tuple[list[Record], int]]]
_Stream = EtcdStream[pb.WatchRequest, pb.WatchResponse]
log = logs.get("manta_gcs.store")


class _Compacted(Exception):
    """The revision to resume at is gone."""


class _Denied(Exception):
    """etcd refused the watch: a dead token, or no right to the prefix."""


@dataclass(slots=True)
class WatchStats:
    """What the watches of one store went through."""

    reopened: int = 0
    resyncs: int = 0
    last_break: str = ""


class EtcdWatch:
    """One consumer's watch. `next_revision` is one past the last change handed out, never a header's revision:

    headers carry the revision of the whole store, also where older changes are still to come.
    """

    def __init__(
        self, channel: EtcdChannel, list_prefix: Lister, prefix: bytes, from_revision: int, stats: WatchStats
    ) -> None:
        if from_revision < 1:
            raise ValueError(f"a watch from revision {from_revision}: the first revision is 1")
        self._channel, self._list, self._prefix, self._stats = channel, list_prefix, prefix, stats
        self.next_revision = from_revision
        self._backoff = Backoff(random.Random())
        self._broken_since: float | None = None
        self._denials = 0

    async def batches(self) -> AsyncGenerator[WatchBatch, None]:
        """For ever, or until the store is closed; raises StoreConfigError when etcd denies the prefix."""
        while not self._channel.closed.is_set():
            try:
                async for changes in self._one_stream():
                    self.next_revision = changes.revision + 1
                    yield changes
            except _Compacted:
                listing = await self._listing()
                if listing is not None:
                    self.next_revision = listing.revision + 1
                    self._stats.resyncs += 1
                    log.warning("watch_resynced", prefix=self._prefix, records=len(listing.records))
                    yield listing
            except CallFailed as failure:
                if failure.verdict is Verdict.CONFIG:
                    raise failure.as_store_error(self._channel.url.shown) from failure
                await self._after_break(failure.reason)
            except _Denied as denial:
                self._denials += 1
                if self._denials >= DENIALS_LIMIT:
                    raise StoreConfigError(
                        self._channel.url.shown, f"watching {self._prefix!r}: {denial}", "grant the user that prefix"
                    ) from denial
                await self._after_break(str(denial))

    async def _one_stream(self) -> AsyncGenerator[Changes, None]:
        async with self._channel.stream(WATCH, HAS_LEADER) as stream:
            create = pb.WatchCreateRequest(
                key=self._prefix or b"\0",
                range_end=prefix_end(self._prefix) or b"\0",
                start_revision=self.next_revision,
                fragment=True,
            )
            await stream.send(pb.WatchRequest(create_request=create))
            # A frozen server accepts connections and streams, and never answers.
            reply = await stream.receive(self._channel.url.timeout_s)
            self._check(reply, stream)
            self._opened()
            pieces: list[pb.Event] = []
            while True:
                reply = await stream.receive()
                self._check(reply, stream)
                pieces += reply.events
                if reply.fragment or not pieces:
                    continue
                # The server repeats nothing; dropping what was seen makes "exactly once" independent of that.
                events = tuple(_event(piece) for piece in pieces if piece.kv.mod_revision >= self.next_revision)
                pieces = []
                if events:
                    yield Changes(events, max(event.revision for event in events))

    def _check(self, reply: pb.WatchResponse, stream: _Stream) -> None:
        if not reply.canceled:
            return
        if reply.compact_revision:
            raise _Compacted
        if "permission denied" in reply.cancel_reason or "auth" in reply.cancel_reason:
            self._channel.forget_token(stream.token)
            raise _Denied(reply.cancel_reason)
        raise CallFailed(WATCH.name, Verdict.UNKNOWN, f"{stream.endpoint}: canceled: {reply.cancel_reason}")

    def _opened(self) -> None:
        self._backoff.reset()
        self._denials = 0
        if self._broken_since is not None:
            log.info("watch_resumed", prefix=self._prefix, broken_s=round(time.monotonic() - self._broken_since, 3))
            self._broken_since = None

    async def _listing(self) -> Resync | None:
        try:
            records, revision = await self._list(self._prefix)
        except StoreUnavailable as error:
            await self._after_break(error.reason)
            return None
        return Resync(tuple(records), revision)

    async def _after_break(self, reason: str) -> None:
        if self._channel.closed.is_set():
            return
        self._stats.reopened += 1
        self._stats.last_break = reason
        now = time.monotonic()
        if self._broken_since is None:
            self._broken_since = now
            log.info("watch_broken", prefix=self._prefix, reason=reason, resume_at=self.next_revision)
        elif now - self._broken_since > COMPLAIN_AFTER_S:
            log.warning(
                "watch_waits_for_etcd", prefix=self._prefix, reason=reason, for_s=round(now - self._broken_since)
            )
        await self._channel.pause(self._backoff.delay_s())


def _event(event: pb.Event) -> WatchEvent:
    kind = EventKind.DELETE if event.type == pb.Event.DELETE else EventKind.PUT
    return WatchEvent(kind, event.kv.key, event.kv.value, event.kv.mod_revision)
