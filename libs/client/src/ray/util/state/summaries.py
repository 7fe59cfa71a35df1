"""Counts over state tables, in the shapes of upstream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from manta.proto.gcs.v1 import task_pb2

from ray.util.state.records import ActorState


@dataclass(kw_only=True)
class TaskSummaryPerFuncOrClassName:
    func_or_class_name: str
    type: str
    state_counts: dict[str, int] = field(default_factory=dict)


@dataclass(kw_only=True)
class TaskSummaries:
    summary: dict[str, TaskSummaryPerFuncOrClassName]
    total_tasks: int = 0
    total_actor_tasks: int = 0
    total_actor_scheduled: int = 0
    summary_by: str = "func_name"


@dataclass(kw_only=True)
class ActorSummaryPerClass:
    class_name: str
    state_counts: dict[str, int] = field(default_factory=dict)


@dataclass(kw_only=True)
class ActorSummaries:
    summary: dict[str, ActorSummaryPerClass]
    total_actors: int = 0
    summary_by: str = "class"


def task_summary(counts: task_pb2.TaskSummary) -> dict[str, Any]:
    """By function; attempts of which the details were dropped count too."""
    totals = {task_pb2.NORMAL_TASK: 0, task_pb2.ACTOR_TASK: 0, task_pb2.ACTOR_CREATION_TASK: 0}
    summary: dict[str, TaskSummaryPerFuncOrClassName] = {}
    for item in counts.items:
        kind = task_pb2.TaskType.Name(item.type)
        entry = summary.setdefault(
            item.function, TaskSummaryPerFuncOrClassName(func_or_class_name=item.function, type=kind)
        )
        status = task_pb2.TaskStatus.Name(item.status)
        entry.state_counts[status] = entry.state_counts.get(status, 0) + item.count
        totals[item.type] += item.count
    return asdict(
        TaskSummaries(
            summary=summary,
            total_tasks=totals[task_pb2.NORMAL_TASK],
            total_actor_tasks=totals[task_pb2.ACTOR_TASK],
            total_actor_scheduled=totals[task_pb2.ACTOR_CREATION_TASK],
        )
    )


def actor_summary(actors: Iterable[ActorState]) -> dict[str, Any]:
    """By class."""
    summaries = ActorSummaries(summary={})
    for actor in actors:
        entry = summaries.summary.setdefault(actor.class_name, ActorSummaryPerClass(class_name=actor.class_name))
        entry.state_counts[actor.state] = entry.state_counts.get(actor.state, 0) + 1
        summaries.total_actors += 1
    return asdict(summaries)
