"""What the core wants done; the shell does it in order."""

from __future__ import annotations

from dataclasses import dataclass

from manta_common.ids import ActorId, JobId, NodeId, WorkerId
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2, placement_group_pb2
from manta_proto.raylet.v1 import raylet_pb2

from manta_raylet.kernel.lease import ClientId, Lease, WorkerKey


@dataclass(frozen=True, slots=True)
class StartWorker:
    worker_id: WorkerId
    key: WorkerKey


@dataclass(frozen=True, slots=True)
class GrantLease:
    lease: Lease
    resources: common_pb2.Resources
    pid: int


@dataclass(frozen=True, slots=True)
class SpillLease:
    client: ClientId
    request_id: int
    node_id: NodeId
    address: str
    count: int
    hops: int


@dataclass(frozen=True, slots=True)
class RefuseLease:
    """reason: a LeaseRefused.Reason."""

    client: ClientId
    request_id: int
    reason: int
    message: str


@dataclass(frozen=True, slots=True)
class BringArguments:
    """Have the object manager bring what waiting tasks take, the oldest task's first. Nobody waits for it."""

    arguments: tuple[raylet_pb2.LeaseArgument, ...]


@dataclass(frozen=True, slots=True)
class EndWorker:
    """Ask the worker to end; kill it when it has not within grace_s."""

    worker_id: WorkerId
    reason: str
    at_once: bool
    grace_s: float


@dataclass(frozen=True, slots=True)
class KillWorker:
    worker_id: WorkerId


@dataclass(frozen=True, slots=True)
class StartActor:
    worker_id: WorkerId
    spec: actor_pb2.ActorSpec
    incarnation: int
    gpu_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportActor:
    report: gcs_pb2.ActorReport


@dataclass(frozen=True, slots=True)
class ReportBundles:
    """Tell the GCS what became of its orders."""

    report: placement_group_pb2.BundleReport


@dataclass(frozen=True, slots=True)
class WatchGroups:
    """Tell the GCS of which placement groups this node wants to hear."""

    message: placement_group_pb2.WatchPlacementGroups


@dataclass(frozen=True, slots=True)
class AskForNodes:
    """Have the GCS tell of nodes that this one has not heard of."""

    message: gcs_pb2.LookUpNodes


@dataclass(frozen=True, slots=True)
class NoteActorRefused:
    """For the log: an order of the GCS that could not be obeyed."""

    actor_id: ActorId
    job_id: JobId
    reason: str


Command = (
    StartWorker
    | GrantLease
    | SpillLease
    | RefuseLease
    | BringArguments
    | EndWorker
    | KillWorker
    | StartActor
    | ReportActor
    | ReportBundles
    | WatchGroups
    | AskForNodes
    | NoteActorRefused
)
