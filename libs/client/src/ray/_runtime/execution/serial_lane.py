"""One call at a time, on the main thread: tasks, and actors without concurrency.

The main thread reads its own channels while it has nothing to run, so that a call on an idle worker needs no hand-over.
While one has been running for some milliseconds, or blocks, the stand-in reads; it hands back what is queued behind.
Taking the next task, handing back and cancelling are one step under one lock.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from manta_proto.worker.v1 import worker_pb2

from ray._runtime.execution.execution import Execution
from ray._runtime.execution.interrupts import Interrupts
from ray._runtime.execution.replies import REPLY_DELAY_S
from ray._runtime.loop.latch import Gate
from ray._runtime.loop.reading import TAKE_OVER_S

if TYPE_CHECKING:
    from ray._runtime.execution.actor_host import ActorHost
    from ray._runtime.execution.executor import Executor
    from ray._runtime.execution.incoming import Incoming
    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Peer

# An idle main thread looks around this often at the least; what it has to see wakes it.
LOOK_S: Final = 3600.0


class SerialLane:
    """See ray._runtime.execution.call_scheduler.Lane."""

    def __init__(self, process: Process, executor: Executor) -> None:
        self._process = process
        self._executor = executor
        self._calls = executor.calls
        self._replies = executor.calls.replies
        self._queue: collections.deque[Incoming] = collections.deque()
        # Guards the queue, and which call runs, against a take, a hand-back and a cancel at once.
        self._take = threading.RLock()
        self._running: Execution | None = None
        self._blocked = 0
        self._main = threading.get_ident()
        # Where the main thread waits while it has nothing to run; whoever brings it something opens it.
        self._idle: Gate | None = None
        # When the main thread began the call that it runs.
        self._started = 0.0
        self._look_set = False
        self.interrupts = Interrupts(process.reactor, self.current, self._take, self.stay)

    # -- on whichever thread reads

    def arrived(self, calls: Sequence[Incoming]) -> None:
        with self._take:
            self._queue.extend(calls)
            busy = self._blocked > 0 or self._is_long()
        if busy and self._calls.actor is None:
            self.hand_back()
        elif self._running is not None:
            self._look_later(TAKE_OVER_S)
        else:
            self.look_around()

    def _is_long(self) -> bool:
        """Whether the running call has run so long that others should not wait behind it."""
        return self._running is not None and time.monotonic() - self._started > TAKE_OVER_S

    def cancel(self, task_id: bytes, force: bool) -> bool:
        with self._take:
            incoming = next((queued for queued in self._queue if queued.task.task_id == task_id), None)
            if incoming is not None:
                self._queue.remove(incoming)
            else:
                execution = self._running
                if execution is None or execution.task.task_id != task_id:
                    return False
                execution.cancelled = True
                # A method may leave its actor in any state: it runs to its end, and may ask whether it is wanted.
                if self._calls.actor is None and not force:
                    self.interrupts.interrupt(execution)
        if incoming is not None:
            self._calls.cancel(incoming)
            self._replies.flush()
            return False
        return True

    def stop_for_good(self) -> Execution | None:
        """Let the user's code that runs go no further. returns: what ran, whose reply is the caller's business now."""
        with self._take:
            execution = self._running
            if execution is None:
                return None
            execution.stopped = True
            # Looked at after: its thread sets that, and then looks for ours, without a lock.
            if execution.returned:
                execution.stopped = False
                return None
            self.interrupts.interrupt(execution)
            return execution

    def stay(self, execution: Execution) -> None:
        """Keep the main thread where it is, but for the reading, if its call is stopped for good."""
        with self._take:  # whoever stopped it has made up its mind by then
            stopped = execution.stopped
        while stopped:
            self._process.reading.wait(Gate(1), LOOK_S)

    def hand_back(self) -> None:
        """Name what will not be started here; the owners send it elsewhere. Actors never do that."""
        if self._calls.actor is not None:
            self._replies.flush()
            return
        with self._take:
            back = list(self._queue)
            self._queue.clear()
        by_peer: dict[Peer, worker_pb2.HandedBack] = {}
        for incoming in back:
            message = by_peer.setdefault(incoming.peer, worker_pb2.HandedBack())
            message.task_ids.append(incoming.task.task_id)
            message.attempts.append(incoming.task.attempt)
        self._replies.flush()
        for peer, message in by_peer.items():
            peer.send(worker_pb2.HANDED_BACK, message.SerializeToString())

    def _look_later(self, delay_s: float) -> None:
        """Look for what waits behind a long call: the stand-in does so when it takes over, and not while it reads."""
        if not self._look_set:
            self._look_set = True
            self._process.reactor.call_later(delay_s, self._look_late)

    def _look_late(self) -> None:
        self._look_set = False
        self._replies.flush()
        if self._queue and self._is_long():
            self.hand_back()
        if self._queue:
            self._look_later(TAKE_OVER_S)

    def look_around(self) -> None:
        gate = self._idle
        if gate is not None:
            gate.open()

    def drop_in_child(self) -> None:
        self._queue.clear()

    # -- the main thread

    def serve(self) -> None:
        executor = self._executor
        self._main = threading.get_ident()
        while not executor.exit_reason and executor.lane is self:
            incoming = self._next()
            if incoming is not None:
                self._run(incoming)
            elif executor.to_start is not None:
                executor.take_actor()
            else:
                self._replies.flush()
                self._await_work()

    def _await_work(self) -> None:
        # At a gate, not for the token: a thread of the user's may be reading, in a get that lasts.
        gate = self._idle = Gate(1)
        executor = self._executor
        while not (gate.opened or self._queue or executor.exit_reason or executor.to_start is not None):
            self._process.reading.wait(gate, LOOK_S)
        self._idle = None

    def _next(self) -> Incoming | None:
        """Take the next call, and be running it, in one step."""
        with self._take:
            if not self._queue:
                return None
            incoming = self._queue.popleft()
            self._started = time.monotonic()
            self._running = Execution(self._process, incoming.peer, incoming.batch, incoming.task)
            if self._executor.actor is None:
                self._enter_group(incoming.batch)
            return incoming

    def _enter_group(self, batch: worker_pb2.Tasks) -> None:
        context = self._process.group_context
        if batch.placement_group_id or context.group_id:
            context.enter(batch.placement_group_id, batch.capture_child_tasks)

    def _run(self, incoming: Incoming) -> None:
        execution = self._running
        assert execution is not None
        last_attempt = incoming.task.last_attempt
        if last_attempt:
            self._replies.flush()
        if not self._calls.refuse(incoming):
            self._calls.perform(incoming, execution)
            self._executor.end_after(execution)
        self._running = None
        if not self._queue or last_attempt or self._replies.overdue():
            self._replies.flush()
        else:
            self._look_later(REPLY_DELAY_S)

    def construct(self, actor: ActorHost) -> None:
        self._running = execution = actor.execution()
        actor.construct(execution)
        self._running = None

    # -- waiting

    def current(self) -> Execution | None:
        return self._running

    def running(self) -> list[tuple[Execution, bool]]:
        execution = self._running
        return [] if execution is None else [(execution, self._blocked > 0)]

    def begin_wait(self, gate: Gate | None) -> bool:
        execution = self._running
        if execution is None or threading.get_ident() != self._main:
            # A thread of the user's waits; the task itself goes on.
            return False
        if self._take._is_owned():  # type: ignore[attr-defined]
            from ray.exceptions import RaySystemError

            raise RaySystemError("a finalizer that runs where the worker takes its next task cannot wait for results")
        with self._take:
            self._blocked += 1
            execution.gate = gate
            if execution.to_interrupt and gate is not None:
                gate.open()
        self.hand_back()
        self._executor.tell_blocked(execution, True)
        return True

    def end_wait(self, lent: bool) -> None:
        if not lent:
            return
        execution = self._running
        assert execution is not None
        with self._take:
            self._blocked -= 1
            gate, execution.gate = execution.gate, None
            interrupted = execution.to_interrupt
            if interrupted and gate is None:
                # It waited for an answer that must not get lost: the interrupt comes when the user's code goes on.
                self.interrupts.interrupt(execution)
            elif interrupted:
                execution.to_interrupt = False
        self._executor.tell_blocked(execution, False)
        if interrupted and gate is not None:
            self.interrupts.strike(execution)
