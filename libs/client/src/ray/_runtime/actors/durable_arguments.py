"""Constructor arguments that outlive their creator: of detached actors that restart, in the actor's record itself.

Such an actor may be made anew when its creator, and with it every object of its creator, is gone.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ray._runtime.arena.arena_errors import ObjectNotFound
from ray._runtime.objects.stored_values import read_stored

if TYPE_CHECKING:
    from manta_proto.gcs.v1 import actor_pb2
    from manta_proto.worker.v1 import worker_pb2

    from ray._runtime.process.process import Process

log = logging.getLogger("ray.runtime")

# All arguments of one constructor together, bytes: the GCS holds them in memory and in its store.
KEPT_LIMIT: Final = 8 * 1024 * 1024


def is_kept(spec: actor_pb2.ActorSpec) -> bool:
    """Whether the arguments of this actor are needed for longer than its creator lives."""
    return spec.detached and spec.max_restarts != 0


def keep(process: Process, spec: actor_pb2.ActorSpec) -> None:
    """Put the arguments that are objects of this process's into the spec; blocks while they are brought here.

    What does not fit, is another process's, or contains refs stays a reference, and is warned about.
    """
    left = KEPT_LIMIT - spec.ByteSize()
    for argument in spec.arguments:
        if argument.HasField("value"):
            continue
        reason = _why_not(process, argument, left)
        if not reason:
            try:
                _inline(process, argument)
            except ObjectNotFound:
                reason = "is lost"
            else:
                left -= argument.ByteSize()
        if reason:
            log.warning(
                "An argument of the constructor of detached actor %s (%s, %d bytes) %s: the actor cannot restart once "
                "the owner of that object has gone; pass what it needs by value, up to %d MiB in all",
                spec.name or spec.class_name,
                argument.ref.object_id.hex(),
                argument.stored.size,
                reason,
                KEPT_LIMIT >> 20,
            )


def _why_not(process: Process, argument: worker_pb2.Argument, left: int) -> str:
    if argument.stored.size > left:
        return "is too large for the actor's record"
    if argument.ref.owner.worker_id != process.address[1]:
        return "is an object of another process"
    with process.lock:
        return "contains references" if process.refs.contains_refs(argument.ref.object_id) else ""


def _inline(process: Process, argument: worker_pb2.Argument) -> None:
    owner = (argument.ref.owner.node_id, argument.ref.owner.worker_id)
    value = read_stored(process, argument.ref.object_id, list(argument.stored.node_ids), owner)
    argument.Clear()
    argument.value.CopyFrom(value)
