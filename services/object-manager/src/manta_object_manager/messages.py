"""Entries of the object table as messages, and what messages say as values."""

from manta_common.ids import NodeId, WorkerId
from manta_proto.common.v1.common_pb2 import WorkerAddress
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

from manta_object_manager.memory import MemoryShort
from manta_object_manager.object_table import Copy, Entry, Owner


def owner_of(address: WorkerAddress) -> Owner:
    return Owner(NodeId(address.node_id), WorkerId(address.worker_id))


def located(request_id: int, entry: Entry) -> pb.Located:
    return pb.Located(request_id=request_id, object_id=entry.object_id, offset=entry.range.offset, size=entry.size)


def short_of_memory(size: int, problem: MemoryShort) -> str:
    return f"the object store cannot hold an object of {size} bytes: {problem}"


def description(entry: Entry) -> pb.DescribeReply.Object:
    described = pb.DescribeReply.Object(
        object_id=entry.object_id,
        size=entry.size,
        sealed=entry.creator is None,
        primary=entry.copy is Copy.PRIMARY,
        freed=entry.freed,
        pins=sum(entry.pins.values()) + (entry.creator is not None),
    )
    described.owner.node_id = entry.owner.node_id
    described.owner.worker_id = entry.owner.worker_id
    return described
