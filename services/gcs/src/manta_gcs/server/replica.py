"""One GCS replica: it campaigns, loads, serves a term, and when it loses begins again."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field

from manta_common import logs
from manta_common.scheduling import HybridSettings
from manta_proto.gcs.v1 import gcs_pb2

from manta_gcs.actors.actor_table import DEAD_LIMIT
from manta_gcs.core.loading import CoreOptions, Loader, RecordSource, load
from manta_gcs.kernel.record import root_of
from manta_gcs.records.record_writer import RecordWriter
from manta_gcs.server.gcs_metrics import GcsMetrics
from manta_gcs.server.mirror import Mirror
from manta_gcs.server.term import SteppedDown, Term, now
from manta_gcs.store import (
    Chunks,
    Fenced,
    Leadership,
    OutcomeUnknown,
    Store,
    StoreError,
    StoreUnavailable,
    run_compaction,
)
from manta_gcs.store.backoff import Backoff
from manta_gcs.store.leadership import DEFAULT_TTL_S

HOLDER_TIMEOUT_S = 2.0
log = logs.get("gcs")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaOptions:
    """address: where this replica is reached, host:port. inbox_limit: events. leader_ttl_s: seconds."""

    cluster: str
    address: str
    session_name: str
    death_timeout_s: float
    inbox_limit: int
    store_name: str
    hybrid: HybridSettings = field(default_factory=HybridSettings)
    leader_ttl_s: float = DEFAULT_TTL_S
    dead_actor_limit: int = DEAD_LIMIT


class Replica:
    """`term` is set while this replica leads and has loaded; the service serves from it."""

    def __init__(self, store: Store, options: ReplicaOptions, metrics: GcsMetrics) -> None:
        self._store, self._options, self._metrics = store, options, metrics
        self._root = root_of(options.cluster)
        self._chunks = Chunks(store, self._root + b"chunks/")
        self._leadership: Leadership | None = None
        self._disproved_epoch = 0
        self.term: Term | None = None
        self.served = asyncio.Event()  # set while `term` is
        # From when it has first served, or found that another leads.
        self.decided = asyncio.Event()

    async def run(self) -> None:
        """Campaign and serve until cancelled. raises: RecordError, ChunksDamaged, StoreConfigError: do not start."""
        backoff = Backoff(random.Random(), first_s=0.1)
        while True:
            leadership = Leadership(
                self._store, self._root + b"leader", self._options.address.encode(), self._options.leader_ttl_s
            )
            self._leadership = leadership
            mirror = Mirror(self._store, self._root, without=self._root + b"chunks/")
            following = asyncio.create_task(self._follow(mirror, leadership), name="gcs-mirror")
            try:
                await leadership.campaign()
                followed = await mirror.reached(leadership.epoch)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            try:
                await self._serve(leadership, mirror if followed else self._store)
            except SteppedDown as stepped:
                self._disproved_epoch = max(self._disproved_epoch, stepped.claimed_epoch)
                leadership.step_down(stepped.reason)
            except (Fenced, OutcomeUnknown, StoreUnavailable) as error:
                leadership.step_down(str(error))
            log.warning("term_ended", epoch=leadership.epoch)
            await asyncio.sleep(backoff.delay_s())

    async def stop(self) -> None:
        """Hand over: call it after run() was cancelled, which ended the term, so that nothing is being written."""
        if self._leadership is not None:
            await self._leadership.resign()

    async def refusal(self) -> gcs_pb2.Error:
        """What to answer while this replica does not serve: who leads, as far as is known."""
        leader = ""
        with contextlib.suppress(TimeoutError, StoreError):
            async with asyncio.timeout(HOLDER_TIMEOUT_S):
                record = await self._store.get(self._root + b"leader")
                leader = record.value.decode(errors="replace") if record is not None else ""
        if leader and leader != self._options.address:
            return gcs_pb2.Error(
                code=gcs_pb2.Error.NOT_LEADER, message=f"this GCS does not lead; ask {leader}", leader=leader
            )
        return gcs_pb2.Error(
            code=gcs_pb2.Error.UNAVAILABLE, message="no GCS leads at the moment; try again in a second"
        )

    async def _serve(self, leadership: Leadership, source: RecordSource) -> None:
        """Load and serve until the leadership is lost. raises: SteppedDown, StoreError, RecordError."""
        self._chunks.forget()
        writer = RecordWriter(self._store, self._chunks, self._root, leadership.fence)
        loader = Loader(source, self._chunks, self._root, writer)
        options = CoreOptions(
            session_name=self._options.session_name,
            death_timeout_s=self._options.death_timeout_s,
            store_name=self._options.store_name,
            disproved_epoch=self._disproved_epoch,
            hybrid=self._options.hybrid,
            dead_actor_limit=self._options.dead_actor_limit,
        )
        core = await load(loader, leadership.epoch, options, now())
        await loader.drop_stray_chunks(leadership.fence)
        term = Term(core, writer, self._metrics, self._options.inbox_limit)
        await term.begin()
        self.term = term
        self.served.set()
        self.decided.set()
        followed = isinstance(source, Mirror)
        size = {"nodes": len(core.nodes), "jobs": core.jobs.running_count}
        log.info("serving", epoch=leadership.epoch, followed=followed, **size)
        serving = asyncio.create_task(term.serve(), name="gcs-term")
        helpers = [
            asyncio.create_task(leadership.lost.wait(), name="gcs-leadership-lost"),
            asyncio.create_task(run_compaction(self._store), name="gcs-compaction"),
        ]
        try:
            await asyncio.wait([serving, *helpers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # A cancelled write has an unknown outcome; the term is over all the same.
            for task in (serving, *helpers):
                task.cancel()
            outcomes = await asyncio.gather(serving, *helpers, return_exceptions=True)
            self._end_term()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def _end_term(self) -> None:
        term, self.term = self.term, None
        self.served.clear()
        if term is not None:
            text = "this GCS stopped leading; ask another or try again"
            term.end(gcs_pb2.Error(code=gcs_pb2.Error.NOT_LEADER, message=text))
            self._metrics.standing_by()

    async def _follow(self, mirror: Mirror, leadership: Leadership) -> None:
        """Only a standby follows: who leads at once loads once."""
        await leadership.standing_by.wait()
        self.decided.set()
        await mirror.follow()
