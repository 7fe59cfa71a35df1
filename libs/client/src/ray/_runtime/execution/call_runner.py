"""One call in a worker, from what arrived to its reply; on which thread, and when, is the business of its lane."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from manta_proto.common.v1 import common_pb2
from manta_proto.worker.v1 import worker_pb2

from ray._runtime.execution.execution import ArgumentLost, Execution, Failure, run
from ray._runtime.execution.generator_run import run_generator
from ray._runtime.execution.incoming import Incoming
from ray._runtime.execution.replies import Replies
from ray._runtime.execution.return_values import Large, pack_returns, store_all
from ray._runtime.specs.definitions import DefinitionCache
from ray._runtime.values import serialization
from ray._runtime.values.wire import plain_reply

if TYPE_CHECKING:
    from ray._runtime.execution.actor_host import ActorHost
    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Peer

Call = tuple[Any, tuple[Any, ...], dict[str, Any]]


class Packed:
    """The reply of a call that returned, before what is large of it is in the arena."""

    def __init__(
        self,
        incoming: Incoming,
        execution: Execution,
        reply: worker_pb2.TaskReply,
        contained: Mapping[bytes, list[tuple[bytes, bytes]]],
        large: Large,
    ) -> None:
        self.incoming = incoming
        self.execution = execution
        self.reply = reply
        self.contained = contained
        self.large = large
        self.error: BaseException | None = None


class CallRunner:
    """Runs calls of one worker process and packs what comes of them. Any number of threads may use it at once."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.definitions = DefinitionCache()
        self._definition_waits: dict[bytes, threading.Event] = {}
        self.replies = Replies(process)
        self.actor: ActorHost | None = None
        # Of each function with max_calls, how often this process has run it.
        self._runs: dict[bytes, int] = {}

    # -- definitions

    def on_definition(self, definition: worker_pb2.Definition) -> None:
        if definition.pickled:
            self.definitions.add(definition.digest, definition.pickled)
        waiting = self._definition_waits.pop(definition.digest, None)
        if waiting is not None:
            waiting.set()

    def want_definition(self, peer: Peer, digest: bytes) -> None:
        """Ask the task's owner for a definition that was dropped here, and wait for it."""
        arrived = self._definition_waits.setdefault(digest, threading.Event())
        peer.send(worker_pb2.DEFINITION_WANTED, worker_pb2.DefinitionWanted(digest=digest).SerializeToString())
        with self._process.blocking():
            arrived.wait()

    def _function(self, incoming: Incoming, execution: Execution) -> Any:
        actor = self.actor
        task = incoming.task
        if actor is not None:
            return actor.method(task.method)
        digest = task.definition
        if digest not in self.definitions:
            self.want_definition(incoming.peer, digest)
        if task.max_calls:
            self._count_run(execution, digest, task.max_calls)
        try:
            return self.definitions.load(digest)
        except BaseException as error:
            raise execution.failure(error) from None

    def _count_run(self, execution: Execution, digest: bytes, max_calls: int) -> None:
        runs = self._runs[digest] = self._runs.get(digest, 0) + 1
        if runs >= max_calls:
            execution.exits = f"max_calls={max_calls} was reached"
            execution.retires = True

    # -- the steps of a call

    def refuse(self, incoming: Incoming) -> bool:
        """Answer a call that cannot be for this process. returns: whether it was one."""
        actor = self.actor
        if actor is None:
            return False
        why = actor.refusal(incoming.task)
        executor = self._process.executor
        if not why and executor.exit_reason:
            if executor.left:
                self.leave(incoming, None)
                return True
            # Whoever called learns from the cluster what comes of the actor.
            why = executor.exit_reason
        if not why:
            return False
        task = incoming.task
        outcome = worker_pb2.TaskReply.REFUSED
        reply = worker_pb2.TaskReply(task_id=task.task_id, outcome=outcome, message=why, attempt=task.attempt)
        self.replies.finish(incoming, reply.SerializeToString(), {})
        return True

    def leave(self, incoming: Incoming, execution: Execution | None) -> None:
        """Answer a call of an actor that chose to end, ahead of the news of its death: others still run here.

        execution: of the call that ended it; None: it never started.
        """
        from ray.exceptions import ActorDiedError

        actor = self.actor
        assert actor is not None, "a task's worker does not choose to end"
        process, task = self._process, incoming.task
        cause = common_pb2.DeathCause(
            kind=common_pb2.DeathCause.INTENDED,
            message=process.executor.exit_reason,
            pid=os.getpid(),
            node_id=process.node_id,
        )
        error = ActorDiedError(cause, actor_id=actor.actor_id.hex(), class_name=actor.spec.class_name)
        reply = worker_pb2.TaskReply(
            task_id=task.task_id, attempt=task.attempt, outcome=worker_pb2.TaskReply.ACTOR_LEFT
        )
        if execution is None:
            execution = Execution(process, incoming.peer, incoming.batch, task)
        self._finish(incoming, reply, pack_returns(execution, reply, error, []))

    def _give_back(self, incoming: Incoming, execution: Execution, lost: ArgumentLost) -> None:
        """Answer a task that cannot start before its caller has had an argument made again."""
        task, argument = incoming.task, lost.argument
        if task.max_calls:
            self._runs[task.definition] -= 1
            execution.exits, execution.retires = "", False
        reply = worker_pb2.TaskReply(
            task_id=task.task_id,
            outcome=worker_pb2.TaskReply.ARGUMENT_LOST,
            attempt=task.attempt,
            lost_object=argument.ref.object_id,
            lost_at=lost.lost_at,
            lost_generation=argument.stored.generation,
        )
        self._finish(incoming, reply, {})

    def cancel(self, incoming: Incoming) -> None:
        """Answer a call that was cancelled before it started."""
        task = incoming.task
        outcome = worker_pb2.TaskReply.CANCELLED
        reply = worker_pb2.TaskReply(task_id=task.task_id, outcome=outcome, attempt=task.attempt)
        self.replies.finish(incoming, reply.SerializeToString(), {})

    def reject(self, incoming: Incoming, error: Exception) -> None:
        """Answer a call that cannot start with an error."""
        execution = Execution(self._process, incoming.peer, incoming.batch, incoming.task)
        self.failed(incoming, execution, execution.failure(error).value, 0)

    def prepare(self, incoming: Incoming, execution: Execution) -> Call:
        """The function and its arguments. raises: Failure."""
        function = self._function(incoming, execution)
        args, kwargs = execution.arguments()
        return function, args, kwargs

    def perform(self, incoming: Incoming, execution: Execution) -> None:
        """All of a call, on this thread; its reply is ready afterwards, or the worker is to end."""
        function: Any = None
        args: Any = ()
        kwargs: Any = {}
        result: Any = None
        error: BaseException | None = None
        lost: ArgumentLost | None = None
        started = time.perf_counter_ns()
        try:
            function, args, kwargs = self.prepare(incoming, execution)
            if not execution.cancelled:
                started = time.perf_counter_ns()
                result = run(execution, function, args, kwargs)
                if incoming.task.num_returns < 0:
                    run_generator(self._process, incoming, execution, result)
                    result = None
        except Failure as failure:
            error = failure.value
        except ArgumentLost as not_there:
            lost = not_there
        execution.returned = True
        if execution.stopped:
            self._process.executor.serial.stay(execution)
        if lost is not None:
            self._give_back(incoming, execution, lost)
            # Its traceback holds this frame, and with it the references among the arguments.
            lost = None
            return
        took_us = (time.perf_counter_ns() - started) // 1000
        # What the task still holds of its arguments is counted in a moment.
        del function, args, kwargs
        if error is not None:
            self.failed(incoming, execution, error, took_us)
        else:
            self.succeeded(incoming, execution, result, took_us)

    def succeeded(self, incoming: Incoming, execution: Execution, result: Any, took_us: int) -> None:
        """The user's code returned."""
        packed = self.pack(incoming, execution, result, took_us)
        if packed is not None:
            if packed.large:
                self.store(packed)
            self.finish(packed)

    def pack(self, incoming: Incoming, execution: Execution, result: Any, took_us: int) -> Packed | None:
        """Put what the user's code returned into a reply that is still to be stored and finished; None: it is sent."""
        task = incoming.task
        if execution.cancelled and (self.actor is not None or not execution.function_name):
            # It never started; or it is a method, which nothing interrupts, and nobody wants its result.
            self.cancel(incoming)
            return None
        large: Large = []
        error: BaseException | None = None
        stream: bytes | None = None
        try:
            if task.num_returns == 1 and not execution.exits and not serialization.is_large_array(result):
                stream = serialization.plain(result)
            if stream is None:
                reply = worker_pb2.TaskReply(task_id=task.task_id, attempt=task.attempt, execution_us=took_us)
                contained = pack_returns(execution, reply, result, large)
        except Failure as failure:
            error = failure.value
        except BaseException as problem:
            # Of a hook of the result's class: to pickle a value is to run them.
            error = execution.ended_by(problem).value
        if stream is not None:
            self.replies.finish(incoming, plain_reply(task.task_id, stream, took_us, task.attempt), {})
            return None
        if error is not None:
            self.failed(incoming, execution, error, took_us)
            return None
        return Packed(incoming, execution, reply, contained, large)

    def store(self, packed: Packed) -> None:
        """Write what is large into the arena; on any thread. It may take long."""
        try:
            store_all(packed.execution, packed.large)
        except Failure as failure:
            packed.error = failure.value

    def finish(self, packed: Packed) -> None:
        """All is stored: have the reply sent, or that of the error which came of the storing."""
        reply = packed.reply
        if packed.error is not None:
            self._drop_stored(reply)
            self.failed(packed.incoming, packed.execution, packed.error, reply.execution_us)
            return
        if packed.execution.exits:
            reply.outcome = worker_pb2.TaskReply.EXITING
        self._finish(packed.incoming, reply, packed.contained)

    def failed(self, incoming: Incoming, execution: Execution, error: BaseException, took_us: int) -> None:
        """The call ended with an error, which its results raise."""
        if execution.exits and not execution.retires:
            # The call that ends its process gets no result, as upstream; its caller sees the death.
            return
        task = incoming.task
        reply = worker_pb2.TaskReply(
            task_id=task.task_id, attempt=task.attempt, execution_us=took_us, outcome=worker_pb2.TaskReply.RAISED
        )
        # The error, and so the refs in it, is held here until the reference counter has taken the end of the call.
        contained = pack_returns(execution, reply, error, [])
        if execution.exits:
            reply.outcome = worker_pb2.TaskReply.EXITING
        elif execution.cancelled:
            reply.outcome = worker_pb2.TaskReply.CANCELLED
        self._finish(incoming, reply, contained)

    def stopped(self, execution: Execution) -> None:
        """The user's code was stopped for good, and its thread will not reply."""
        from ray.exceptions import TaskCancelledError

        incoming = Incoming(execution.peer, execution.batch, execution.task)
        self.failed(incoming, execution, TaskCancelledError(execution.task.task_id.hex()), 0)

    def _finish(
        self, incoming: Incoming, reply: worker_pb2.TaskReply, contained: Mapping[bytes, list[tuple[bytes, bytes]]]
    ) -> None:
        self.replies.finish(incoming, reply.SerializeToString(), contained)

    def _drop_stored(self, reply: worker_pb2.TaskReply) -> None:
        """Results that were stored before one failed: the error takes their place, and nobody else would free them."""
        stored = [(done.object_id, list(done.stored.node_ids)) for done in reply.returns if done.HasField("stored")]
        with self._process.lock:
            self._process.to_free.extend(stored)
