"""A worker's side of tasks: takes them from channels, runs them on the main thread, sends the replies.

The main thread reads its own channels while it has nothing to run, so that a task on an idle worker needs no hand-over.
While one has been running for some milliseconds, or blocks, the stand-in reads; it hands back what is queued behind.
Taking the next task and handing back are one step under one lock.
"""

from __future__ import annotations

import collections
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

from manta.proto.worker.v1 import worker_pb2
from ray._runtime import serialization
from ray._runtime.definitions import DefinitionCache
from ray._runtime.execution import Execution, Failure, pack_returns, run
from ray._runtime.gate import Gate
from ray._runtime.reading import TAKE_OVER_S
from ray._runtime.wire import plain_reply, repeated_field

if TYPE_CHECKING:
    from ray._runtime.actor_host import ActorHost
    from ray._runtime.links import Channel, Peer
    from ray._runtime.process import Process

log = logging.getLogger("ray.runtime")

# Replies of short tasks leave together, but none waits longer than this for its neighbours.
_REPLY_DELAY_S: Final = 0.001
# An idle main thread looks around this often at the least; what it has to see wakes it.
_LOOK_S: Final = 3600.0


class Incoming:
    """A task that arrived and has not started."""

    __slots__ = ("batch", "channel", "peer", "task")

    def __init__(self, peer: Peer, channel: Channel, batch: worker_pb2.Tasks, task: worker_pb2.Task) -> None:
        self.peer = peer
        self.channel = channel
        self.batch = batch
        self.task = task


class Executor:
    """Runs the tasks of one worker process, one at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.definitions = DefinitionCache()
        self._definition_waits: dict[bytes, threading.Event] = {}
        self._queue: collections.deque[Incoming] = collections.deque()
        # Guards the queue against a take and a hand-back at once.
        self._take = threading.Lock()
        self._replies: dict[Channel, list[bytes]] = {}
        self._replies_since = 0.0
        self._waiting: dict[bytes, tuple[Channel, bytes]] = {}
        self._blocked = 0
        self._exit_reason = ""
        self.current: Execution | None = None
        self.actor: ActorHost | None = None
        self._main = threading.get_ident()
        # Where the main thread waits while it has nothing to run; whoever brings it something opens it.
        self._idle: Gate | None = None
        # When the main thread began the task that it runs.
        self._started = 0.0
        self._look_set = False

    # -- arriving, on whichever thread reads

    def on_tasks(self, peer: Peer, channel: Channel, batch: worker_pb2.Tasks) -> None:
        for definition in batch.definitions:
            self.on_definition(definition)
        tasks = [Incoming(peer, channel, batch, task) for task in batch.tasks]
        with self._take:
            self._queue.extend(tasks)
            busy = self._blocked > 0 or self._is_long()
        if busy and self.actor is None:
            self.hand_back()
        elif self.current is not None:
            self._look_later(TAKE_OVER_S)
        else:
            self.look_around()

    def _is_long(self) -> bool:
        """Whether the running task has run so long that others should not wait behind it."""
        return self.current is not None and time.monotonic() - self._started > TAKE_OVER_S

    def on_definition(self, definition: worker_pb2.Definition) -> None:
        if definition.pickled:
            self.definitions.add(definition.digest, definition.pickled)
        waiting = self._definition_waits.pop(definition.digest, None)
        if waiting is not None:
            waiting.set()

    def on_cancel(self, message: worker_pb2.Cancel) -> None:
        with self._take:
            for incoming in self._queue:
                if incoming.task.task_id == message.task_id:
                    self._queue.remove(incoming)
                    break
            else:
                return
        reply = worker_pb2.TaskReply(task_id=message.task_id, outcome=worker_pb2.TaskReply.CANCELLED)
        self._finish(incoming, reply.SerializeToString(), {})
        self.flush_replies()

    def hand_back(self) -> None:
        """Name what will not be started here; the owners send it elsewhere. Actors never do that."""
        if self.actor is not None:
            self.flush_replies()
            return
        with self._take:
            back = list(self._queue)
            self._queue.clear()
        by_channel: dict[Channel, list[bytes]] = {}
        for incoming in back:
            by_channel.setdefault(incoming.channel, []).append(incoming.task.task_id)
        self.flush_replies()
        for channel, task_ids in by_channel.items():
            message = worker_pb2.HandedBack(task_ids=task_ids)
            channel.send(worker_pb2.HANDED_BACK, message.SerializeToString())

    # -- the main thread

    def serve(self) -> str:
        """Run tasks until the worker is to end; returns why."""
        while not self._exit_reason:
            incoming = self._next()
            if incoming is None:
                self.flush_replies()
                self._await_work()
                continue
            self._run(incoming)
        self.flush_replies()
        return self._exit_reason

    def _await_work(self) -> None:
        # At a gate, not for the token: a thread of the user's may be reading, in a get that lasts.
        gate = self._idle = Gate(1)
        while not (gate.opened or self._queue or self._exit_reason or self._ready()):
            self._process.reading.wait(gate, _LOOK_S)
        self._idle = None

    def look_around(self) -> None:
        """There is something for the main thread; safe from any thread and from a signal handler."""
        gate = self._idle
        if gate is not None:
            gate.open()

    def _ready(self) -> bool:
        actor = self.actor
        return actor is not None and actor.to_start is not None

    def _next(self) -> Incoming | None:
        actor = self.actor
        if actor is not None and actor.to_start is not None:
            actor.start()
        with self._take:
            return self._queue.popleft() if self._queue else None

    def exit(self, reason: str) -> None:
        """End after the running task; safe from any thread."""
        self._exit_reason = reason
        self.look_around()

    def _run(self, incoming: Incoming) -> None:
        task = incoming.task
        if task.last_attempt:
            self.flush_replies()
        self._started = time.monotonic()
        self.current = execution = Execution(self._process, incoming.peer, incoming.batch, task)
        refused = self.actor.refusal(task) if self.actor is not None else ""
        if refused:
            outcome = worker_pb2.TaskReply.REFUSED
            reply = worker_pb2.TaskReply(task_id=task.task_id, outcome=outcome, message=refused, attempt=task.attempt)
            self._finish(incoming, reply.SerializeToString(), {})
            self.current = None
            return
        reply = worker_pb2.TaskReply(task_id=task.task_id, attempt=task.attempt)
        function: Any = None
        started = time.perf_counter_ns()
        try:
            function = self._function(incoming, execution)
            args, kwargs = execution.arguments()
            started = time.perf_counter_ns()
            result = run(execution, function, args, kwargs)
            reply.execution_us = (time.perf_counter_ns() - started) // 1000
            # What the task still holds of its arguments is counted in a moment.
            del args, kwargs
            if task.num_returns == 1 and not execution.exits:
                stream = serialization.plain(result)
                if stream is not None:
                    encoded = plain_reply(task.task_id, stream, reply.execution_us, task.attempt)
                    del result, function
                    self._finish(incoming, encoded, {})
                    self.current = None
                    return
        except Failure as failure:
            result = failure.value
            reply.outcome = worker_pb2.TaskReply.RAISED
            reply.execution_us = (time.perf_counter_ns() - started) // 1000
        contained: Mapping[bytes, list[tuple[bytes, bytes]]] = {}
        try:
            contained = pack_returns(execution, reply, result)
        except Failure as failure:
            # Results that were stored before one failed: the error takes their place, and nobody else would free them.
            stored = [(done.object_id, list(done.stored.node_ids)) for done in reply.returns if done.HasField("stored")]
            with self._process.lock:
                self._process.to_free.extend(stored)
            del reply.returns[:]
            reply.outcome = worker_pb2.TaskReply.RAISED
            # Refs in the error have to be held until the reference counter has taken the end of the task.
            result = failure.value
            contained = pack_returns(execution, reply, result)
        if execution.exits and self.actor is not None and result is None:
            # exit_actor(): the call that ends the actor gets no result, as upstream; its caller sees the death.
            self._exit_reason = execution.exits
            self.current = None
            return
        if execution.exits:
            reply.outcome = worker_pb2.TaskReply.EXITING
            self._exit_reason = execution.exits
        self._finish(incoming, reply.SerializeToString(), contained)
        del result, function
        self.current = None

    def _function(self, incoming: Incoming, execution: Execution) -> Any:
        if self.actor is not None:
            return self.actor.method(incoming.task.method)
        digest = incoming.task.definition
        if digest not in self.definitions:
            self.want_definition(incoming.channel, digest)
        try:
            return self.definitions.load(digest)
        except BaseException as error:
            raise execution.failure(error) from None

    def want_definition(self, channel: Channel, digest: bytes) -> None:
        """Ask the task's owner for a definition that was dropped here, and wait for it."""
        arrived = self._definition_waits.setdefault(digest, threading.Event())
        channel.send(worker_pb2.DEFINITION_WANTED, worker_pb2.DefinitionWanted(digest=digest).SerializeToString())
        with self._process.blocking():
            arrived.wait()

    # -- replies

    def _finish(self, incoming: Incoming, reply: bytes, contained: Mapping[bytes, list[tuple[bytes, bytes]]]) -> None:
        """Send the reply, a serialized TaskReply, once the reference counter lets it go."""
        process = self._process
        task_id = incoming.task.task_id
        with process.lock:
            if process.drops:
                process.drain_drops()
            self._waiting[task_id] = (incoming.channel, reply)
            process.holds.apply(process.refs.task_done(task_id, incoming.batch.caller.worker_id, contained))
            deferred = task_id in self._waiting
        process.after_lock()
        if deferred:
            message = worker_pb2.ReplyDeferred(task_id=task_id)
            incoming.channel.send(worker_pb2.REPLY_DEFERRED, message.SerializeToString())
        if not self._queue or incoming.task.last_attempt or time.monotonic() - self._replies_since > _REPLY_DELAY_S:
            self.flush_replies()
        else:
            self._look_later(_REPLY_DELAY_S)

    def _look_later(self, delay_s: float) -> None:
        """Look for what waits behind a long task: the stand-in does so when it takes over, and not while it reads."""
        if not self._look_set:
            self._look_set = True
            self._process.reactor.call_later(delay_s, self._look_late)

    def _look_late(self) -> None:
        self._look_set = False
        self.flush_replies()
        if self._queue and self._is_long():
            self.hand_back()
        if self._queue:
            self._look_later(TAKE_OVER_S)

    def reply_ready(self, task_id: bytes, kept: tuple[tuple[bytes, int], ...]) -> None:
        """The reference counter lets the reply go; its lock is held."""
        channel, reply = self._waiting.pop(task_id)
        if kept:
            named = worker_pb2.TaskReply()
            for object_id, number in kept:
                named.kept.add(object_id=object_id, number=number)
            reply += named.SerializeToString()
        if not self._replies:
            self._replies_since = time.monotonic()
        self._replies.setdefault(channel, []).append(repeated_field(1, reply))
        if threading.get_ident() != self._main:
            self._process.reactor.call_soon(self.flush_replies)

    def flush_replies(self) -> None:
        if not self._replies:
            return
        with self._process.lock:
            replies, self._replies = self._replies, {}
            for channel, parts in replies.items():
                channel.queue(worker_pb2.REPLIES, b"".join(parts))
        for channel in replies:
            channel.flush()

    # -- blocking

    @contextmanager
    def lending(self) -> Iterator[None]:
        """The running task waits: hand back what is queued behind it, and lend its CPUs."""
        if threading.get_ident() != self._main:
            # A thread of the user's waits; the task itself goes on.
            yield
            return
        with self._take:
            self._blocked += 1
        self.hand_back()
        self._process.tell_blocked(True)
        try:
            yield
        finally:
            with self._take:
                self._blocked -= 1
            self._process.tell_blocked(False)


def exit_process(code: int) -> NoReturn:
    """End a worker at once but with its output written; nothing of the zygote's atexit may run here."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
