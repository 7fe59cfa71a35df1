"""What a process can tell of its cluster and of itself, in the shapes of the public API."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from manta_common.resources import OBJECT_STORE_MEMORY, ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2

if TYPE_CHECKING:
    from ray._runtime.process.process import Process


def nodes(process: Process) -> list[dict[str, Any]]:
    """One dict per node, alive or dead."""
    with process.blocking():
        reply = process.gcs.call(list_nodes=gcs_pb2.ListNodes())
    return [_node(item.info) for item in reply.node_list.items]


def _node(info: common_pb2.NodeInfo) -> dict[str, Any]:
    alive = info.state != common_pb2.NodeInfo.DEAD
    host, _, port = info.raylet_address.rpartition(":")
    _, _, metrics_port = info.metrics.get("raylet", "").rpartition(":")
    return {
        "NodeID": info.node_id.hex(),
        "Alive": alive,
        "NodeManagerAddress": info.ip_address or host,
        "NodeManagerHostname": info.hostname,
        "NodeManagerPort": int(port or 0),
        "ObjectManagerPort": int(info.flight_address.rpartition(":")[2] or 0),
        "ObjectStoreSocketName": f"{info.socket_dir}/object-manager.sock",
        "RayletSocketName": f"{info.socket_dir}/raylet.sock",
        "MetricsExportPort": int(metrics_port or 0),
        "NodeName": info.node_name or info.ip_address or host,
        "DeathReason": int(info.death_cause.kind),
        "DeathReasonMessage": info.death_cause.message,
        "alive": alive,
        "Resources": ResourceSet.from_proto(info.total).to_floats() if alive else {},
        "Labels": dict(info.labels),
    }


def resources(process: Process, *, available: bool) -> dict[str, float]:
    """The sum over all live nodes of what they have, or of what is free; reserved bundles show under names of their own
    beside what they were taken from."""
    # With it come the scheduling policies, which most processes never need.
    from manta_common.scheduling.group_resources import in_group

    with process.blocking():
        reply = process.gcs.call(list_nodes=gcs_pb2.ListNodes())
    total = ResourceSet()
    arena_used = 0
    for item in reply.node_list.items:
        if item.info.state != common_pb2.NodeInfo.DEAD:
            arena_used += item.arena_used
            total = total + ResourceSet.from_proto(item.available if available else item.info.total)
            for bundle in item.bundles:
                left = bundle.available if available and bundle.HasField("available") else bundle.resources
                reserved = ResourceSet.from_proto(left)
                total = total + ResourceSet(in_group(reserved, bundle.placement_group_id.hex(), bundle.index))
    amounts = total.to_floats()
    if available and OBJECT_STORE_MEMORY in amounts:
        # No lease takes of it: objects do.
        amounts[OBJECT_STORE_MEMORY] -= arena_used
    # A node that lent CPUs owes them: nobody may use what is below zero.
    return {name: amount for name, amount in amounts.items() if amount > 0}


def list_named_actors(process: Process, all_namespaces: bool) -> list[dict[str, str]]:
    request = gcs_pb2.ListNamedActors(all_namespaces=all_namespaces, ray_namespace=process.namespace)
    with process.blocking():
        reply = process.gcs.call(list_named_actors=request)
    return [{"name": item.name, "namespace": item.ray_namespace} for item in reply.named_actors.items]


def context(process: Process) -> Mapping[str, Any]:
    """What runtime_context shows; see ray._runtime.api.Runtime.context."""
    actor = process.executor.actor
    execution = process.executor.current
    shown: dict[str, Any] = {"task_id": process.ids.own, "resources": {}, "gpu_ids": []}
    group = process.group_context
    shown["placement_group_id"], shown["capture_child_tasks"] = group.group_id, bool(group.captured)
    shown["runtime_env"] = process.job_runtime_env or "{}"
    if execution is not None:
        shown.update(execution.context())
    if actor is not None:
        held = ResourceSet.from_proto(actor.spec.lifetime_resources).to_floats()
        shown.update(
            actor_id=actor.actor_id,
            actor_name=actor.spec.name,
            resources=held,
            gpu_ids=actor.gpu_ids,
            reconstructed=actor.spec.restarts > 0,
        )
    return shown


_HOOK: Final = "worker_process_setup_hook"


@functools.lru_cache(maxsize=256)
def task_runtime_env(job: str, own: str) -> str:
    """As merge_runtime_env. raises: RuntimeEnvSetupError when `own` has what is not there yet or is for a whole job."""
    if own:
        from ray.exceptions import RuntimeEnvSetupError
        from ray.runtime_env import refuse_unsupported

        fields = json.loads(own)
        refuse_unsupported(fields)
        # A child may be given the env of its parent, which names the job's.
        if fields.get(_HOOK) and fields[_HOOK] != json.loads(job or "{}").get(_HOOK):
            raise RuntimeEnvSetupError(f"{_HOOK} is for a whole job: pass it to ray.init(runtime_env=...)")
    return merge_runtime_env(job, own)


@functools.lru_cache(maxsize=256)
def merge_runtime_env(job: str, own: str) -> str:
    """A task's runtime env over its job's: env_vars are merged, other fields replaced. Both are JSON or empty."""
    if not own or own == "{}":
        return job if job != "{}" else ""
    if not job:
        return own
    base, over = json.loads(job), json.loads(own)
    env_vars = {**base.get("env_vars", {}), **over.get("env_vars", {})}
    merged = {**base, **over}
    if env_vars:
        merged["env_vars"] = env_vars
    return json.dumps(merged, sort_keys=True)
