"""The items of a running generator, from its yields to the channel of its caller, in order.

An item leaves as it is yielded when none has left for a moment; those that follow one another quickly leave together.
One that names refs whose owners have to be told first holds up those behind it until they have answered.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from manta_proto.worker.v1 import worker_pb2

from ray._runtime.api import STREAMING
from ray._runtime.execution.execution import Failure
from ray._runtime.execution.generator_flow import GeneratorFlow
from ray._runtime.execution.return_values import Large, pack_item, store_all
from ray._runtime.loop.latch import Gate
from ray._runtime.loop.reading import TAKE_OVER_S
from ray._runtime.values import serialization
from ray._runtime.values.wire import item_id, plain_item, repeated_field

if TYPE_CHECKING:
    from ray._runtime.execution.execution import Execution
    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Channel

log = logging.getLogger("ray.runtime")

# Items that follow one another within this time leave together.
_ITEM_DELAY_S: Final = 0.001
# So many bytes leave without waiting for more.
_FRAME_BYTES: Final = 1 << 16
# A wait that lasts longer says what it waits for.
_SLOW_WAIT_S: Final = 30.0
_ITEMS_FIELD: Final = worker_pb2.GeneratorItems.DESCRIPTOR.fields_by_name["items"].number


class _Item:
    """One that has not left. Not `released`: it waits for owners of refs in it."""

    __slots__ = ("data", "index", "released")

    def __init__(self, index: int, data: bytes, released: bool) -> None:
        self.index = index
        self.data = data
        self.released = released


class _Packed(NamedTuple):
    """One before it is queued. data: its message, unless that is still to be written; owners: of the refs inside."""

    number: int
    data: bytes
    message: worker_pb2.Return | None
    owners: list[tuple[bytes, bytes]]
    large: Large


class ItemSender:
    """Sends the items of one attempt. The queue is changed under the process's lock; its bound is the flow's window."""

    def __init__(self, process: Process, execution: Execution, channel: Channel) -> None:
        task = execution.task
        self._process = process
        self._execution = execution
        self._channel = channel
        self.task_id = task.task_id
        self.caller = execution.caller
        # The items of a dynamic call are read when all of them are there.
        self.flow = GeneratorFlow(task.items_arrived, max(task.backpressure, 0) if task.num_returns == STREAMING else 0)
        self._header = worker_pb2.GeneratorItems(task_id=task.task_id, attempt=task.attempt).SerializeToString()
        self._queue: collections.deque[_Item] = collections.deque()
        self._bytes = 0
        self._sent_at = 0.0
        self._timer_set = False
        # Wakes the generator, which waits for its caller; None while it does not.
        self._wake: Callable[[], object] | None = None

    # -- one item

    def put(self, value: Any) -> None:
        """Send what the generator yielded, unless the caller has it. raises: Failure when it cannot be packed."""
        packed = self._pack(value)
        if packed is not None:
            if packed.large:
                self._store(packed)
            self._append(packed)

    async def put_async(self, value: Any) -> None:
        """As put, on an event loop: a copy into the arena, and perhaps a wait for room, is left to a thread.

        A cancellation has to wait for it, and is noted in the execution: the caller must hear of what was stored.
        """
        packed = self._pack(value)
        if packed is None:
            return
        if packed.large:
            loop = asyncio.get_running_loop()
            try:
                stored = loop.run_in_executor(self._process.helpers, self._store, packed)
            except RuntimeError:  # the system has no thread to give
                self._store(packed)
                self._append(packed)
                return
            while not stored.done():
                try:
                    await asyncio.shield(stored)
                except asyncio.CancelledError:
                    self._execution.cancelled = True
            stored.result()
        self._append(packed)

    def _pack(self, value: Any) -> _Packed | None:
        """Number and pickle it; None when the caller has it, or wants no more."""
        index = self.flow.next_item()
        if index is None or self.flow.dropped:
            return None
        try:
            plain = None if serialization.is_large_array(value) else serialization.plain(value)
            if plain is not None:
                return _Packed(index, plain_item(plain), None, [], [])
            message = worker_pb2.Return(object_id=item_id(self.task_id, index))
            owners, large = pack_item(self._execution, message, value)
        except Failure:
            self.flow.unmade()
            raise
        except BaseException as problem:
            # Of a hook of the item's class: to pickle a value is to run them.
            self.flow.unmade()
            raise self._execution.ended_by(problem) from None
        return _Packed(index, b"", message, owners, large)

    def _store(self, packed: _Packed) -> None:
        try:
            store_all(self._execution, packed.large)
        except Failure:
            self.flow.unmade()
            raise

    def _append(self, packed: _Packed) -> None:
        index, data, message, owners, _ = packed
        at_once = False
        if message is not None:
            # The caller has to know of what is in the arena: nobody else would free it.
            at_once = message.HasField("stored")
            message.ClearField("object_id")
            data = message.SerializeToString()
        process = self._process
        with process.lock:
            if process.drops.refs:
                process.drops.count()
            self._queue.append(_Item(index, data, released=not owners))
            self._bytes += len(data)
            if owners:
                # As for a result: who put the value still holds it, and the caller takes the holds over with the item.
                object_id = item_id(self.task_id, index)
                process.holds.apply(process.refs.task_done(object_id, self.caller, {object_id: owners}))
        if owners:
            process.after_lock()
        if at_once or self._bytes >= _FRAME_BYTES or time.monotonic() - self._sent_at > _ITEM_DELAY_S:
            self.flush()
        elif not self._timer_set:
            self._timer_set = True
            process.reactor.call_later(_ITEM_DELAY_S, self._late)

    def _late(self) -> None:
        self._timer_set = False
        self.flush()

    def released(self, object_id: bytes) -> None:
        """All owners of the refs in an item count the caller; the lock is held."""
        for item in self._queue:
            if item_id(self.task_id, item.index) == object_id:
                item.released = True
        self._process.reactor.call_soon(self.flush)

    def flush(self) -> None:
        """Send what can leave."""
        parts: list[bytes] = []
        with self._process.lock:
            queue = self._queue
            first = queue[0].index if queue else 0
            while queue and queue[0].released:
                data = queue.popleft().data
                self._bytes -= len(data)
                parts.append(repeated_field(_ITEMS_FIELD, data))
            if parts:
                start = worker_pb2.GeneratorItems(first=first).SerializeToString()
                self._channel.queue(worker_pb2.GENERATOR_ITEMS, b"".join((self._header, start, *parts)))
        if parts:
            self._sent_at = time.monotonic()
            self._channel.flush()
        self._look()

    # -- waiting for the caller

    def told(self, arrived: int, read: int) -> None:
        """The caller's progress."""
        self.flow.told(arrived, read)
        self._look()

    def drop(self) -> None:
        """Nobody wants a further item."""
        self.flow.dropped = True
        self._look()

    def _look(self) -> None:
        wake = self._wake
        if wake is not None:
            wake()

    def _all_sent(self) -> bool:
        return not self._queue

    def await_room(self) -> None:
        """Wait, on a thread, until the generator may run on."""
        if not self.flow.may_go_on():
            self._wait(self.flow.may_go_on)

    def await_sent(self) -> None:
        """Wait, on a thread, until all items have left: the reply must not overtake them, nor a cancel end the wait."""
        self.flush()
        while self._queue:
            try:
                self._wait(self._all_sent)
            except KeyboardInterrupt:
                self._execution.cancelled = True

    def _wait(self, condition: Callable[[], bool]) -> None:
        self.flush()
        process = self._process
        started = time.monotonic()
        while True:
            gate = Gate(1)
            self._wake = gate.open
            try:
                if condition():
                    return
                if not process.reading.wait(gate, TAKE_OVER_S):
                    # The caller takes its time: others may have this worker's CPUs meanwhile.
                    with process.lending(gate):
                        process.reading.wait(gate, _SLOW_WAIT_S)
            finally:
                self._wake = None
            self._say_what_is_awaited(started)

    async def room(self) -> None:
        """As await_room, on an event loop. raises: CancelledError."""
        if not self.flow.may_go_on():
            await self._waited(self.flow.may_go_on)

    async def sent(self) -> None:
        """As await_sent, on an event loop; a cancellation has to wait for it."""
        self.flush()
        while self._queue:
            try:
                await self._waited(self._all_sent)
            except asyncio.CancelledError:
                self._execution.cancelled = True

    async def _waited(self, condition: Callable[[], bool]) -> None:
        self.flush()
        loop = asyncio.get_running_loop()
        started = time.monotonic()
        event = asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(event.set)
        try:
            while not condition():
                event.clear()
                # The condition may have come true since.
                if not condition():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(event.wait(), _SLOW_WAIT_S)
                    self._say_what_is_awaited(started)
        finally:
            self._wake = None

    def _say_what_is_awaited(self, started: float) -> None:
        waited_s = time.monotonic() - started
        if waited_s >= _SLOW_WAIT_S:
            name, made = self._execution.name, self.flow.made
            log.info("generator_waits_for_reader task=%s items=%d waited_s=%.0f", name, made, waited_s)


class ItemSenders:
    """The generators that run in this process, and the news of their callers for them."""

    def __init__(self) -> None:
        self._running: dict[bytes, ItemSender] = {}

    def begin(self, sender: ItemSender) -> None:
        self._running[sender.task_id] = sender

    def end(self, sender: ItemSender) -> None:
        del self._running[sender.task_id]

    def on_progress(self, message: worker_pb2.GeneratorProgress) -> None:
        """News of a generator that is over already mean nothing."""
        sender = self._running.get(message.task_id)
        if sender is not None:
            sender.told(message.arrived, message.read)

    def on_dropped(self, message: worker_pb2.GeneratorDropped) -> None:
        sender = self._running.get(message.task_id)
        if sender is not None:
            sender.drop()

    def caller_died(self, worker_id: bytes) -> None:
        """Nobody is left to read what its calls yield."""
        for sender in list(self._running.values()):
            if sender.caller == worker_id:
                sender.drop()

    def released(self, object_id: bytes) -> None:
        """The reference counter lets an item go; its lock is held."""
        sender = self._running.get(object_id[:24])
        if sender is not None:
            sender.released(object_id)
