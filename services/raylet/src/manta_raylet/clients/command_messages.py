"""The core's commands to clients as messages."""

from __future__ import annotations

from manta_common.ids import NodeId
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2

from manta_raylet.kernel.commands import RefuseLease, SpillLease, StartActor
from manta_raylet.kernel.lease import Lease


def granted(lease: Lease, node_id: NodeId, pid: int) -> raylet_pb2.LeaseGranted:
    return raylet_pb2.LeaseGranted(
        request_id=lease.request_id,
        lease_id=lease.id,
        worker=common_pb2.WorkerAddress(node_id=node_id, worker_id=lease.worker_id),
        resources=lease.key.resources.to_proto(),
        gpu_ids=lease.gpu_ids,
        pid=pid,
        hops=lease.key.hops,
    )


def spilled(command: SpillLease) -> raylet_pb2.LeaseSpilled:
    return raylet_pb2.LeaseSpilled(
        request_id=command.request_id,
        node_id=command.node_id,
        raylet_address=command.address,
        count=command.count,
        hops=command.hops,
    )


def refused(command: RefuseLease) -> raylet_pb2.LeaseRefused:
    return raylet_pb2.LeaseRefused(
        request_id=command.request_id,
        reason=command.reason,  # type: ignore[arg-type]  # the generated enum is an int
        message=command.message,
    )


def start_actor(command: StartActor) -> raylet_pb2.StartActor:
    return raylet_pb2.StartActor(spec=command.spec, incarnation=command.incarnation, gpu_ids=command.gpu_ids)
