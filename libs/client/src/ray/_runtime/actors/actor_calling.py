"""Calls of actors' methods, from `.remote()` to the frames that carry them; the order is ActorCalls' business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time
from typing import TYPE_CHECKING, Any, Final

from manta_proto.worker.v1 import worker_pb2

from ray._runtime.api import DYNAMIC
from ray._runtime.specs.task_kind import TaskKind, kind_of_call
from ray._runtime.specs.task_record import TaskRecord, Timing
from ray._runtime.tasks import arguments
from ray._runtime.values import serialization
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.ref_pickling import count_arrived
from ray._runtime.values.wire import FIRST_RETURN, frames, incarnation_field, plain_task, repeated_field

if TYPE_CHECKING:
    from ray._runtime.actors.actor_record import Actor
    from ray._runtime.actors.actors import Actors
    from ray._runtime.api import MethodInfo
    from ray._runtime.process.process import Process

_TASKS_FIELD: Final = worker_pb2.Tasks.DESCRIPTOR.fields_by_name["tasks"].number
# Nothing is computed from how long methods run: an actor's calls all go to the one process.
_NO_TIMING: Final = Timing()


class PlainCalls:
    """What all calls of one method have in common that have no options and whose arguments are plain."""

    __slots__ = ("kind", "name", "retries", "retry_exceptions", "template")

    def __init__(
        self,
        name: str,
        retries: int,
        retry_exceptions: bool | tuple[type[BaseException], ...],
        kind: TaskKind | None,
        template: bytes,
    ) -> None:
        self.name = name
        self.retries = retries
        self.retry_exceptions = retry_exceptions
        self.kind = kind
        self.template = template


class ActorCaller:
    """Submits calls of `process`."""

    def __init__(self, process: Process, actors: Actors) -> None:
        self._process = process
        self._actors = actors
        # How each frame of calls begins: who calls. Made for the first.
        self._header = b""
        self._to_send: set[Actor] = set()

    def submit(
        self,
        actor: Actor,
        method: MethodInfo,
        options: Mapping[str, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        task_id: bytes = b"",
    ) -> Any:
        """See ray._runtime.api.Runtime.submit_actor_task. task_id: one that was chosen before."""
        process = self._process
        if not options and method.num_returns == 1:
            stream = serialization.plain((args, kwargs))
            if stream is not None:
                return self._submit_plain(actor, method, stream, task_id)
        num_returns = options.get("num_returns", method.num_returns) if options else method.num_returns
        is_generator = num_returns < 0
        limit = actor.handle_state.max_pending_calls
        if limit >= 0 and actor.calls.pending() >= limit:
            raise _too_many(actor, method, limit)
        if options:
            _check_group(actor, options.get("concurrency_group"))
        record = self._record(actor, method, options, 1 if is_generator else num_returns, task_id)
        encoded = arguments.encode(process, args, kwargs, f"{actor.class_name}.{method.name}")
        held = encoded.held()
        # Held in this frame: the last handle may be collected, and counted, before the call is.
        ref = actor.ref
        if ref is not None:
            # A call that is under way counts as a use of the actor.
            held = (*held, ref._id)
        if is_generator:
            limit = options.get("backpressure", method.backpressure)
            process.generators.open(record, dynamic=num_returns == DYNAMIC, limit=limit)
        returns = process.submitter.register(record, held)
        with process.lock:
            taken = actor.calls.submit(record)
        if not taken:
            process.submitter.fail(record, self._actors.refusal_of(actor))
        else:
            message = self._message(actor, method, options, record, encoded)
            refs = encoded.refs
            arguments.when_ready(process, record, refs, lambda: self._complete(actor, record, message, refs))
        if actor.status is None:
            self._actors.subscribe(actor)
        if record.generator is not None:
            return process.generators.result(record, returns[0])
        if num_returns == 1:
            return returns[0]
        return returns or None

    def _submit_plain(self, actor: Actor, method: MethodInfo, stream: bytes, task_id: bytes) -> ObjectRef:
        """Submit a call that has one result, no options, and arguments without refs. The hot path."""
        process = self._process
        calls = actor.calls
        limit = actor.handle_state.max_pending_calls
        if limit >= 0 and calls.pending() >= limit:
            raise _too_many(actor, method, limit)
        plain = actor.plain_calls.get(method.name) or self._prepare(actor, method)
        task_id = task_id or process.ids.next_actor_task(calls.actor_id)
        record = TaskRecord(task_id, plain.name, 1, None, None, _NO_TIMING, plain.retries)
        record.actor_id = calls.actor_id
        if not process.is_driver:
            record.parent = process.executor.running_id()
        record.group = method.concurrency_group
        record.retry_exceptions = plain.retry_exceptions
        record.message = plain_task(plain.template, task_id, stream)
        if plain.kind is not None and process.task_events.wanted:
            process.task_events.begun(record, plain.kind)
        handle = actor.ref
        if handle is not None:
            record.held = (handle._id,)
            if handle._process is None:
                count_arrived()
        with process.lock:
            if process.drops.refs:
                process.drops.count()
            result = process.submitter.own(task_id + FIRST_RETURN)
            if record.held:
                process.refs.task_submitted(record.held)
            process.submitter.pending[task_id] = record
            taken = calls.submit(record)
            if taken:
                self.line_up(actor)
        if not taken:
            process.submitter.fail(record, self._actors.refusal_of(actor))
        process.submitter.fail_if_cut_off(record)
        process.after_lock()
        if actor.status is None:
            self._actors.subscribe(actor)
        return result

    def _prepare(self, actor: Actor, method: MethodInfo) -> PlainCalls:
        name = f"{actor.class_name}.{method.name}"
        retries = method.max_task_retries
        template = worker_pb2.Task(
            num_returns=1, actor_id=actor.actor_id, method=method.name, concurrency_group=method.concurrency_group
        )
        plain = actor.plain_calls[method.name] = PlainCalls(
            name,
            actor.handle_state.max_task_retries if retries is None else retries,
            method.retry_exceptions,
            self._kind(actor, method.name, name) if method.enable_task_events else None,
            template.SerializeToString(),
        )
        return plain

    def _record(
        self, actor: Actor, method: MethodInfo, options: Mapping[str, Any], num_returns: int, task_id: bytes
    ) -> TaskRecord:
        retries = method.max_task_retries
        retry_exceptions = method.retry_exceptions
        name = f"{actor.class_name}.{method.name}"
        if options:
            retries = options.get("max_task_retries", retries)
            retry_exceptions = options.get("retry_exceptions", retry_exceptions)
            name = options.get("name") or name
        if retries is None:
            retries = actor.handle_state.max_task_retries
        process = self._process
        task_id = task_id or process.ids.next_actor_task(actor.actor_id)
        record = TaskRecord(task_id, name, num_returns, None, None, _NO_TIMING, retries)
        record.actor_id = actor.actor_id
        if not process.is_driver:
            record.parent = process.executor.running_id()
        record.group = options.get("concurrency_group") or method.concurrency_group
        if process.task_events.wanted and options.get("enable_task_events", method.enable_task_events):
            process.task_events.begun(record, self._kind(actor, method.name, name))
        if retry_exceptions:
            record.retry_exceptions = retry_exceptions
        return record

    def _kind(self, actor: Actor, method: str, name: str) -> TaskKind:
        kind = actor.kinds.get((method, name))
        if kind is None:
            kind = actor.kinds[method, name] = kind_of_call(actor, method, name, self._process.job_id)
        return kind

    def _message(
        self,
        actor: Actor,
        method: MethodInfo,
        options: Mapping[str, Any],
        record: TaskRecord,
        encoded: arguments.Arguments,
    ) -> worker_pb2.Task:
        return worker_pb2.Task(
            task_id=record.task_id,
            args=encoded.value,
            num_returns=options.get("num_returns", method.num_returns),
            backpressure=max(options.get("backpressure", method.backpressure), 0),
            actor_id=actor.actor_id,
            method=method.name,
            concurrency_group=options.get("concurrency_group") or method.concurrency_group,
            name=options.get("name") or "",
        )

    def _complete(self, actor: Actor, record: TaskRecord, message: worker_pb2.Task, refs: list[ObjectRef]) -> None:
        """All arguments are ready."""
        process = self._process
        with process.lock:
            error = arguments.complete(process, record, message, refs)
        if error is not None:
            process.submitter.end(record, error)
            with process.lock:
                actor.calls.withdraw(record)
        record.queued_at = time()
        # Whoever called us does what is queued: a chain of calls may be longer than the stack is deep.
        self.line_up(actor)

    def line_up(self, actor: Actor) -> None:
        """A call can go: at once to an idle actor; else with its neighbours, when the reading thread gets to it."""
        process = self._process
        with process.lock:
            if not actor.calls.in_flight:
                self.send(actor, actor.calls.sendable())
            elif actor not in self._to_send:
                if not self._to_send:
                    process.reactor.call_soon(self._send_waiting)
                self._to_send.add(actor)

    def _send_waiting(self) -> None:
        with self._process.lock:
            actors, self._to_send = self._to_send, set()
            for actor in actors:
                self.send(actor, actor.calls.sendable())
        self._process.after_lock()

    def send(self, actor: Actor, calls: Sequence[TaskRecord]) -> None:
        """Queue calls to the present incarnation; the lock is held."""
        if not calls:
            return
        process = self._process
        assert actor.peer is not None, "an actor that is alive has an address"
        suffix = incarnation_field(actor.calls.incarnation)
        header = self._header
        if not header:
            caller = process.identity.address()
            header = self._header = worker_pb2.Tasks(caller=caller, job_id=process.job_id).SerializeToString()
        parts: list[bytes] = []
        now = time()
        for call in calls:
            call.sent_to, call.sent_at = actor.peer, now
            attempt = call.attempt_fields() if call.attempt else b""
            parts.append(repeated_field(_TASKS_FIELD, call.message + suffix + attempt))
        for frame in frames(header, parts):
            actor.peer.queue(worker_pb2.TASKS, frame)
        process.dirty.add(actor.peer)


def _too_many(actor: Actor, method: MethodInfo, limit: int) -> Exception:
    from ray.exceptions import PendingCallsLimitExceeded

    return PendingCallsLimitExceeded(
        f"{actor.class_name}.{method.name} was not submitted: this process has {limit} unfinished calls of actor "
        f"{actor.actor_id.hex()}, as many as max_pending_calls allows; wait for some with ray.wait, or raise the limit"
    )


def _check_group(actor: Actor, name: str | None) -> None:
    """raises: ValueError for a concurrency group that the actor does not have."""
    groups = actor.handle_state.concurrency_groups
    if name and name not in groups:
        raise ValueError(
            f"actor {actor.class_name} has no concurrency group {name!r}: its groups are {sorted(groups)}; name it in "
            "@ray.remote(concurrency_groups={...})"
        )
