"""What the state tables show of all calls of one remote function, or of one method of an actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manta_common.resources import ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import task_pb2

if TYPE_CHECKING:
    from ray._runtime.actors.actor_record import Actor
    from ray._runtime.api import FunctionDescriptor, TaskOptions
    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Peer


class TaskKind:
    """Shared by all calls that differ in nothing but id and time; compared by identity.

    sites: by call site, the kinds of those that were made there, where that is recorded.

    ended, ended_told: see TaskEvents; by worker, the groups that take the next rows.
    """

    __slots__ = ("ended", "ended_told", "message", "sites")

    def __init__(self, message: task_pb2.TaskKind) -> None:
        self.message = message
        self.sites: dict[str, TaskKind] | None = None
        self.ended: dict[Peer | None, list[Any]] = {}
        self.ended_told: dict[Peer | None, list[Any]] = {}


def kind_of_task(function: FunctionDescriptor, options: TaskOptions, process: Process) -> TaskKind | None:
    """None when nothing is to be told of such tasks."""
    if not (options.enable_task_events and process.task_events.wanted):
        return None
    # As upstream: without the module, and without what a function is defined in.
    name = getattr(function.function, "__qualname__", function.name).rpartition(".")[2]
    strategy = options.strategy
    use = strategy.placement_group if strategy is not None else common_pb2.PlacementGroupUse()
    return TaskKind(
        task_pb2.TaskKind(
            name=options.name or name,
            function=name,
            type=task_pb2.NORMAL_TASK,
            job_id=process.job_id,
            resources=ResourceSet.from_floats(options.resources).to_proto(),
            runtime_env=process.task_runtime_env(options.runtime_env),
            placement_group_id=use.placement_group_id,
            bundle_index=use.bundle_index + 1 if use.placement_group_id else 0,
        )
    )


def kind_of_call(actor: Actor, method: str, name: str, job_id: bytes) -> TaskKind:
    return TaskKind(
        task_pb2.TaskKind(
            name=name,
            function=f"{actor.class_name}.{method}",
            type=task_pb2.ACTOR_TASK,
            job_id=job_id,
            actor_id=actor.actor_id,
        )
    )
