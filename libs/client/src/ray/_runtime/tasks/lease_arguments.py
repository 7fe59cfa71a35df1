"""The large arguments of tasks that wait for a lease, as the raylet is told of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from manta_proto.raylet.v1 import raylet_pb2
from manta_proto.worker.v1 import worker_pb2

if TYPE_CHECKING:
    from ray._runtime.specs.task_record import TaskRecord

# Of so many of the oldest tasks, and not more objects: the rest come with later requests, or with their tasks.
TASKS: Final = 16
_OBJECTS: Final = 64


def large_arguments(tasks: Iterable[TaskRecord]) -> list[raylet_pb2.LeaseArgument]:
    """Each object once, in the order of the tasks."""
    found: dict[bytes, raylet_pb2.LeaseArgument] = {}
    for task in itertools.islice(tasks, TASKS):
        if not task.held:
            continue
        for argument in worker_pb2.Task.FromString(task.message).arguments:
            object_id = argument.ref.object_id
            if argument.HasField("stored") and object_id not in found:
                stored = argument.stored
                found[object_id] = raylet_pb2.LeaseArgument(
                    object_id=object_id, size=stored.size, node_ids=stored.node_ids, owner=argument.ref.owner
                )
                if len(found) == _OBJECTS:
                    return list(found.values())
    return list(found.values())
