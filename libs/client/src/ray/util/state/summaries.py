"""Counts over state tables, in the shapes of upstream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from manta_proto.gcs.v1 import task_pb2

from ray.util.state.records import ActorState, ObjectState


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


@dataclass(kw_only=True)
class ObjectSummaryPerKey:
    total_objects: int = 0
    total_size_mb: float = 0.0
    total_num_workers: int = 0
    total_num_nodes: int = 0
    task_state_counts: dict[str, int] = field(default_factory=dict)
    task_attempt_number_counts: dict[str, int] = field(default_factory=dict)
    ref_type_counts: dict[str, int] = field(default_factory=dict)


@dataclass(kw_only=True)
class ObjectSummaries:
    summary: dict[str, ObjectSummaryPerKey]
    total_objects: int = 0
    total_size_mb: float = 0.0
    callsite_enabled: bool = False
    summary_by: str = "callsite"


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


def object_summary(objects: Iterable[ObjectState]) -> dict[str, Any]:
    """By where references were made. An object counts once for each process that refers to it; its size once."""
    summaries = ObjectSummaries(summary={})
    sizes: dict[str, dict[str, int]] = {}
    workers: dict[str, set[tuple[str, int]]] = {}
    for row in objects:
        entry = summaries.summary.setdefault(row.call_site, ObjectSummaryPerKey())
        entry.total_objects += 1
        known = sizes.setdefault(row.call_site, {})
        known[row.object_id] = max(known.get(row.object_id, 0), row.object_size)
        workers.setdefault(row.call_site, set()).add((row.ip, row.pid))
        for counts, key in (
            (entry.task_state_counts, row.task_status),
            (entry.task_attempt_number_counts, str(row.attempt_number)),
            (entry.ref_type_counts, row.reference_type),
        ):
            counts[key] = counts.get(key, 0) + 1
    for call_site, entry in summaries.summary.items():
        entry.total_size_mb = sum(sizes[call_site].values()) / (1 << 20)
        entry.total_num_workers = len(workers[call_site])
        entry.total_num_nodes = len({ip for ip, _ in workers[call_site]})
        summaries.total_objects += entry.total_objects
        summaries.total_size_mb += entry.total_size_mb
    return asdict(summaries)
