"""The state tables: one class for the rows of each."""

# ruff: noqa: RUF009 - column() makes a dataclasses.field

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ray.util.state.schema import StateSchema, column, date_text, events_text, resources_text, size_text

_Dict = dict[str, Any]


@dataclass(kw_only=True)
class ActorState(StateSchema):
    """An actor, living or dead."""

    actor_id: str = column(filterable=True)
    class_name: str = column(filterable=True)
    # DEPENDENCIES_UNREADY, PENDING_CREATION, ALIVE, RESTARTING or DEAD.
    state: str = column(filterable=True)
    job_id: str = column(filterable=True)
    name: str | None = column(filterable=True)
    node_id: str | None = column(filterable=True)
    pid: int | None = column(filterable=True)
    ray_namespace: str | None = column(filterable=True)
    serialized_runtime_env: str | None = column(detail=True, default=None)
    required_resources: _Dict | None = column(detail=True, default=None, text=resources_text)
    death_cause: _Dict | None = column(detail=True, default=None)
    is_detached: bool | None = column(detail=True, default=None)
    placement_group_id: str | None = column(detail=True, filterable=True, default=None)
    repr_name: str | None = column(detail=True, filterable=True, default=None)
    num_restarts: int = column(detail=True, default=0)
    num_restarts_due_to_lineage_reconstruction: int = column(detail=True, default=0)
    num_restarts_due_to_node_preemption: int = column(detail=True, default=0)
    call_site: str | None = column(detail=True, default=None)
    label_selector: _Dict | None = column(detail=True, default=None)
    fallback_strategy: _Dict | None = column(detail=True, default=None)
    # Why it has no node yet; of this system's own.
    pending_reason: str | None = column(detail=True, default=None)


@dataclass(kw_only=True)
class TaskState(StateSchema):
    """One attempt of a task. The states are those of manta.gcs.v1.TaskStatus."""

    task_id: str = column(filterable=True)
    attempt_number: int = column(filterable=True)
    name: str = column(filterable=True)
    state: str = column(filterable=True)
    job_id: str = column(filterable=True)
    actor_id: str | None = column(filterable=True)
    # NORMAL_TASK, ACTOR_CREATION_TASK or ACTOR_TASK.
    type: str = column(filterable=True)
    func_or_class_name: str = column(filterable=True)
    parent_task_id: str = column(filterable=True)
    node_id: str | None = column(filterable=True)
    worker_id: str | None = column(filterable=True)
    worker_pid: int | None = column(filterable=True)
    error_type: str | None = column(filterable=True)
    language: str | None = column(detail=True, filterable=True, default=None)
    required_resources: _Dict | None = column(detail=True, default=None, text=resources_text)
    runtime_env_info: _Dict | None = column(detail=True, default=None)
    placement_group_id: str | None = column(detail=True, filterable=True, default=None)
    events: list[_Dict] | None = column(detail=True, default=None, text=events_text)
    profiling_data: _Dict | None = column(detail=True, default=None)
    creation_time_ms: int | None = column(detail=True, default=None, text=date_text)
    start_time_ms: int | None = column(detail=True, default=None, text=date_text)
    end_time_ms: int | None = column(detail=True, default=None, text=date_text)
    task_log_info: _Dict | None = column(detail=True, default=None)
    error_message: str | None = column(detail=True, default=None)
    is_debugger_paused: bool | None = column(detail=True, default=None)
    call_site: str | None = column(detail=True, default=None)
    label_selector: _Dict | None = column(detail=True, default=None)
    fallback_strategy: _Dict | None = column(detail=True, default=None)
    # Why it has no node yet; of this system's own.
    pending_reason: str | None = column(detail=True, default=None)


@dataclass(kw_only=True)
class NodeState(StateSchema):
    """A node, living or dead."""

    node_id: str = column(filterable=True)
    node_ip: str = column(filterable=True)
    is_head_node: bool = column(filterable=True)
    state: str = column(filterable=True)
    state_message: str | None = column(default=None)
    node_name: str = column(filterable=True)
    resources_total: _Dict = column(text=resources_text)
    labels: _Dict = column()
    start_time_ms: int | None = column(detail=True, default=None, text=date_text)
    end_time_ms: int | None = column(detail=True, default=None, text=date_text)


@dataclass(kw_only=True)
class JobState(StateSchema):
    """A driver and what it started. `type` is DRIVER; status is RUNNING or SUCCEEDED."""

    job_id: str | None = column(filterable=True)
    submission_id: str | None = column(filterable=True, default=None)
    entrypoint: str = column(filterable=True)
    type: str = column(filterable=True)
    status: str = column(filterable=True)
    message: str | None = column(default=None)
    error_type: str | None = column(filterable=True, default=None)
    driver_info: _Dict | None = column(default=None)
    start_time: int | None = column(detail=True, default=None, text=date_text)
    end_time: int | None = column(detail=True, default=None, text=date_text)
    metadata: _Dict | None = column(detail=True, default=None)
    runtime_env: _Dict | None = column(detail=True, default=None)
    driver_agent_http_address: str | None = column(detail=True, default=None)
    driver_node_id: str | None = column(detail=True, default=None)
    driver_exit_code: int | None = column(detail=True, default=None)


@dataclass(kw_only=True)
class WorkerState(StateSchema):
    """A worker or driver process; of the dead, those that died lately."""

    worker_id: str = column(filterable=True)
    is_alive: bool = column(filterable=True)
    # WORKER or DRIVER.
    worker_type: str = column(filterable=True)
    exit_type: str | None = column(filterable=True)
    node_id: str = column(filterable=True)
    ip: str = column(filterable=True)
    pid: int = column(filterable=True)
    exit_detail: str | None = column(detail=True, default=None)
    worker_launch_time_ms: int | None = column(detail=True, default=None, text=date_text)
    worker_launched_time_ms: int | None = column(detail=True, default=None, text=date_text)
    start_time_ms: int | None = column(detail=True, default=None, text=date_text)
    end_time_ms: int | None = column(detail=True, default=None, text=date_text)
    debugger_port: int | None = column(detail=True, default=None)
    num_paused_threads: int | None = column(detail=True, default=None)


@dataclass(kw_only=True)
class PlacementGroupState(StateSchema):
    """A placement group."""

    placement_group_id: str = column(filterable=True)
    name: str = column(filterable=True)
    creator_job_id: str = column(filterable=True)
    # PENDING, PREPARED, CREATED, REMOVED or RESCHEDULING.
    state: str = column(filterable=True)
    bundles: list[_Dict] | None = column(detail=True, default=None)
    is_detached: bool | None = column(detail=True, filterable=True, default=None)
    stats: _Dict | None = column(detail=True, default=None)
    topology_strategy: _Dict | None = column(detail=True, default=None)
    topology_assignments: _Dict | None = column(detail=True, default=None)


@dataclass(kw_only=True)
class ObjectState(StateSchema):
    """A reference to an object."""

    object_id: str = column(filterable=True)
    object_size: int = column(filterable=True, text=size_text)
    task_status: str = column(filterable=True)
    attempt_number: int = column(filterable=True)
    reference_type: str = column(filterable=True)
    call_site: str = column(filterable=True)
    type: str = column(filterable=True)
    pid: int = column(filterable=True)
    ip: str = column(filterable=True)


@dataclass(kw_only=True)
class RuntimeEnvState(StateSchema):
    """A runtime environment that was made on a node."""

    runtime_env: _Dict = column(filterable=True)
    success: bool = column(filterable=True)
    creation_time_ms: float | None = column(default=None)
    node_id: str = column(filterable=True)
    ref_cnt: int | None = column(detail=True, default=None)
    error: str | None = column(detail=True, filterable=True, default=None)


@dataclass(kw_only=True)
class ClusterEventState(StateSchema):
    """An event of the cluster's own log."""

    severity: str = column(filterable=True)
    time: str = column()
    source_type: str = column(filterable=True)
    message: str = column()
    event_id: str = column(filterable=True)
    custom_fields: _Dict | None = column(detail=True, default=None)
