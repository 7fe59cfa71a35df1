"""Rows of the actor table."""

from __future__ import annotations

from typing import Any

from manta_common.resources import ResourceSet
from manta_common.scheduling.group_resources import in_group
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2

from ray.util.state.death_causes import death_dict
from ray.util.state.records import ActorState


def actor_row(found: gcs_pb2.ActorFound) -> ActorState:
    spec, status = found.spec, found.status
    alive = status.state == actor_pb2.ALIVE
    dead = status.state == actor_pb2.DEAD
    group = spec.strategy.placement_group.placement_group_id
    return ActorState(
        actor_id=spec.actor_id.hex(),
        class_name=spec.class_name,
        state=actor_pb2.ActorState.Name(status.state),
        job_id=spec.job_id.hex(),
        name=spec.name,
        node_id=status.address.node_id.hex() or None,
        pid=status.pid,
        ray_namespace=spec.ray_namespace,
        serialized_runtime_env=spec.runtime_env or "{}",
        # What it holds while it lives; before, what it needs to be placed.
        required_resources=_resources(spec, spec.lifetime_resources if alive or dead else spec.placement_resources),
        death_cause=_death(spec, status) if dead else None,
        is_detached=spec.detached,
        placement_group_id=group.hex() or None,
        repr_name=status.repr_name if status.repr_name != spec.class_name else "",
        num_restarts=status.restarts,
        call_site=spec.call_site or None,
        pending_reason=status.pending_reason or None,
        label_selector={one.key: ",".join(one.values) for one in spec.strategy.label_selector} or None,
    )


def _resources(spec: actor_pb2.ActorSpec, wanted: common_pb2.Resources) -> dict[str, float]:
    """In a placement group, under the names by which the group's resources are known."""
    amounts = ResourceSet.from_proto(wanted).to_floats()
    use = spec.strategy.placement_group
    return in_group(amounts, use.placement_group_id.hex(), use.bundle_index) if use.placement_group_id else amounts


def _death(spec: actor_pb2.ActorSpec, status: actor_pb2.ActorStatus) -> dict[str, Any]:
    cause = death_dict(status.death_cause)
    about = {"actor_id": spec.actor_id.hex(), "class_name": spec.class_name, "owner_id": spec.owner.worker_id.hex()}
    if status.death_cause.kind == common_pb2.DeathCause.INIT_FAILED:
        return {"creation_task_failure_context": cause}
    return {"actor_died_error_context": {**cause, **about, "pid": status.pid}}
