"""Tasks as a chrome trace: a bar for each that ran, a line for each worker."""

from __future__ import annotations

import warnings
from typing import Any

from ray.util.state.common import RAY_MAX_LIMIT_FROM_API_SERVER, ListApiOptions, StateResource


def chrome_trace(address: str | None = None) -> list[dict[str, Any]]:
    """Events of the trace format, times in microseconds; of the latest 10,000 attempts that ran.

    raises: RayStateApiException when the cluster does not answer.
    """
    from ray.util.state.api import StateApiClient

    options = ListApiOptions(limit=RAY_MAX_LIMIT_FROM_API_SERVER, detail=True)
    client = StateApiClient(address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the older ones are not in it
        tasks = client.list(StateResource.TASKS, options, raise_on_missing_output=False)
        nodes = {row.node_id: row.node_ip for row in client.list(StateResource.NODES, options, False)}
    return [
        {
            "cat": f"task::{task.func_or_class_name}",
            "name": task.name,
            "ph": "X",
            "ts": task.start_time_ms * 1000,
            "dur": max(0, task.end_time_ms - task.start_time_ms) * 1000,
            "pid": f"Node {nodes.get(task.node_id, task.node_id)}",
            "tid": f"{'actor' if task.actor_id else 'worker'}:{task.worker_pid}",
            "cname": "terrible" if task.state == "FAILED" else "good",
            "args": {
                "task_id": task.task_id,
                "job_id": task.job_id,
                "attempt_number": task.attempt_number,
                "func_or_class_name": task.func_or_class_name,
                "actor_id": task.actor_id,
                "state": task.state,
            },
        }
        for task in tasks
        if task.start_time_ms and task.end_time_ms
    ]
