"""Loading a cluster: all tables from the store into a new core."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from manta_common.scheduling import HybridSettings
from manta_proto.gcs.v1 import actor_pb2, placement_group_pb2, records_pb2

from manta_gcs.actors.actor import Actor
from manta_gcs.actors.actor_table import DEAD_LIMIT
from manta_gcs.core.core import GcsCore
from manta_gcs.jobs.identity import KEY, ClusterIdentity
from manta_gcs.kernel.events import Moment
from manta_gcs.kernel.record import RecordError, Table, decode
from manta_gcs.records.record_writer import RecordWriter
from manta_gcs.store import Chunks, Compare
from manta_gcs.store.interface import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreOptions:
    """What a core is made with, beside what is stored."""

    session_name: str
    death_timeout_s: float
    store_name: str
    disproved_epoch: int = 0
    dead_actor_limit: int = DEAD_LIMIT
    hybrid: HybridSettings = field(default_factory=HybridSettings)


class RecordSource(Protocol):
    """The store itself, or a standby's mirror of it."""

    async def range(self, prefix: bytes) -> tuple[list[Record], int]: ...


class Loader:
    """Reads tables, following records that stand for chunks."""

    def __init__(self, source: RecordSource, chunks: Chunks, root: bytes, writer: RecordWriter) -> None:
        self._source, self._chunks, self._root, self._writer = source, chunks, root, writer

    async def table(self, table: Table) -> dict[str, records_pb2.StoredRecord]:
        """Records by id. raises: RecordError for one that is damaged or of a foreign version, StoreUnavailable."""
        found: dict[str, records_pb2.StoredRecord] = {}
        records, _ = await self._source.range(self._root + table.value.encode() + b"/")
        for item in records:
            key, stored = decode(item.key, item.value, self._root)
            if stored.HasField("chunks"):
                self._writer.adopt(item.key, stored.chunks.digest)
                whole = await self._chunks.load(stored.chunks.digest)
                key, stored = decode(item.key, whole, self._root)
            found[key.id] = stored
        return found

    async def drop_stray_chunks(self, fence: Compare) -> None:
        """Remove what a save that was cut short left behind."""
        for digest in await self._chunks.digests() - self._writer.digests:
            await self._chunks.delete(digest, fence)


async def load(loader: Loader, epoch: int, options: CoreOptions, at: Moment) -> GcsCore:
    """A core with all that is stored. raises: RecordError, ChunksDamaged, StoreUnavailable."""
    cluster = (await loader.table(Table.CLUSTER)).get(KEY.id)
    identity = (
        ClusterIdentity.restored(cluster.cluster)
        if cluster is not None
        else ClusterIdentity(uuid.uuid4().hex, options.session_name)
    )
    core = GcsCore(
        identity,
        epoch,
        options.death_timeout_s,
        Random(),
        options.store_name,
        disproved_epoch=options.disproved_epoch,
        hybrid=options.hybrid,
        dead_actor_limit=options.dead_actor_limit,
    )
    for stored in sorted((await loader.table(Table.NODE)).values(), key=lambda r: r.node.info.ended_at):
        core.nodes.restore(stored.node.info, at.steady)
    for stored in sorted((await loader.table(Table.JOB)).values(), key=lambda r: r.job.ended_at):
        core.jobs.restore(stored.job)
    for identity_text, stored in (await loader.table(Table.KV)).items():
        core.kv.restore(identity_text, stored.kv)
    for identity_text, stored in (await loader.table(Table.NAME)).items():
        core.actors.names.restore(identity_text, stored.name)
    for digest, stored in (await loader.table(Table.DEFINITION)).items():
        core.actors.table.restore_definition(digest, stored.definition.definition)
    for actor in _actors(await loader.table(Table.ACTOR_SPEC), await loader.table(Table.ACTOR)):
        core.actors.table.add(actor)
    for group in _groups(await loader.table(Table.PLACEMENT_GROUP)):
        core.groups.restore(group)
    return core


def _groups(records: dict[str, records_pb2.StoredRecord]) -> list[placement_group_pb2.PlacementGroupInfo]:
    """The oldest request first, the longest removed before all others."""
    for key, stored in records.items():
        state = stored.placement_group.status.state
        if state not in placement_group_pb2.PlacementGroupState.values():
            raise RecordError(f"placement_group/{key}", f"state {state} is unknown; was it written by a newer GCS?")
    infos = [stored.placement_group for stored in records.values()]
    return sorted(infos, key=lambda i: (i.status.ended_at, i.status.requested_at, i.spec.placement_group_id))


def _actors(specs: dict[str, records_pb2.StoredRecord], statuses: dict[str, records_pb2.StoredRecord]) -> list[Actor]:
    """Actors of both records, the longest dead first. One without the other was never acknowledged."""
    actors = []
    for key in specs.keys() & statuses.keys():
        spec, status = specs[key].actor, statuses[key].actor.status
        if status.state not in actor_pb2.ActorState.values():
            raise RecordError(f"actor/{key}", f"state {status.state} is unknown; was it written by a newer GCS?")
        actors.append(Actor.restored(spec.spec, spec.definition_digest.hex(), status))
    return sorted(actors, key=lambda actor: (actor.ended_at, actor.id))
