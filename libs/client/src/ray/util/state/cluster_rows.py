"""Rows of the tables of nodes, jobs and placement groups."""

from __future__ import annotations

import json
from typing import Any

from manta_common.resources import ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2, placement_group_pb2

from ray.util.state.death_causes import death_dict
from ray.util.state.records import JobState, NodeState, PlacementGroupState

_States = placement_group_pb2.PlacementGroupState


def node_row(info: common_pb2.NodeInfo) -> NodeState:
    dead = info.state == common_pb2.NodeInfo.DEAD
    draining = info.state == common_pb2.NodeInfo.DRAINING
    message = info.death_cause.message if dead else "draining" if draining else None
    return NodeState(
        node_id=info.node_id.hex(),
        node_ip=info.ip_address,
        is_head_node=info.is_head,
        state="DEAD" if dead else "ALIVE",
        state_message=message,
        node_name=info.node_name or info.ip_address,
        resources_total=ResourceSet.from_proto(info.total).to_floats(),
        labels=dict(info.labels),
        start_time_ms=_ms(info.started_at),
        end_time_ms=_ms(info.ended_at) or 0,
    )


def job_row(job: gcs_pb2.JobRecord) -> JobState:
    return JobState(
        job_id=job.job_id.hex(),
        entrypoint=job.entrypoint,
        type="DRIVER",
        # A driver's exit code is not known to the cluster, so no end of one counts as a failure.
        status="SUCCEEDED" if job.finished else "RUNNING",
        driver_info={"id": job.job_id.hex(), "node_ip_address": job.driver_ip, "pid": str(job.driver_pid)},
        start_time=_ms(job.started_at),
        end_time=_ms(job.ended_at),
        metadata=dict(job.metadata),
        runtime_env=json.loads(job.runtime_env or "{}"),
        driver_node_id=job.driver.node_id.hex(),
    )


def placement_group_row(info: placement_group_pb2.PlacementGroupInfo) -> PlacementGroupState:
    spec, status = info.spec, info.status
    return PlacementGroupState(
        placement_group_id=spec.placement_group_id.hex(),
        name=spec.name,
        creator_job_id=spec.creator_job_id.hex(),
        state=_States.Name(status.state).removeprefix("PG_"),
        bundles=[_bundle(index, info) for index in range(len(spec.bundles))],
        is_detached=spec.detached,
        stats=_stats(status),
    )


def _bundle(index: int, info: placement_group_pb2.PlacementGroupInfo) -> dict[str, Any]:
    placed = info.status.bundles[index].node_id.hex() if index < len(info.status.bundles) else ""
    return {
        "bundle_id": {"placement_group_id": info.spec.placement_group_id.hex(), "bundle_index": index},
        "unit_resources": ResourceSet.from_proto(info.spec.bundles[index].resources).to_floats(),
        "node_id": placed or None,
    }


def _stats(status: placement_group_pb2.PlacementGroupStatus) -> dict[str, Any]:
    state = placement_group_pb2.PlacementGroupStatus.SchedulingState.Name(status.scheduling_state)
    stats: dict[str, Any] = {"scheduling_state": state, "scheduling_attempt": status.attempts}
    if status.created_at:
        stats["end_to_end_creation_latency_ms"] = round((status.created_at - status.requested_at) * 1000, 3)
        stats["scheduling_latency_ms"] = round(max(0.0, status.created_at - status.attempted_at) * 1000, 3)
    if status.pending_reason:
        stats["pending_reason"] = status.pending_reason
    if status.HasField("cause"):
        stats["cause"] = death_dict(status.cause)
    return stats


def _ms(seconds: float) -> int | None:
    return round(seconds * 1000) if seconds else None
