"""The object manager's metrics, read from its parts when the page is asked for."""

from collections.abc import Callable
from functools import partial

from manta_common.metrics import Metrics

from manta_object_manager.client_server import ClientServer
from manta_object_manager.flight_server import FlightServer
from manta_object_manager.incoming import Incoming
from manta_object_manager.object_table import Copy, ObjectTable
from manta_object_manager.remote_free import RemoteFrees
from manta_object_manager.store import Store


def register(
    metrics: Metrics,
    store: Store,
    incoming: Incoming,
    clients: ClientServer,
    transfers: FlightServer,
    frees: RemoteFrees,
) -> None:
    """Ray's documented names first, then ours."""
    table = store.table
    memory = metrics.gauge(
        "ray_object_store_memory", "Bytes of objects by place and state", ["Location", "ObjectState"]
    )
    for state, sealed in (("SEALED", True), ("UNSEALED", False)):
        memory.labels(Location="MMAP_SHM", ObjectState=state).set_function(partial(_bytes, table, sealed))
        # Nothing is spilled, or mapped from disk, yet; dashboards add the places up.
        memory.labels(Location="SPILLED", ObjectState=state).set(0)
        memory.labels(Location="MMAP_DISK", ObjectState=state).set(0)
    readings: tuple[tuple[str, str, Callable[[], float]], ...] = (
        ("ray_object_store_available_memory", "Free bytes of the arena", lambda: table.available_bytes),
        ("ray_object_store_used_memory", "Bytes in ranges of live objects", lambda: _bytes(table)),
        ("ray_object_store_num_local_objects", "Objects in the arena", lambda: len(table)),
        ("manta_arena_size_bytes", "Size of the arena", lambda: store.memory.size),
        ("manta_arena_reserved_bytes", "Bytes that the kernel backs with pages", lambda: store.memory.reserved),
        ("manta_arena_pinned_bytes", "Bytes in ranges that somebody pins", lambda: table.pinned_bytes),
        (
            "manta_arena_extents_bytes",
            "Bytes that clients hold ahead for what they will write",
            lambda: table.extents.bytes,
        ),
        ("manta_arena_extents", "Extents that clients hold", lambda: len(table.extents)),
        ("manta_arena_evictable_bytes", "Bytes of secondary copies that may go", lambda: table.evictable_bytes),
        ("manta_arena_evicted_bytes", "Bytes of secondary copies that went", lambda: table.evicted_bytes),
        ("manta_arena_evicted_objects", "Secondary copies that went", lambda: table.evicted_objects),
        (
            "manta_arena_primary_objects",
            "Objects that were made here",
            lambda: sum(entry.copy is Copy.PRIMARY for entry in table),
        ),
        ("manta_object_manager_clients", "Processes that are connected or hold pins", lambda: clients.clients),
        ("manta_object_pulls_active", "Objects on their way here", lambda: len(incoming.pulls)),
        ("manta_object_pulls_receiving_bytes", "Bytes reserved for them", lambda: incoming.pulls.receiving_bytes),
        ("manta_object_prefetched", "Arguments that wait here for their task", lambda: store.prefetch.pinned),
        ("manta_object_prefetched_bytes_total", "Of arguments so far", lambda: store.prefetch.arrived_bytes),
        ("manta_object_remote_frees_dropped", "Frees on other nodes given up", lambda: frees.dropped),
    )
    for name, doc, read in readings:
        metrics.gauge(name, doc).set_function(read)
    pulls = metrics.gauge("manta_object_pulls_total", "Streams from other nodes by result", ["result"])
    pulls.labels(result="arrived").set_function(lambda: float(incoming.arrived_objects))
    pulls.labels(result="failed").set_function(lambda: float(incoming.failed_pulls))
    moved = metrics.gauge("manta_object_transfer_bytes_total", "Bytes of transfers by direction", ["direction"])
    moved.labels(direction="in").set_function(lambda: float(incoming.arrived_bytes))
    moved.labels(direction="out").set_function(lambda: float(transfers.sent_bytes))


def _bytes(table: ObjectTable, sealed: bool | None = None) -> int:
    return sum(entry.range.size for entry in table if sealed is None or (entry.creator is None) is sealed)
