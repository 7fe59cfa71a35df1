"""Replies of a worker's finished calls, from the end of a call to the channel of its caller.

Replies of short calls leave together. One that names refs whose owners have to be told first waits for them, and its
caller hears that it does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from manta_proto.worker.v1 import worker_pb2

from ray._runtime.values.wire import frames, repeated_field

if TYPE_CHECKING:
    from ray._runtime.execution.incoming import Incoming
    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Peer

# Replies of short calls leave together, but none waits longer than this for its neighbours.
REPLY_DELAY_S: Final = 0.001
_REPLIES_FIELD: Final = worker_pb2.Replies.DESCRIPTOR.fields_by_name["replies"].number


class Replies:
    """The replies of `process` that have not left."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._ready: dict[Peer, list[bytes]] = {}
        self._ready_since = 0.0
        self._waiting: dict[bytes, tuple[Peer, bytes]] = {}
        # The call whose end the reference counter is told of at this moment; its lock is held as long.
        self._finishing = b""

    def finish(self, incoming: Incoming, reply: bytes, contained: Mapping[bytes, list[tuple[bytes, bytes]]]) -> None:
        """Have the reply, a serialized TaskReply, sent by a later flush, once the reference counter lets it go."""
        process = self._process
        task_id = incoming.task.task_id
        with process.lock:
            if process.drops.refs:
                process.drops.count()
            self._waiting[task_id] = (incoming.peer, reply)
            self._finishing = task_id
            process.holds.apply(process.refs.task_done(task_id, incoming.batch.caller.worker_id, contained))
            self._finishing = b""
            deferred = task_id in self._waiting
        process.after_lock()
        if deferred:
            message = worker_pb2.ReplyDeferred(task_id=task_id)
            incoming.peer.send(worker_pb2.REPLY_DEFERRED, message.SerializeToString())

    def released(self, task_id: bytes, kept: tuple[tuple[bytes, int], ...]) -> None:
        """The reference counter lets the reply go; its lock is held."""
        channel, reply = self._waiting.pop(task_id)
        if kept:
            named = worker_pb2.TaskReply()
            for object_id, number in kept:
                named.kept.add(object_id=object_id, number=number)
            reply += named.SerializeToString()
        if not self._ready:
            self._ready_since = time.monotonic()
        self._ready.setdefault(channel, []).append(repeated_field(_REPLIES_FIELD, reply))
        if task_id != self._finishing:
            # An owner answered: whoever reads sends it, for the call's own thread has gone on.
            self._process.reactor.call_soon(self.flush)

    def overdue(self) -> bool:
        """Whether one that is ready has waited for its neighbours as long as any may."""
        return time.monotonic() - self._ready_since > REPLY_DELAY_S

    def any_ready(self) -> bool:
        return bool(self._ready)

    def flush(self) -> None:
        """Send what is ready."""
        if not self._ready:
            return
        with self._process.lock:
            ready, self._ready = self._ready, {}
            for channel, parts in ready.items():
                for frame in frames(b"", parts):
                    channel.queue(worker_pb2.REPLIES, frame)
        for channel in ready:
            channel.flush()
