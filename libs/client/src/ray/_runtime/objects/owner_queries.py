"""Borrowed objects: asking their owners for them, and being asked as an owner."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from manta_proto.worker.v1 import worker_pb2

from ray._runtime.objects.object_table import ObjectState
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.system_errors import object_lost

if TYPE_CHECKING:
    from ray._runtime.objects.object_table import ObjectEntry
    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Peer


class Inquiries:
    """What one process has asked owners and not been told yet; and its answers to borrowers."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._request_ids = itertools.count(1)
        # What was asked, and of which process.
        self._requests: dict[int, tuple[bytes, bytes]] = {}
        # Borrowers, by (process, object), that wait until an object of ours is ready: the number of the last request.
        self._awaited: dict[tuple[bytes, bytes], int] = {}

    def want(self, ref: ObjectRef, lost: Sequence[bytes] = ()) -> None:
        """Ask the owner of a borrowed object for it, once."""
        process = self._process
        with process.lock:
            entry = process.objects.get(ref._id)
            if entry is None or entry.owner is None or entry.asked or entry.state is not ObjectState.PENDING:
                return
            error = process.submitter.cut_off_by
            if error is not None:
                # Nobody would tell of the owner's death either.
                waiters = process.objects.set_value(ref._id, error)
                process.woken.extend((waiter, ref._id) for waiter in waiters)
            else:
                self._ask(ref, entry, lost)
        process.after_lock()

    def _ask(self, ref: ObjectRef, entry: ObjectEntry, lost: Sequence[bytes]) -> None:
        """The lock is held, and after_lock follows."""
        process = self._process
        assert entry.owner is not None, "a borrowed object has another owner"
        entry.asked = True
        request_id = next(self._request_ids)
        node_id, worker_id = entry.owner
        self._requests[request_id] = ref._id, worker_id
        peer = process.peers.get(worker_id, node_id)
        process.watch(peer)
        item = worker_pb2.ObjectsWanted.Item(
            request_id=request_id, object_id=ref._id, lost_at=lost, generation=entry.generation
        )
        peer.queue(worker_pb2.OBJECTS_WANTED, worker_pb2.ObjectsWanted(items=[item]).SerializeToString())
        process.dirty.add(peer)

    def lost(self, object_id: bytes, nodes: Sequence[bytes], generation: int) -> None:
        """No copy of an object of this generation is at these nodes; it is PENDING if no other is known.

        The lock is held, and after_lock follows.
        """
        process = self._process
        entry = process.objects.get(object_id)
        if entry is None or entry.owner is None:
            process.recovery.copies_lost(object_id, nodes, generation)
        elif entry.state is ObjectState.STORED and entry.generation == generation:
            entry.state = ObjectState.PENDING
            ref = ObjectRef(object_id, entry.owner)
            process.woken.append((lambda _object_id: self.want(ref, nodes), object_id))

    def ask_again(self, worker_id: bytes) -> None:
        """The channel to an owner broke: what was asked on it may be lost."""
        process = self._process
        again: list[ObjectRef] = []
        with process.lock:
            for object_id in self._drop_requests(worker_id):
                entry = process.objects.get(object_id)
                if entry is not None and entry.owner is not None and entry.owner[1] == worker_id:
                    entry.asked = False
                    again.append(ObjectRef(object_id, entry.owner))
        for ref in again:
            self.want(ref)

    def _drop_requests(self, worker_id: bytes) -> list[bytes]:
        """Expect no answer of this process any more; returns what was asked. The lock is held."""
        asked = [(number, object_id) for number, (object_id, owner) in self._requests.items() if owner == worker_id]
        for number, _ in asked:
            del self._requests[number]
        return [object_id for _, object_id in asked]

    def on_worker_died(self, worker_id: bytes) -> None:
        """A declared death: it answers nothing, and waits for nothing."""
        with self._process.lock:
            self._drop_requests(worker_id)
            for waiting in [waiting for waiting in self._awaited if waiting[0] == worker_id]:
                del self._awaited[waiting]

    def on_objects(self, message: worker_pb2.Objects) -> None:
        """An owner answers."""
        process = self._process
        with process.lock:
            for item in message.items:
                object_id, _ = self._requests.pop(item.request_id, (None, b""))
                if object_id is None:
                    continue
                if item.HasField("stored"):
                    entry = process.objects.get(object_id)
                    if entry is not None:  # ahead of its state, which is read without the lock
                        entry.generation = item.stored.generation
                    waiters = process.objects.set_stored(object_id, item.stored.size, tuple(item.stored.node_ids))
                elif item.HasField("value"):
                    waiters = process.objects.set_value(object_id, item.value)
                else:
                    waiters = process.objects.set_value(object_id, object_lost(object_id, item.unknown))
                process.woken.extend((waiter, object_id) for waiter in waiters)
        process.after_lock()

    def on_wanted(self, peer: Peer, message: worker_pb2.ObjectsWanted) -> None:
        """A borrower asks us, the owner; each object is answered when it is ready."""
        process = self._process
        for item in message.items:
            if item.lost_at:
                with process.lock:
                    process.recovery.copies_lost(item.object_id, item.lost_at, item.generation)
            self._answer(peer, item.request_id, item.object_id)
        process.after_lock()

    def _answer(self, peer: Peer, request_id: int, object_id: bytes) -> None:
        """Say where the object is, now or as soon as that is known."""
        process = self._process
        item = worker_pb2.Objects.Item(request_id=request_id, object_id=object_id)
        with process.lock:
            entry = process.objects.get(object_id)
            if entry is None:
                item.unknown = "its owner does not know it any more"
            elif entry.state is ObjectState.PENDING:
                self._await(peer, request_id, object_id)
                return
            elif entry.state is ObjectState.STORED:
                item.stored.size = entry.size
                item.stored.node_ids.extend(entry.nodes)
                item.stored.generation = entry.generation
                # The borrower will have a copy.
                process.objects.add_node(object_id, peer.node_id)
            else:
                assert entry.value is not None
                item.value.CopyFrom(entry.value)
                if process.unread.errors:
                    process.unread.read(object_id)
        if item.HasField("stored"):
            # The object manager hears of what was put before anybody asks it.
            process.arena.flush()
        peer.send(worker_pb2.OBJECTS, worker_pb2.Objects(items=[item]).SerializeToString())

    def _await(self, peer: Peer, request_id: int, object_id: bytes) -> None:
        """The lock is held. One that asks again, its connection broke, waits already: only its last is answered."""
        waiting = (peer.worker_id, object_id)
        repeated = waiting in self._awaited
        self._awaited[waiting] = request_id
        if not repeated:
            self._process.objects.when_ready(object_id, lambda object_id: self._ready(peer, object_id))

    def _ready(self, peer: Peer, object_id: bytes) -> None:
        request_id = self._awaited.pop((peer.worker_id, object_id), None)
        if request_id is not None:  # else the borrower died
            self._answer(peer, request_id, object_id)
