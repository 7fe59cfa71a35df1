"""Rows of the worker table: drivers from the jobs, workers from their raylets, and who died lately."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2
from manta_proto.raylet.v1 import raylet_pb2

from ray.util.state.death_causes import exit_type
from ray.util.state.records import WorkerState


def driver_row(job: gcs_pb2.JobRecord) -> WorkerState:
    return WorkerState(
        worker_id=job.driver.worker_id.hex(),
        is_alive=not job.finished,
        worker_type="DRIVER",
        exit_type="INTENDED_USER_EXIT" if job.finished else None,
        node_id=job.driver.node_id.hex(),
        ip=job.driver_ip,
        pid=job.driver_pid,
        start_time_ms=round(job.started_at * 1000),
        end_time_ms=round(job.ended_at * 1000),
    )


def living_rows(node: common_pb2.NodeInfo, described: raylet_pb2.DescribeReply) -> list[WorkerState]:
    return [
        WorkerState(
            worker_id=worker.worker_id.hex(),
            is_alive=True,
            worker_type="WORKER",
            exit_type=None,
            node_id=described.node_id.hex(),
            ip=node.ip_address,
            pid=worker.pid,
            **_times(worker.launched_at, worker.started_at, 0.0),
        )
        for worker in described.workers
    ]


def _times(launched_at: float, started_at: float, ended_at: float) -> dict[str, Any]:
    """Milliseconds; of what did not happen, or nobody saw, what upstream shows: -1 of the launch, 0 of the rest."""
    return {
        "worker_launch_time_ms": round(launched_at * 1000) or -1,
        "worker_launched_time_ms": round(started_at * 1000) or -1,
        "start_time_ms": round(started_at * 1000),
        "end_time_ms": round(ended_at * 1000),
    }


def dead_rows(
    dead: Iterable[common_pb2.DeadWorker], nodes: Mapping[bytes, common_pb2.NodeInfo], known: set[str]
) -> list[WorkerState]:
    """known: ids that have a row already."""
    return [
        WorkerState(
            worker_id=worker.address.worker_id.hex(),
            is_alive=False,
            worker_type="WORKER",
            exit_type=exit_type(worker.cause),
            node_id=worker.address.node_id.hex(),
            ip=nodes[worker.address.node_id].ip_address if worker.address.node_id in nodes else "",
            pid=worker.cause.pid,
            exit_detail=worker.cause.message or None,
            **_times(worker.launched_at, worker.started_at, worker.ended_at),
        )
        for worker in dead
        if worker.address.worker_id.hex() not in known
    ]
