"""Options, limits and names of the state API; the records too, under the module that upstream keeps them in."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ray.util.state.records import (
    ActorState,
    ClusterEventState,
    JobState,
    NodeState,
    ObjectState,
    PlacementGroupState,
    RuntimeEnvState,
    TaskState,
    WorkerState,
)
from ray.util.state.schema import StateSchema
from ray.util.state.summaries import (
    ActorSummaries,
    ActorSummaryPerClass,
    TaskSummaries,
    TaskSummaryPerFuncOrClassName,
)

DEFAULT_RPC_TIMEOUT: Final = 30
DEFAULT_LIMIT: Final = 100


def _limit_of(name: str) -> int:
    """Of the environment of the process that asks, as upstream's. raises: ValueError."""
    text = os.environ.get(name, "10000")
    if not text.isdigit():
        raise ValueError(f"{name} is {text!r}; expected a whole number")
    return int(text)


# Rows of one answer.
RAY_MAX_LIMIT_FROM_API_SERVER: Final = _limit_of("RAY_MAX_LIMIT_FROM_API_SERVER")
# References that one process tells of.
RAY_MAX_LIMIT_FROM_DATA_SOURCE: Final = _limit_of("RAY_MAX_LIMIT_FROM_DATA_SOURCE")
DEFAULT_LOG_LIMIT: Final = 1_000
PREDICATES: Final = ("=", "!=")

SupportedFilterType = str | bool | int | float
Filters = list[tuple[str, str, SupportedFilterType]]


class StateResource(Enum):
    """The tables that there are."""

    ACTORS = "actors"
    JOBS = "jobs"
    PLACEMENT_GROUPS = "placement_groups"
    NODES = "nodes"
    WORKERS = "workers"
    TASKS = "tasks"
    OBJECTS = "objects"
    RUNTIME_ENVS = "runtime_envs"
    CLUSTER_EVENTS = "cluster_events"


ID_COLUMNS: Final = {
    StateResource.ACTORS: "actor_id",
    StateResource.JOBS: "job_id",
    StateResource.NODES: "node_id",
    StateResource.OBJECTS: "object_id",
    StateResource.PLACEMENT_GROUPS: "placement_group_id",
    StateResource.TASKS: "task_id",
    StateResource.WORKERS: "worker_id",
}


class SummaryResource(Enum):
    """The tables that can be summed up."""

    ACTORS = "actors"
    TASKS = "tasks"
    OBJECTS = "objects"


RECORDS: Final[dict[StateResource, type[StateSchema]]] = {
    StateResource.ACTORS: ActorState,
    StateResource.JOBS: JobState,
    StateResource.PLACEMENT_GROUPS: PlacementGroupState,
    StateResource.NODES: NodeState,
    StateResource.WORKERS: WorkerState,
    StateResource.TASKS: TaskState,
    StateResource.OBJECTS: ObjectState,
    StateResource.RUNTIME_ENVS: RuntimeEnvState,
    StateResource.CLUSTER_EVENTS: ClusterEventState,
}


@dataclass
class ListApiOptions:
    """What to list. limit: rows, at most RAY_MAX_LIMIT_FROM_API_SERVER. timeout: seconds. filters: (column, "=" or
    "!=", value), all of which must hold.

    raises: ValueError for another predicate or a limit that is out of range.
    """

    limit: int = DEFAULT_LIMIT
    timeout: int = DEFAULT_RPC_TIMEOUT
    detail: bool = False
    filters: Filters | None = field(default_factory=list)
    exclude_driver: bool = True
    server_timeout_multiplier: float = 0.8

    def __post_init__(self) -> None:
        if not 0 <= self.limit <= RAY_MAX_LIMIT_FROM_API_SERVER:
            raise ValueError(
                f"the limit {self.limit} is not between 0 and {RAY_MAX_LIMIT_FROM_API_SERVER}; use filters to see less"
            )
        self.filters = self.filters or []
        for condition in self.filters:
            if len(condition) != 3:
                raise ValueError(f"the filter {condition!r} is not (column, predicate, value)")
            if condition[1] not in PREDICATES:
                raise ValueError(
                    f"Unsupported filter predicate {condition[1]} is given. "
                    f"Available predicates: {', '.join(PREDICATES)}."
                )


@dataclass
class GetApiOptions:
    """timeout: seconds."""

    timeout: int = DEFAULT_RPC_TIMEOUT
    server_timeout_multiplier: float = 0.8


@dataclass
class SummaryApiOptions:
    """timeout: seconds. summary_by: as upstream; the default of each table is the only one."""

    timeout: int = DEFAULT_RPC_TIMEOUT
    filters: Filters | None = field(default_factory=list)
    summary_by: str | None = None
    server_timeout_multiplier: float = 0.8


__all__ = [
    "DEFAULT_LIMIT",
    "DEFAULT_LOG_LIMIT",
    "DEFAULT_RPC_TIMEOUT",
    "PREDICATES",
    "RAY_MAX_LIMIT_FROM_API_SERVER",
    "RAY_MAX_LIMIT_FROM_DATA_SOURCE",
    "RECORDS",
    "ActorState",
    "ActorSummaries",
    "ActorSummaryPerClass",
    "ClusterEventState",
    "Filters",
    "GetApiOptions",
    "JobState",
    "ListApiOptions",
    "NodeState",
    "ObjectState",
    "PlacementGroupState",
    "RuntimeEnvState",
    "StateResource",
    "StateSchema",
    "SummaryApiOptions",
    "SummaryResource",
    "SupportedFilterType",
    "TaskState",
    "TaskSummaries",
    "TaskSummaryPerFuncOrClassName",
    "WorkerState",
]
