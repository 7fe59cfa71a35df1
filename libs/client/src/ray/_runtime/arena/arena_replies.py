"""What the object manager sends, brought to who waits for it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from manta_proto.object_manager.v1 import object_manager_pb2 as pb

from ray._runtime.arena.arena_connection import ArenaConnection
from ray._runtime.arena.arena_errors import error_of

log = logging.getLogger("ray.runtime")


def dispatcher(connection: ArenaConnection) -> Callable[[int, bytes], None]:
    """Takes the frames of this connection."""

    def dispatch(kind: int, payload: bytes) -> None:
        if kind == pb.LOCATED:
            _located(connection, pb.Located.FromString(payload))
        elif kind == pb.CREATED:
            _created(connection, pb.Created.FromString(payload))
        elif kind == pb.EXTENT_GRANTED:
            connection.extents.granted(pb.ExtentGranted.FromString(payload))
        elif kind == pb.EXTENTS_ASKED:
            connection.extents.asked(pb.ExtentsAsked.FromString(payload))
        elif kind == pb.GARBAGE_ASKED and connection.on_garbage is not None:
            connection.on_garbage(pb.GarbageAsked.FromString(payload).round)
        elif kind == pb.DESCRIBED:
            described = pb.DescribeReply.FromString(payload)
            call = connection.pending.pop(described.request_id, None)
            if call is not None:
                call.finish(described)
        else:
            log.warning("arena_frame_ignored kind=%d", kind)

    return dispatch


def _located(connection: ArenaConnection, reply: pb.Located) -> None:
    call = connection.pending.pop(reply.request_id, None)
    if reply.failure.code:
        if call is not None:
            call.finish(error_of(reply.failure))
    elif call is not None:
        # Made here, so that a caller that gives up meanwhile drops it, and with it the pin.
        call.finish(connection.mapping.adopt(reply.object_id, reply.offset, reply.size))
    else:
        connection.mapping.outbox.release(reply.object_id)


def _created(connection: ArenaConnection, reply: pb.Created) -> None:
    call = connection.pending.pop(reply.request_id, None)
    if call is None:
        return
    if reply.failure.code:
        call.finish(error_of(reply.failure))
        return
    call.finish(reply)
    if call.abandoned and not reply.exists:
        connection.queue(pb.ABORT, pb.Abort(object_id=call.object_id))
