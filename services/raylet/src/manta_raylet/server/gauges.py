"""The raylet's metrics, read from the node when the page is asked for."""

from __future__ import annotations

from collections.abc import Callable

from manta_common.metrics import Metrics
from manta_common.resources import OBJECT_STORE_MEMORY, UNIT

from manta_raylet.clients.node import Node
from manta_raylet.workers.worker_table import WorkerState


def register(metrics: Metrics, node: Node) -> None:
    """Add the node's metrics; they follow it when it gets another core."""
    resources = metrics.gauge("ray_resources", "Logical resources of this node.", ["Name", "State"])

    def used(name: str) -> Callable[[], float]:
        if name == OBJECT_STORE_MEMORY:
            return lambda: node.arena_used
        return lambda: (node.core.ledger.total.get(name) - node.core.ledger.available.get(name)) / UNIT

    def available(name: str) -> Callable[[], float]:
        if name == OBJECT_STORE_MEMORY:
            return lambda: node.core.ledger.available.get(name) / UNIT - node.arena_used
        return lambda: node.core.ledger.available.get(name) / UNIT

    for name in node.core.spec.total:
        resources.labels(Name=name, State="USED").set_function(used(name))
        resources.labels(Name=name, State="AVAILABLE").set_function(available(name))

    tasks = metrics.gauge("manta_lease_tasks", "Tasks by state, as far as this node's leases tell.", ["State"])

    def tasks_in(state: str) -> Callable[[], float]:
        return lambda: node.core.leases.task_states()[state]

    for name in node.core.leases.task_states():
        tasks.labels(State=name).set_function(tasks_in(name))

    workers = metrics.gauge("manta_workers", "Worker processes by state.", ["State"])

    def count(state: WorkerState) -> Callable[[], float]:
        return lambda: node.core.pool.table.count(state)

    for state in WorkerState:
        if state is not WorkerState.DEAD:
            workers.labels(State=state.name).set_function(count(state))
    for gauge, doc, read in (
        ("manta_leases_queued", "Units of lease requests that wait.", lambda: len(node.core.leases.queue)),
        ("manta_leases_held", "Leases that clients hold.", lambda: node.core.leases.leases),
        ("manta_actors_hosted", "Actors that live or start here.", lambda: len(node.core.actors)),
        ("manta_clients", "Drivers and workers known here.", lambda: sum(1 for _ in node.clients)),
        ("manta_user_series_dropped", "User-defined series beyond the limit.", lambda: node.user_metrics.dropped),
        ("ray_running_jobs", "Jobs known here that have not ended.", lambda: node.core.jobs.running()),
    ):
        metrics.gauge(gauge, doc).set_function(read)
    granted = metrics.counter("manta_leases_granted", "Leases granted.")
    spilled = metrics.counter("manta_spillbacks", "Units of lease requests that were sent on to another node.")
    node.on_counts(granted.inc, spilled.inc)
