"""ray.cancel at the owner of a task: it ends here if it has not left, else its worker is told.

A task that is cancelled is never run again. What its worker makes of the news is the business of its lane: a task that
waits there ends, one that runs is interrupted, and one that is done keeps its result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manta_common.ids import NO_ACTOR
from manta_proto.worker.v1 import worker_pb2

from ray._runtime.values.system_errors import task_cancelled

if TYPE_CHECKING:
    from ray._runtime.process.process import Process
    from ray._runtime.specs.task_record import TaskRecord
    from ray._runtime.transport.carrier import Peer
    from ray._runtime.values.object_ref import ObjectRef


class Canceller:
    """Cancels tasks and calls that `process` submitted, and asks other owners to cancel theirs."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def cancel_ref(self, ref: ObjectRef, force: bool, recursive: bool) -> None:
        """Cancel what makes this object. raises: ValueError when a call of an actor is to be forced."""
        process = self._process
        task_id = ref._id[:24]
        if force and not task_id[8:].startswith(NO_ACTOR):
            raise ValueError(
                "force=True is not supported for calls of actors, which share a process; ray.kill(actor) ends it"
            )
        if ref._owner is None or ref._owner[1] == process.worker_id:
            self.cancel(task_id, force, recursive)
            return
        message = worker_pb2.Cancel(task_id=task_id, force=force, recursive=recursive, as_owner=True)
        with process.lock:
            self._tell(process.peers.get(ref._owner[1], ref._owner[0]), message)
        process.after_lock()

    def cancel(self, task_id: bytes, force: bool, recursive: bool) -> None:
        """Cancel a task of this process; one that is not pending (any more) is left alone."""
        process = self._process
        with process.lock:
            record = process.submitter.pending.get(task_id)
            if record is None:
                return
            record.cancelled = True
            peer = self._worker_of(record)
            if peer is None:
                process.submitter.end_locked(record, task_cancelled(task_id))
            else:
                # Queued under the lock, and so behind the task itself.
                force = force and not record.actor_id
                self._tell(peer, worker_pb2.Cancel(task_id=task_id, force=force, recursive=recursive))
        process.after_lock()

    def _tell(self, peer: Peer, message: worker_pb2.Cancel) -> None:
        peer.queue(worker_pb2.CANCEL, message.SerializeToString())
        self._process.dirty.add(peer)

    def cancel_children(self, parent_id: bytes, force: bool) -> None:
        """Cancel what the task with this id has submitted from this process."""
        with self._process.lock:
            children = [record for record in self._process.submitter.pending.values() if record.parent == parent_id]
        for record in children:
            self.cancel(record.task_id, force, True)

    def _worker_of(self, record: TaskRecord) -> Peer | None:
        """Where the task was sent; taken out of its queue when it was not. The lock is held."""
        process = self._process
        if record.actor_id:
            return process.actors.withdraw(record)
        leasing = process.submitter.leasing
        lease = leasing.manager.lease(record.lease_id) if record.lease_id is not None else None
        if lease is not None and record.task_id in lease.in_flight:
            return leasing.peer_of(lease)
        if record.key is not None:
            leasing.queue(leasing.manager.withdraw(record.key, record))
        return None
