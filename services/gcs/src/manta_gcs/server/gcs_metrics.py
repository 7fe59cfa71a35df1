"""The metrics of the GCS, under Ray's names where Ray has them."""

from __future__ import annotations

from manta_common.metrics import Metrics

from manta_gcs.actors.actor_state import ActorState
from manta_gcs.core.core import GcsCore
from manta_gcs.placement_groups.group_state import GroupState
from manta_gcs.server.task_metrics import TaskCollector

RPC_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class GcsMetrics:
    """Gauges are set once a batch; a replica that does not lead shows zeros."""

    def __init__(self, metrics: Metrics) -> None:
        self._actors = metrics.gauge("ray_actors", "Actors by state", ["State"])
        self._nodes = metrics.gauge("ray_cluster_active_nodes", "Living nodes")
        self._jobs = metrics.gauge("ray_running_jobs", "Jobs that have not ended")
        self._pending = metrics.gauge("manta_gcs_unplaced_actors", "Actors that wait for a node")
        self._groups = metrics.gauge("ray_placement_groups", "Placement groups by state", ["State"])
        self._pending_groups = metrics.gauge("manta_gcs_unplaced_placement_groups", "Groups that wait for nodes")
        self._leader = metrics.gauge("manta_gcs_is_leader", "1 while this replica serves")
        self._epoch = metrics.gauge("manta_gcs_epoch", "Epoch of this replica's last term")
        # The rpc layer times unary calls; requests inside a stream are counted here, by the field that they fill.
        self._requests = metrics.histogram(
            "manta_rpc_seconds", "Unary calls, and requests inside streams", ["method", "code"], RPC_BUCKETS
        )
        self.inbox_depth = metrics.gauge("manta_gcs_inbox_depth", "Events that wait for the core")
        self.sessions = metrics.gauge("manta_gcs_sessions", "Open streams", ["kind"])
        self.write_seconds = metrics.histogram("manta_gcs_store_write_seconds", "Group commits to the store")
        self.batch_events = metrics.histogram(
            "manta_gcs_batch_events", "Events of one group commit", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
        )
        self.stream_ends = metrics.counter("manta_gcs_streams_ended", "Streams that the GCS ended", ["kind"])
        self._tasks = TaskCollector()
        metrics.registry.register(self._tasks)
        self.standing_by()

    def standing_by(self) -> None:
        self._tasks.table = None
        self._leader.set(0)
        self._nodes.set(0)
        self._jobs.set(0)
        self._pending.set(0)
        for state in ActorState:
            self._actors.labels(State=state.name).set(0)
        self._pending_groups.set(0)
        for group_state in GroupState:
            self._groups.labels(State=group_state.name).set(0)

    def answered(self, request: str, code: str, seconds: float) -> None:
        self._requests.labels(method=f"Connect/{request}", code=code).observe(seconds)

    def show(self, core: GcsCore) -> None:
        self._leader.set(1)
        self._tasks.table = core.tasks
        self._epoch.set(core.epoch)
        self._nodes.set(len(core.nodes))
        self._jobs.set(core.jobs.running_count)
        self._pending.set(len(core.actors.placement))
        counts = core.actor_counts()
        for state in ActorState:
            self._actors.labels(State=state.name).set(counts.get(state, 0))
        self._pending_groups.set(len(core.groups.placement.queue))
        groups = core.group_counts()
        for group_state in GroupState:
            self._groups.labels(State=group_state.name).set(groups.get(group_state, 0))
