"""Errors of user code that may be worth another attempt of a task, or of a call."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from manta_proto.worker.v1 import worker_pb2

from ray._runtime.values import serialization
from ray._runtime.values.ref_pickling import receiving

if TYPE_CHECKING:
    from ray._runtime.process.process import Process
    from ray._runtime.specs.task_record import TaskRecord
    from ray._runtime.transport.carrier import Peer

log = logging.getLogger("ray.runtime")


class Retrying:
    """Decides, for what `process` submitted, whether an error is its result."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def settle(self, peer: Peer, record: TaskRecord, reply: worker_pb2.TaskReply) -> None:
        """Run a task again that may raise and did, or let its error be its result."""
        process = self._process
        submitter = process.submitter
        # Looking at the error runs the user's code, which may call us: not under the lock.
        again = record.may_retry() and self._is_retriable(record, reply)
        with process.lock:
            if submitter.pending.get(record.task_id) is not record:
                return
            if again:
                process.retry_notices.failed(record, f"User exception:\n{reply.message}", record.retries_left)
            if record.actor_id:
                again = process.actors.raised(record, again=again)
            if not again:
                submitter.ended_badly(record, reply)
                submitter.take(peer, record, reply)
            else:
                self._take_refs(peer, reply)
                if any(result.HasField("stored") for result in reply.returns):
                    record.tried(peer, replied=True)
            if again and record.options is not None:
                process.task_events.retried(record, message=reply.message)
                record.next_attempt()
                leasing = submitter.leasing
                assert record.key is not None, "it was sent"
                leasing.queue(leasing.manager.requeue(record.key, [record]))
        process.after_lock()

    def unrun(self, peer: Peer, record: TaskRecord, reply: worker_pb2.TaskReply) -> None:
        """A worker could not start a task; the lock is held."""
        process = self._process
        assert record.key is not None, "it was sent"
        if reply.outcome == worker_pb2.TaskReply.REFUSED:
            record.next_attempt()
            leasing = process.submitter.leasing
            leasing.queue(leasing.manager.requeue(record.key, [record]))
            return
        self._take_refs(peer, reply)
        # It leaves again once the argument is there, found elsewhere or made anew; that uses no retry of its own.
        record.attempt += 1
        record.lease_id = None
        record.message += record.attempt_fields()
        process.inquiries.lost(reply.lost_object, list(reply.lost_at), reply.lost_generation)
        process.woken.append((process.recovery.resubmit, record.task_id))

    def _take_refs(self, peer: Peer, reply: worker_pb2.TaskReply) -> None:
        """Count the refs of a reply whose values are not wanted: its worker has done so. The lock is held."""
        process = self._process
        for result in reply.returns:
            contained = result.contained if result.HasField("stored") else result.value.contained
            inners = [(ref.object_id, ref.owner.worker_id) for ref in contained]
            if inners:
                process.holds.apply(process.refs.result_contains(result.object_id, peer.worker_id, inners))
        if reply.kept:
            kept = [(ref.object_id, ref.number) for ref in reply.kept]
            process.holds.apply(process.refs.task_finished((), peer.worker_id, kept))

    def _is_retriable(self, record: TaskRecord, reply: worker_pb2.TaskReply) -> bool:
        classes = record.retry_exceptions
        if isinstance(classes, bool) or not reply.returns:
            return bool(classes)
        try:
            with receiving(lambda _refs: None):
                # The last: a generator with several results may have made some of them before.
                error = serialization.load_proto(reply.returns[-1].value)
            return isinstance(getattr(error, "cause", error), classes)
        except BaseException as problem:  # of the user's classes, on the thread that reads
            log.warning(
                "error_not_looked_at task=%s problem=%s: it is not retried", record.name, type(problem).__name__
            )
            return False
