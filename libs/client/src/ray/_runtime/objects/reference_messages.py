"""The shell of the reference counter: its commands to messages, and messages back to it.

`apply` runs under the process's lock and only queues; the process flushes what was queued once it has left the lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from manta_proto.worker.v1 import worker_pb2

from ray._runtime.actors.actor_record import HANDLE_PREFIX
from ray._runtime.objects.object_table import ObjectState
from ray._runtime.references import reference_command as command
from ray._runtime.specs.task_ids import TASK_ID_SIZE
from ray._runtime.values.system_errors import object_lost, owner_died

if TYPE_CHECKING:
    from manta_proto.common.v1 import common_pb2

    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Peer

_ADD = worker_pb2.Holds.Item.ADD
_DROP = worker_pb2.Holds.Item.DROP


class HoldMessenger:
    """Carries out what the reference counter of `process` commands."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def apply(self, commands: Iterable[command.Command]) -> None:
        """Queue the messages of these commands, in order; the lock is held."""
        process = self._process
        for cmd in commands:
            if type(cmd) is command.Free:
                self._free(cmd.object_id)
            elif type(cmd) is command.Forget:
                process.objects.remove(cmd.object_id)
                process.reads.recent.forget(cmd.object_id)
                if process.recovery.specs:
                    process.recovery.freed(cmd.object_id)
            elif type(cmd) is command.ReplyReady:
                if len(cmd.task_id) == TASK_ID_SIZE:
                    process.executor.calls.replies.released(cmd.task_id, cmd.kept)
                else:
                    process.item_senders.released(cmd.task_id)
            elif type(cmd) is command.WatchProcess:
                process.watch_worker(cmd.worker_id)
            elif type(cmd) is command.SendAdd:
                self._send_hold(cmd.owner, _ADD, cmd)
            elif type(cmd) is command.SendDrop:
                self._send_hold(cmd.owner, _DROP, cmd)
            elif type(cmd) is command.SendAck:
                item = worker_pb2.HoldsAcknowledged.Item(request_id=cmd.request_id, gone=cmd.gone)
                self._queue(cmd.worker_id, worker_pb2.HOLDS_ACKNOWLEDGED, worker_pb2.HoldsAcknowledged(items=[item]))
            elif type(cmd) is command.SendFullSet:
                items = [
                    worker_pb2.Holds.Item(action=_ADD, object_id=object_id, holder=process.worker_id, number=number)
                    for object_id, number in cmd.holds
                ]
                message = worker_pb2.Holds(items=items, full_set=True, full_set_number=cmd.request_id)
                self._queue(cmd.owner, worker_pb2.HOLDS, message)
            elif type(cmd) is command.SendConfirm:
                question = worker_pb2.HoldQuestioned(object_id=cmd.object_id, tag=cmd.tag, adder=cmd.adder)
                self._queue(cmd.worker_id, worker_pb2.HOLD_QUESTIONED, question)
            elif type(cmd) is command.OwnerDied:
                self._fail(cmd.object_id, owner_died(cmd.object_id))
            elif type(cmd) is command.Gone:
                self._fail(cmd.object_id, object_lost(cmd.object_id, "its owner had freed it already"))

    def _free(self, object_id: bytes) -> None:
        process = self._process
        entry = process.objects.remove(object_id)
        if entry is None:
            process.generators.handle_freed(object_id)
        elif entry.state is ObjectState.STORED:
            process.reads.recent.forget(object_id)
            if not process.arena.withdraw(object_id):
                process.to_free.append((object_id, list(entry.nodes)))
        elif process.unread.errors:
            process.unread.freed(object_id)
        if object_id.startswith(HANDLE_PREFIX):
            process.actors.handle_freed(object_id)
        if process.recovery.specs:
            process.recovery.freed(object_id)

    def _send_hold(
        self, owner: bytes, action: worker_pb2.Holds.Item.Action, cmd: command.SendAdd | command.SendDrop
    ) -> None:
        item = worker_pb2.Holds.Item(
            action=action,
            object_id=cmd.object_id,
            holder=cmd.holder,
            tag=cmd.tag,
            number=cmd.number,
            request_id=cmd.request_id,
        )
        self._queue(owner, worker_pb2.HOLDS, worker_pb2.Holds(items=[item]))

    def _queue(
        self,
        worker_id: bytes,
        kind: int,
        message: worker_pb2.Holds | worker_pb2.HoldsAcknowledged | worker_pb2.HoldQuestioned,
    ) -> None:
        peer = self._process.peers.get(worker_id)
        peer.queue(kind, message.SerializeToString())
        self._process.dirty.add(peer)

    def _fail(self, object_id: bytes, value: common_pb2.Value) -> None:
        process = self._process
        entry = process.objects.get(object_id)
        if entry is not None and entry.state is not ObjectState.INLINE:
            waiters = process.objects.set_value(object_id, value)
            process.woken.extend((waiter, object_id) for waiter in waiters)

    def on_holds(self, peer: Peer, message: worker_pb2.Holds) -> None:
        """A holder speaks; the lock is not held. raises: ProtocolError for what no correct process sends."""
        process, refs = self._process, self._process.refs
        with process.lock:
            if message.full_set:
                listed = [(item.object_id, item.number) for item in message.items]
                self.apply(refs.on_full_set(peer.worker_id, message.full_set_number, listed))
            else:
                for item in message.items:
                    take = refs.on_add if item.action == _ADD else refs.on_drop
                    self.apply(
                        take(peer.worker_id, item.object_id, item.holder, item.tag, item.number, item.request_id)
                    )
        process.after_lock()

    def on_acknowledged(self, peer: Peer, message: worker_pb2.HoldsAcknowledged) -> None:
        process = self._process
        with process.lock:
            for item in message.items:
                self.apply(process.refs.on_ack(peer.worker_id, item.request_id, item.gone))
        process.after_lock()
        if message.collect_garbage:
            process.reactor.call_soon(process.drops.collect_here)

    def ask_holders_to_collect(self) -> bool:
        """Have processes that keep stored objects of ours alive collect their garbage; the lock is held.

        returns: whether there are any. They answer by the Drops of what was in it.
        """
        objects, stored = self._process.objects, ObjectState.STORED
        asked = False
        for worker, object_ids in self._process.refs.held_by_others():
            entries = map(objects.get, object_ids)
            if any(entry is not None and entry.state is stored for entry in entries):
                asked = True
                message = worker_pb2.HoldsAcknowledged(collect_garbage=True)
                self._queue(worker, worker_pb2.HOLDS_ACKNOWLEDGED, message)
        return asked

    def on_question(self, peer: Peer, message: worker_pb2.HoldQuestioned) -> None:
        process = self._process
        with process.lock:
            self.apply(process.refs.on_confirm(peer.worker_id, message.object_id, message.tag, message.adder))
        process.after_lock()
