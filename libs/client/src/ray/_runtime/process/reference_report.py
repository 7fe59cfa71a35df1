"""What this process holds of objects, as the state tables show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from manta_common.ids import TASK_ID_SIZE
from manta_proto.gcs.v1 import task_pb2
from manta_proto.raylet.v1 import raylet_pb2

from ray._runtime.actors.actor_record import HANDLE_PREFIX
from ray._runtime.objects.object_table import ObjectEntry, ObjectState
from ray._runtime.tasks.task_events import status_of

if TYPE_CHECKING:
    from ray._runtime.process.process import Process
    from ray._runtime.references.reference_state import Counts

_List = raylet_pb2.ReferenceList
# Of the 32 bits of an object's index the upper half is for puts, which no task makes.
_FIRST_PUT: Final = 1 << 31


def report(process: Process, wanted: raylet_pb2.ReferencesWanted) -> raylet_pb2.ReferenceList:
    """At most `limit` references. cost: O(limit) under the lock."""
    reply = _List(request_id=wanted.request_id)
    with process.lock:
        object_ids = process.refs.object_ids()
        reply.total = len(object_ids)
        for object_id in object_ids[: wanted.limit]:
            counts = process.refs.counts(object_id)
            if counts is None or not (counts.local or counts.submitted or counts.contained or counts.borrow is None):
                continue
            entry = process.objects.get(object_id)
            item = reply.items.add(
                object_id=object_id, size=_size(entry), use=_use(object_id, counts, entry, process.worker_id)
            )
            if counts.owner == process.worker_id:
                _describe_task(item, process, entry)
    return reply


def _size(entry: ObjectEntry | None) -> int:
    if entry is None:
        return 0
    return entry.value.ByteSize() if entry.value is not None else entry.size


def _use(object_id: bytes, counts: Counts, entry: ObjectEntry | None, worker_id: bytes) -> raylet_pb2.ReferenceList.Use:
    """The first that holds, in upstream's order."""
    if object_id.startswith(HANDLE_PREFIX):
        return _List.ACTOR_HANDLE
    if counts.owner == worker_id and entry is not None and entry.state is ObjectState.STORED:
        return _List.PINNED_IN_MEMORY
    if counts.submitted:
        return _List.USED_BY_PENDING_TASK
    if counts.local:
        return _List.LOCAL_REFERENCE
    return _List.CAPTURED_IN_OBJECT if counts.contained else _List.UNKNOWN_STATUS


def _describe_task(item: raylet_pb2.ReferenceList.Item, process: Process, entry: ObjectEntry | None) -> None:
    task_id, index = item.object_id[:TASK_ID_SIZE], int.from_bytes(item.object_id[TASK_ID_SIZE:], "little")
    record = process.submitter.pending.get(task_id)
    if record is not None:
        item.task_status, item.attempt = status_of(record), record.attempt
    elif index < _FIRST_PUT and item.use != _List.ACTOR_HANDLE and entry is not None and entry.state:
        item.task_status = task_pb2.FINISHED
