"""Frames of ours that a peer received and could not take: what they were about ends with an error.

The cause is a bug, here or there. Sent again, such a frame would fail again; dropped, it would leave somebody waiting.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from manta_proto.worker.v1 import worker_pb2

from ray._runtime.values.system_errors import error_value

if TYPE_CHECKING:
    from manta_proto.common.v1 import common_pb2

    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Peer

log = logging.getLogger("ray.runtime")

_RAISED: Final = worker_pb2.TaskReply.RAISED
# Marks a reply that stands for one that was returned: it is not made up for a second time.
_IN_PLACE: Final = "in place of a reply that its caller could not take"


class ReturnedFrames:
    """What one process does with frames that came back."""

    def __init__(self, process: Process) -> None:
        self._process = process
        # Bounded by the peers of this process.
        self._told_again: set[bytes] = set()

    def take(self, peer: Peer, returned: worker_pb2.FrameReturned) -> None:
        """raises: DecodeError when the payload is not what this process ever sent."""
        process, kind, payload = self._process, returned.kind, returned.payload
        why = f"the other process could not take a message of kind {kind}: {returned.reason}; please report this bug"
        log.error("frame_returned worker_id=%s kind=%d reason=%s", peer.worker_id.hex(), kind, returned.reason)
        if kind == worker_pb2.TASKS:
            self._fail_tasks(peer, worker_pb2.Tasks.FromString(payload), why)
        elif kind == worker_pb2.REPLIES:
            self._reply_in_place(peer, worker_pb2.Replies.FromString(payload), why)
        elif kind == worker_pb2.OBJECTS_WANTED:
            wanted = worker_pb2.ObjectsWanted.FromString(payload)
            process.inquiries.on_objects(_unknown([(item.request_id, item.object_id) for item in wanted.items], why))
        elif kind == worker_pb2.OBJECTS:
            items = worker_pb2.Objects.FromString(payload).items
            if not any(item.unknown for item in items):
                answer = _unknown([(item.request_id, item.object_id) for item in items], why)
                peer.send(worker_pb2.OBJECTS, answer.SerializeToString())
        elif kind == worker_pb2.GENERATOR_ITEMS:
            # Its reply will say that items are missing.
            task_id = worker_pb2.GeneratorItems.FromString(payload).task_id
            process.item_senders.on_dropped(worker_pb2.GeneratorDropped(task_id=task_id))
        elif kind == worker_pb2.DEFINITION_WANTED:
            digest = worker_pb2.DefinitionWanted.FromString(payload).digest
            process.executor.calls.on_definition(worker_pb2.Definition(digest=digest))
        elif kind == worker_pb2.HOLDS:
            self._say_holds_again(peer, worker_pb2.Holds.FromString(payload))
        elif kind == worker_pb2.HANDED_BACK:
            _refuse_tasks(peer, worker_pb2.HandedBack.FromString(payload))
        # Nobody waits for the answer to a CANCEL: the task goes on, and its result comes as if it was too late. What an
        # owner answers or asks of a holder, when lost, keeps an object until that process ends.

    def _say_holds_again(self, peer: Peer, refused: worker_pb2.Holds) -> None:
        """Tell the owner all that we hold of it, as after a new connection; once, for that may fail as well."""
        process = self._process
        if refused.full_set or peer.worker_id in self._told_again:
            return
        self._told_again.add(peer.worker_id)
        with process.lock:
            process.holds.apply(process.refs.reconnected(peer.worker_id))
        process.after_lock()

    def _fail_tasks(self, peer: Peer, tasks: worker_pb2.Tasks, why: str) -> None:
        replies = worker_pb2.Replies()
        for task in tasks.tasks:
            record = self._process.submitter.pending.get(task.task_id)
            if record is not None:
                value = _error(f"{record.name} was not run: {why}")
                reply = replies.replies.add(task_id=task.task_id, outcome=_RAISED, attempt=record.attempt)
                for object_id in record.return_ids():
                    reply.returns.add(object_id=object_id).value.CopyFrom(value)
        self._process.submitter.on_replies(peer, replies)

    def _reply_in_place(self, peer: Peer, refused: worker_pb2.Replies, why: str) -> None:
        replies = worker_pb2.Replies()
        value = _error(f"the result of a task did not reach its caller: {why}")
        for old in refused.replies:
            if old.message != _IN_PLACE:
                reply = replies.replies.add(
                    task_id=old.task_id, outcome=_RAISED, attempt=old.attempt, message=_IN_PLACE
                )
                for result in old.returns:
                    reply.returns.add(object_id=result.object_id).value.CopyFrom(value)
        if replies.replies:
            peer.send(worker_pb2.REPLIES, replies.SerializeToString())


def _refuse_tasks(peer: Peer, unsaid: worker_pb2.HandedBack) -> None:
    """The caller did not hear that these will not be started here: refuse each, so that it sends them elsewhere."""
    replies = worker_pb2.Replies()
    for task_id, attempt in zip(unsaid.task_ids, unsaid.attempts, strict=False):
        replies.replies.add(task_id=task_id, attempt=attempt, outcome=worker_pb2.TaskReply.REFUSED, message=_IN_PLACE)
    if replies.replies:
        peer.send(worker_pb2.REPLIES, replies.SerializeToString())


def _error(text: str) -> common_pb2.Value:
    from ray.exceptions import RaySystemError

    return error_value(RaySystemError(text))


def _unknown(requests: list[tuple[int, bytes]], why: str) -> worker_pb2.Objects:
    items = [worker_pb2.Objects.Item(request_id=number, object_id=name, unknown=why) for number, name in requests]
    return worker_pb2.Objects(items=items)
