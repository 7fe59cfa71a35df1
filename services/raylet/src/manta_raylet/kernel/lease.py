"""A lease: the right of one client to send tasks to one worker, and what it asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from manta_common.ids import JOB_ID_SIZE, JobId, LeaseId, NodeId, WorkerId
from manta_common.resources import CPU, UNIT, ResourceSet
from manta_common.scheduling import PlacementGroup, label_selector_from_proto, strategy_from_proto
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2

# The process that asks; drivers and workers are both named by their worker id.
ClientId = WorkerId

OMP_NUM_THREADS: Final = "OMP_NUM_THREADS"


@dataclass(frozen=True, slots=True)
class SchedulingKey:
    """Requests of one job that any worker of the same kind can serve wait in one line."""

    job_id: JobId
    resources: ResourceSet
    strategy: bytes
    runtime_env: str
    # Those that were sent on decide otherwise than those that were not; neither waits behind the other.
    hops: int


@dataclass(frozen=True, slots=True)
class WorkerKey:
    """Workers are interchangeable only when all of this is equal."""

    job_id: JobId
    runtime_env: str
    num_threads: int
    gpu_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRequest:
    """What one client wants a number of, under a number of its own.

    hops: how often its units were sent on by other raylets. argument_bytes: node -> bytes of large arguments there.
    """

    client: ClientId
    request_id: int
    job_id: JobId
    resources: ResourceSet
    strategy: common_pb2.SchedulingStrategy = field(default_factory=common_pb2.SchedulingStrategy, hash=False)
    runtime_env: str = ""
    hops: int = 0
    argument_bytes: Mapping[NodeId, int] = field(default_factory=dict, hash=False)
    name: str = ""
    num_threads: int = 1
    # Large arguments of its oldest tasks, brought while it waits here.
    arguments: tuple[raylet_pb2.LeaseArgument, ...] = field(default=(), hash=False)
    # Of the strategy: the placement group whose bundles alone may serve it.
    group: PlacementGroup | None = None

    @property
    def id(self) -> tuple[ClientId, int, int]:
        return self.client, self.request_id, self.hops

    @property
    def key(self) -> SchedulingKey:
        strategy = self.strategy.SerializeToString(deterministic=True)
        return SchedulingKey(self.job_id, self.resources, strategy, self.runtime_env, self.hops)


@dataclass(slots=True)
class Lease:
    """A granted lease. allocation: its number in the ledger."""

    id: LeaseId
    client: ClientId
    request_id: int
    key: SchedulingKey
    worker_id: WorkerId
    allocation: int
    gpu_ids: tuple[str, ...]


def env_vars_of(runtime_env: str) -> dict[str, str]:
    """The env_vars of a serialized runtime env. raises: ValueError naming what is wrong with it."""
    if not runtime_env:
        return {}
    try:
        parsed = json.loads(runtime_env)
    except json.JSONDecodeError as error:
        raise ValueError(f"runtime_env is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"runtime_env must be an object, not {type(parsed).__name__}")
    env_vars = parsed.get("env_vars") or {}
    if not isinstance(env_vars, dict) or not all(
        isinstance(name, str) and isinstance(value, str) for name, value in env_vars.items()
    ):
        raise ValueError("runtime_env['env_vars'] must map names to strings")
    return env_vars


def num_threads_for(resources: ResourceSet, env_vars: Mapping[str, str]) -> int:
    """Threads for OpenMP and BLAS: the user's OMP_NUM_THREADS, else the whole CPUs of the lease, at least 1."""
    wanted = env_vars.get(OMP_NUM_THREADS, "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return max(1, resources.get(CPU) // UNIT)


def default_key(job_id: JobId, runtime_env: str) -> WorkerKey:
    """The workers of a job's ordinary tasks. raises: ValueError for a runtime env that cannot be read."""
    env_vars = env_vars_of(runtime_env)
    num_threads = num_threads_for(ResourceSet({CPU: UNIT}), env_vars)
    return WorkerKey(job_id, runtime_env if runtime_env != "{}" else "", num_threads)


def request_of(client: ClientId, wanted: raylet_pb2.LeasesWanted) -> LeaseRequest:
    """Read a client's message. raises: ValueError naming what is malformed."""
    if len(wanted.job_id) != JOB_ID_SIZE:
        raise ValueError(f"lease request {wanted.request_id}: job id {wanted.job_id.hex()!r} must have 4 bytes")
    if any(amount < 0 for amount in wanted.resources.amounts.values()):
        raise ValueError(f"lease request {wanted.request_id}: a resource is negative")
    strategy = strategy_from_proto(wanted.strategy)
    label_selector_from_proto(wanted.strategy)
    resources = ResourceSet.from_proto(wanted.resources)
    return LeaseRequest(
        client=client,
        request_id=wanted.request_id,
        job_id=JobId(wanted.job_id),
        resources=resources,
        strategy=wanted.strategy,
        runtime_env=wanted.runtime_env,
        hops=wanted.hops,
        argument_bytes={NodeId(bytes.fromhex(node)): size for node, size in wanted.argument_bytes.items()},
        name=wanted.name,
        num_threads=num_threads_for(resources, env_vars_of(wanted.runtime_env)),
        arguments=tuple(wanted.arguments),
        group=strategy if isinstance(strategy, PlacementGroup) else None,
    )
