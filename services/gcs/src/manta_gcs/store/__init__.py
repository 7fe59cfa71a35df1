"""The GCS's store: one interface, its drivers chosen by URL, leadership and large values on top of it."""

from manta_gcs.store.chunks import Chunks, needs_chunks
from manta_gcs.store.compaction import run_compaction
from manta_gcs.store.errors import (
    ChunksDamaged,
    Fenced,
    LeaseEnded,
    OutcomeUnknown,
    StoreConfigError,
    StoreError,
    StoreHeldError,
    StoreUnavailable,
)
from manta_gcs.store.interface import (
    Changes,
    Epoch,
    EventKind,
    Lease,
    Record,
    Resync,
    Store,
    TxnResult,
    WatchBatch,
    WatchEvent,
)
from manta_gcs.store.leadership import Leadership
from manta_gcs.store.operations import Compare, Delete, DeleteRange, LeaseId, Op, Put
from manta_gcs.store.registry import open_store

__all__ = [
    "Changes",
    "Chunks",
    "ChunksDamaged",
    "Compare",
    "Delete",
    "DeleteRange",
    "Epoch",
    "EventKind",
    "Fenced",
    "Leadership",
    "Lease",
    "LeaseEnded",
    "LeaseId",
    "Op",
    "OutcomeUnknown",
    "Put",
    "Record",
    "Resync",
    "Store",
    "StoreConfigError",
    "StoreError",
    "StoreHeldError",
    "StoreUnavailable",
    "TxnResult",
    "WatchBatch",
    "WatchEvent",
    "needs_chunks",
    "open_store",
    "run_compaction",
]
