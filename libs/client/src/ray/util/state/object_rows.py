"""Rows of the object table: one for each process that holds a reference."""

from __future__ import annotations

from collections.abc import Iterator

from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import task_pb2
from manta_proto.raylet.v1 import raylet_pb2

from ray.util.state.records import ObjectState

# Call sites are not recorded; upstream shows the same while RAY_record_ref_creation_sites is off.
NO_CALL_SITE = "disabled"


def object_rows(node: common_pb2.NodeInfo, process: raylet_pb2.ListReferencesReply.Process) -> Iterator[ObjectState]:
    for item in process.references.items:
        yield ObjectState(
            object_id=item.object_id.hex(),
            object_size=item.size,
            task_status=task_pb2.TaskStatus.Name(item.task_status),
            attempt_number=item.attempt + 1,
            reference_type=raylet_pb2.ReferenceList.Use.Name(item.use),
            call_site=NO_CALL_SITE,
            type="DRIVER" if process.is_driver else "WORKER",
            pid=process.pid,
            ip=node.ip_address,
        )
