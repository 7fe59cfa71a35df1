"""Generators that this process called: the shell around GeneratorStream.

Item i is the object with the index i + FIRST_ITEM of its task. The stream holds one local reference to each item that
was not read, and to one object more, the next item that is due: PENDING while it may come, so that whoever waits for
it waits as for any object. At the end that object says so, and wakes who waits.

The object with index 0 has no value. The ObjectRefGenerator holds it, and its end is the end of the stream.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from manta_proto.common.v1 import common_pb2
from manta_proto.worker.v1 import worker_pb2

from ray._runtime.generators.generator_replay import GeneratorReplay, index_of
from ray._runtime.generators.generator_stream import GeneratorStream, StreamState
from ray._runtime.generators.object_ref_generator import DynamicObjectRefGenerator, ObjectRefGenerator
from ray._runtime.objects.object_table import ObjectState
from ray._runtime.specs.task_ids import TASK_ID_SIZE
from ray._runtime.values import serialization
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.system_errors import error_value
from ray._runtime.values.wire import FIRST_RETURN, item_id

if TYPE_CHECKING:
    from ray._runtime.process.process import Process
    from ray._runtime.specs.task_record import TaskRecord
    from ray._runtime.transport.carrier import Peer

HANDLE_SUFFIX: Final = b"\0\0\0\0"
# What the object behind the last item holds. Nobody reads it.
_END: Final = common_pb2.Value(kind=common_pb2.Value.RAW)


class GeneratorCall:
    """One call of a generator. dynamic: its items are the value of one object, which is made at the end."""

    __slots__ = ("ahead", "dynamic", "handle_id", "peer", "record", "stream", "task_id")

    def __init__(self, record: TaskRecord, dynamic: bool, limit: int) -> None:
        self.record = record
        self.task_id = record.task_id
        self.handle_id = record.task_id + HANDLE_SUFFIX
        self.dynamic = dynamic
        self.stream = GeneratorStream(0 if dynamic else max(limit, 0))
        # The first item that was not looked for ahead of its reader.
        self.ahead = 0
        # Who sends the items, once it does.
        self.peer: Peer | None = None

    def note_drop(self, process: Process) -> None:
        """The ObjectRefGenerator is collected. Runs in a destructor."""
        process.drops.note(self.handle_id)


class Generators:
    """All calls of generators that `process` made and that are not read to their end and dropped."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._calls: dict[bytes, GeneratorCall] = {}
        self._replays: dict[bytes, GeneratorReplay] = {}

    def __len__(self) -> int:
        return len(self._calls)

    # -- from .remote()

    def open(self, record: TaskRecord, dynamic: bool, limit: int) -> None:
        """Begin to expect the items of a call. limit: of unread items, 0 or less for none."""
        process = self._process
        record.generator = call = GeneratorCall(record, dynamic, limit)
        with process.lock:
            self._calls[call.task_id] = call
            self._expect(call)
            if not dynamic:
                process.refs.create(call.handle_id)

    def result(self, record: TaskRecord, completed: ObjectRef) -> ObjectRefGenerator | ObjectRef:
        """What .remote() returns. completed: the task's own result."""
        call = record.generator
        assert isinstance(call, GeneratorCall), "it was just submitted for the first time"
        return completed if call.dynamic else ObjectRefGenerator(completed, self._process)

    def find(self, task_id: bytes) -> GeneratorCall | None:
        """The call of this task, if it is a generator's that is read here."""
        return self._calls.get(task_id)

    def call_of(self, task_id: bytes) -> GeneratorCall:
        """raises: LookupError for a task that is no generator, or whose generator was dropped."""
        call = self._calls.get(task_id)
        if call is None:
            raise LookupError(f"task {task_id.hex()} is not a generator that this process called and still reads")
        return call

    def _expect(self, call: GeneratorCall) -> None:
        """Make the object of the next item that is due; the lock is held."""
        object_id = item_id(call.task_id, call.stream.arrived)
        self._process.objects.create(object_id)
        self._process.refs.create(object_id)

    # -- reading

    def next_ref(self, call: GeneratorCall) -> ObjectRef | None:
        """The ref of the oldest unread item; None when none is here, yet or any more."""
        process = self._process
        with process.lock:
            index = call.stream.next_item()
            if index is not None:
                self._tell(call)
        if index is None:
            return None
        # Made outside of the lock, which a collection that this sets off may need; it takes over the stream's count.
        ref = ObjectRef(item_id(call.task_id, index), process.address, process)
        process.after_lock()
        return ref

    def due(self, call: GeneratorCall) -> ObjectRef:
        """The object to wait for: the oldest unread item, or the one behind the last, ready when there is no more."""
        process = self._process
        with process.lock:
            object_id = item_id(call.task_id, call.stream.read)
            process.refs.add_local(object_id)
        return ObjectRef(object_id, process.address, process)

    async def arrival(self, call: GeneratorCall) -> None:
        """Wait, on an event loop, until the next item can be read or there is none."""
        import asyncio

        loop = asyncio.get_running_loop()
        arrived = loop.create_future()
        due = self.due(call)

        def settle() -> None:
            if not arrived.done():
                arrived.set_result(None)

        def waiter(_object_id: bytes) -> None:
            loop.call_soon_threadsafe(settle)

        with self._process.lock:
            if self._process.objects.when_ready(due._id, waiter):
                return
        try:
            await arrived
        finally:
            with self._process.lock:
                self._process.objects.forget_waiter(due._id, waiter)

    # -- from workers

    def on_items(self, peer: Peer, message: worker_pb2.GeneratorItems) -> None:
        """raises: ValueError when items are left out."""
        process = self._process
        with process.lock:
            if process.refs.is_dead(peer.worker_id):
                return  # read on another thread than the news of the death, which settled what becomes of the call
            call = self._calls.get(message.task_id)
            replay = self._replays.get(message.task_id)
            if replay is not None:
                self._on_replayed(replay, peer, message)
            elif call is None or call.stream.state is not StreamState.OPEN:
                self._refuse(peer, message)
            else:
                call.peer = peer
                new = call.stream.take(message.first, len(message.items))
                for index, item in enumerate(message.items, message.first):
                    if index in new:
                        self._arrived(call, peer, index, item)
                    else:
                        self._unwanted(peer, item_id(message.task_id, index), item)
                self._tell(call)
        process.after_lock()

    def _arrived(self, call: GeneratorCall, peer: Peer, index: int, item: worker_pb2.Return) -> None:
        process = self._process
        self._made(call.record, peer, item_id(call.task_id, index), item)
        following = item_id(call.task_id, index + 1)
        process.objects.create(following)
        process.refs.create(following)

    def _made(self, record: TaskRecord, peer: Peer, object_id: bytes, item: worker_pb2.Return) -> None:
        """Set the value of an item, for the first time or after it was lost."""
        process = self._process
        if item.HasField("stored"):
            waiters = process.objects.set_stored(object_id, item.stored.size, tuple(item.stored.node_ids))
            process.recovery.item_stored(record, object_id)
        else:
            waiters = process.objects.set_value(object_id, item.value)
            process.recovery.lineage.made(object_id)
        process.woken.extend((waiter, object_id) for waiter in waiters)
        self._take_refs(peer, object_id, item)

    def _take_refs(self, peer: Peer, object_id: bytes, item: worker_pb2.Return) -> None:
        contained = item.contained if item.HasField("stored") else item.value.contained
        if contained:
            inners = [(ref.object_id, ref.owner.worker_id) for ref in contained]
            self._process.holds.apply(self._process.refs.result_contains(object_id, peer.worker_id, inners))

    def _unwanted(self, peer: Peer, object_id: bytes, item: worker_pb2.Return) -> None:
        """An item that nobody will read, or that came before, of another attempt: only its copy is news."""
        process = self._process
        entry = process.objects.get(object_id)
        if entry is not None and entry.generation and entry.state is ObjectState.PENDING:
            record = process.submitter.pending.get(object_id[:TASK_ID_SIZE])
            if record is not None:
                self._made(record, peer, object_id, item)
                return
        if item.HasField("stored"):
            if entry is None:
                process.to_free.append((object_id, list(item.stored.node_ids)))
            for node_id in item.stored.node_ids:
                process.objects.add_node(object_id, node_id)
        self._take_refs(peer, object_id, item)

    def _refuse(self, peer: Peer, message: worker_pb2.GeneratorItems) -> None:
        for index, item in enumerate(message.items, message.first):
            self._unwanted(peer, item_id(message.task_id, index), item)
        self._tell_dropped(peer, message.task_id)

    def _tell(self, call: GeneratorCall | GeneratorReplay) -> None:
        """Let the worker go on, if it needs that; the lock is held."""
        progress = call.stream.due()
        if progress is not None and call.peer is not None:
            message = worker_pb2.GeneratorProgress(task_id=call.task_id, arrived=progress.arrived, read=progress.read)
            call.peer.queue(worker_pb2.GENERATOR_PROGRESS, message.SerializeToString())
            self._process.dirty.add(call.peer)

    def _tell_dropped(self, peer: Peer, task_id: bytes) -> None:
        message = worker_pb2.GeneratorDropped(task_id=task_id)
        peer.queue(worker_pb2.GENERATOR_DROPPED, message.SerializeToString())
        self._process.dirty.add(peer)

    # -- running again, for items that were lost; the lock is held

    def item_lost(self, object_id: bytes) -> None:
        """No copy of an object is left, which may be an item: the next attempt of its task, if any, is to send it."""
        task_id = object_id[:TASK_ID_SIZE]
        call = self._replays.get(task_id) or self._calls.get(task_id)
        if call is not None:
            call.stream.lost(index_of(object_id))

    def replay(self, record: TaskRecord) -> None:
        """A call that ended is about to be submitted again."""
        missing = self._process.recovery.lineage.missing(record.task_id)
        record.generator = self._replays[record.task_id] = GeneratorReplay(record, missing)

    def _on_replayed(self, replay: GeneratorReplay, peer: Peer, message: worker_pb2.GeneratorItems) -> None:
        replay.peer = peer
        replay.stream.take(message.first, len(message.items))
        for index, item in enumerate(message.items, message.first):
            self._unwanted(peer, item_id(message.task_id, index), item)
        if self._process.recovery.lineage.missing(message.task_id):
            self._tell(replay)
        elif not replay.stopped:
            replay.stopped = True
            self._tell_dropped(peer, message.task_id)

    def _settle_replay(self, replay: GeneratorReplay, reply: worker_pb2.TaskReply) -> None:
        process = self._process
        del self._replays[replay.task_id]
        if reply.returns and replay.peer is not None:
            self._take_refs(replay.peer, replay.task_id + FIRST_RETURN, reply.returns[0])
        for object_id, error in replay.errors(reply, process.recovery.lineage.missing(replay.task_id)).items():
            waiters = process.objects.set_value(object_id, error)
            process.woken.extend((waiter, object_id) for waiter in waiters)
            process.recovery.lineage.made(object_id)
        del reply.returns[:]

    # -- endings; the lock is held

    def settle(self, call: GeneratorCall | GeneratorReplay, reply: worker_pb2.TaskReply) -> None:
        """The final reply of a generator: make its returns those of the caller's objects.

        An error becomes one more item. The task's own result is None; in a dynamic call it holds the refs of all items.
        """
        if isinstance(call, GeneratorReplay):
            self._settle_replay(call, reply)
            return
        stream = call.stream
        if not reply.returns and reply.items_made > stream.arrived and stream.state is StreamState.OPEN:
            lost = reply.items_made - stream.arrived
            error = _system_error(f"{lost} of the {reply.items_made} items of {call.record.name} did not arrive")
            reply.returns.add().value.CopyFrom(error)
        if reply.returns and stream.state is StreamState.OPEN:
            failed = reply.returns[0]
            failed.object_id = item_id(call.task_id, stream.arrived)
            stream.take(stream.arrived, 1)
            self._expect(call)
        self._end(call)
        completed = reply.returns.add(object_id=call.task_id + FIRST_RETURN)
        if call.dynamic:
            self._gather(call, completed)
        else:
            completed.value.CopyFrom(serialization.serialize(None).to_proto())

    def fail(self, call: GeneratorCall | GeneratorReplay, value: common_pb2.Value) -> None:
        """The call ends with an error that its worker did not send: it becomes one more item."""
        if isinstance(call, GeneratorReplay):
            del self._replays[call.task_id]
            return
        process, stream = self._process, call.stream
        if stream.state is StreamState.OPEN:
            object_id = item_id(call.task_id, stream.arrived)
            waiters = process.objects.set_value(object_id, value)
            process.woken.extend((waiter, object_id) for waiter in waiters)
            stream.take(stream.arrived, 1)
            self._expect(call)
        self._end(call)
        if call.dynamic:
            self._drop_items(call, range(stream.arrived))

    def _end(self, call: GeneratorCall) -> None:
        process, stream = self._process, call.stream
        stream.end()
        if stream.state is StreamState.ENDED:
            object_id = item_id(call.task_id, stream.arrived)
            waiters = process.objects.set_value(object_id, _END)
            process.woken.extend((waiter, object_id) for waiter in waiters)
        if stream.state is StreamState.CLOSED or call.dynamic:
            del self._calls[call.task_id]

    def _gather(self, call: GeneratorCall, completed: worker_pb2.Return) -> None:
        """Make the value of a dynamic call: an object of ours that contains our items."""
        process = self._process
        object_ids = [item_id(call.task_id, index) for index in range(call.stream.arrived)]
        refs = [ObjectRef(object_id, process.address) for object_id in object_ids]
        # Who takes the reply counts them as contained, before the drops noted here are counted.
        completed.value.CopyFrom(serialization.serialize(DynamicObjectRefGenerator(refs)).to_proto())
        self._drop_items(call, range(call.stream.arrived))

    def _drop_items(self, call: GeneratorCall, indices: Iterable[int]) -> None:
        # Noted, not counted at once: we may be in the midst of the counter's commands, whose messages are numbered.
        for index in indices:
            self._process.drops.note(item_id(call.task_id, index))
        self._process.drops.note(item_id(call.task_id, call.stream.arrived))

    def handle_freed(self, object_id: bytes) -> None:
        """Perhaps an ObjectRefGenerator was collected: its worker is to stop, and what was not read goes."""
        call = self._calls.get(object_id[:24]) if object_id.endswith(HANDLE_SUFFIX) else None
        if call is None:
            return
        self._drop_items(call, call.stream.drop())
        if call.stream.state is StreamState.CLOSED:
            del self._calls[call.task_id]
        elif call.peer is not None:
            self._tell_dropped(call.peer, call.task_id)


def _system_error(text: str) -> common_pb2.Value:
    from ray.exceptions import RaySystemError

    return error_value(RaySystemError(text))
