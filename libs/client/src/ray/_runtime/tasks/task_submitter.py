"""Tasks from `.remote()` to their results: the shell around LeaseManager and the pending tasks of this process."""

from __future__ import annotations

import logging
from time import time
from typing import TYPE_CHECKING, Any, Final

from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2
from manta_proto.worker.v1 import worker_pb2

from ray._runtime.api import DYNAMIC
from ray._runtime.specs.definitions import define
from ray._runtime.specs.task_kind import kind_of_task
from ray._runtime.specs.task_record import TaskRecord, split_started
from ray._runtime.tasks import arguments
from ray._runtime.tasks.lease_client import Leasing
from ray._runtime.tasks.prepared_calls import PreparedCalls
from ray._runtime.tasks.retrying import Retrying
from ray._runtime.values import serialization
from ray._runtime.values.gc_pause import held_back_for
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.ref_pickling import count_arrived
from ray._runtime.values.system_errors import CRASHED, describe_death, error_value, task_cancelled, worker_crashed
from ray._runtime.values.wire import FIRST_RETURN, plain_task

if TYPE_CHECKING:
    from ray._runtime.api import FunctionDescriptor, TaskOptions
    from ray._runtime.process.process import Process
    from ray._runtime.tasks.lease_manager import SchedulingKey
    from ray._runtime.transport.carrier import Peer

log = logging.getLogger("ray.runtime")

_DONE: Final = worker_pb2.TaskReply.DONE
_RAISED: Final = worker_pb2.TaskReply.RAISED
_EXITING: Final = worker_pb2.TaskReply.EXITING
_REFUSED: Final = worker_pb2.TaskReply.REFUSED
# Outcomes of a task that never started.
_UNRUN: Final = frozenset((_REFUSED, worker_pb2.TaskReply.ARGUMENT_LOST))
# Outcomes of a function that ran to an end of its own.
_RAN: Final = frozenset((_DONE, _RAISED, _EXITING))
_CANCELLED: Final = worker_pb2.TaskReply.CANCELLED


class TaskSubmitter:
    """Submits tasks of `process` and takes their replies."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._context = process.group_context
        self.leasing = Leasing(process)
        self._retrying = Retrying(process)
        self.pending: dict[bytes, TaskRecord] = {}
        # Set once the cluster is out of reach: what every later call ends with.
        self.cut_off_by: common_pb2.Value | None = None

    # -- from .remote()

    def submit(
        self,
        function: FunctionDescriptor,
        options: TaskOptions,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        task_id: bytes = b"",
    ) -> Any:
        """See ray._runtime.api.Runtime.submit_task. task_id: one that was chosen before."""
        process = self._process
        if self._context.captured:
            options = self._context.options_for_task(options)
        prepared = options.cache
        if prepared is None or prepared.submitter is not self or prepared.function is not function:
            prepared = self._prepare(function, options)
        is_generator = options.num_returns < 0
        stream = None if is_generator else serialization.plain((args, kwargs))
        if stream is not None:
            return self._submit_plain(options, prepared, stream, task_id)
        definition, name, key = prepared.definition, prepared.name, prepared.key
        encoded = arguments.encode(process, args, kwargs, name)
        record = TaskRecord(
            task_id or process.ids.next_task(),
            name,
            1 if is_generator else options.num_returns,
            definition,
            options,
            definition.timing,
            options.max_retries,
        )
        record.parent = process.executor.running_id()
        message = worker_pb2.Task.FromString(prepared.template)
        message.task_id = record.task_id
        message.args.CopyFrom(encoded.value)
        if is_generator:
            process.generators.open(record, dynamic=options.num_returns == DYNAMIC, limit=options.backpressure)
        process.task_events.begun(record, prepared.kind)
        returns = self.register(record, encoded.held())
        if not encoded.refs:
            record.message = message.SerializeToString()
            self.ready(record, key)
        else:
            refs = encoded.refs
            arguments.when_ready(process, record, refs, lambda: self._complete(record, message, refs, key))
        if record.generator is not None:
            return process.generators.result(record, returns[0])
        if options.num_returns == 1:
            return returns[0]
        return returns or None

    def _submit_plain(self, options: TaskOptions, prepared: PreparedCalls, stream: bytes, task_id: bytes) -> Any:
        """Submit a call whose arguments are plain: no refs to count or to wait for. The hot path."""
        process = self._process
        task_id = task_id or process.ids.next_task()
        num_returns, definition = options.num_returns, prepared.definition
        record = TaskRecord(
            task_id, prepared.name, num_returns, definition, options, definition.timing, options.max_retries
        )
        record.message = plain_task(prepared.template, task_id, stream)
        if not process.is_driver:
            record.parent = process.executor.running_id()
        process.task_events.begun(record, prepared.kind)
        returns: Any = None
        with process.lock:
            if process.drops.refs:
                process.drops.count()
            if num_returns == 1:
                object_id = task_id + FIRST_RETURN
                process.objects.create(object_id)
                process.refs.create(object_id)
                returns = ObjectRef(object_id, process.address, process)
            elif num_returns:
                with held_back_for(num_returns):
                    returns = [self.own(object_id) for object_id in record.return_ids()]
            self.pending[task_id] = record
            self.leasing.enqueue(record, prepared.key)
        self.fail_if_cut_off(record)
        process.after_lock()
        return returns

    def own(self, object_id: bytes) -> ObjectRef:
        """Begin to own the result of a call; the lock is held."""
        process = self._process
        process.objects.create(object_id)
        process.refs.create(object_id)
        return ObjectRef(object_id, process.address, process)

    def register(self, record: TaskRecord, held: tuple[bytes, ...]) -> list[ObjectRef]:
        """Begin to own the results of a call, and count what it uses: the refs in its arguments, its actor."""
        process = self._process
        if held:
            count_arrived()
        with process.lock:
            if process.drops.refs:
                process.drops.count()
            returns = [self.own(object_id) for object_id in record.return_ids()]
            record.held = held
            if held:
                process.refs.task_submitted(held)
            self.pending[record.task_id] = record
        self.fail_if_cut_off(record)
        return returns

    def _complete(
        self, record: TaskRecord, message: worker_pb2.Task, refs: list[ObjectRef], key: SchedulingKey
    ) -> None:
        process = self._process
        with process.lock:
            error = arguments.complete(process, record, message, refs)
            if error is None and not record.cancelled:
                key = self.leasing.key_near(key, refs)
        if error is not None:
            # Whoever called us does what is queued: a chain of tasks may be longer than the stack is deep.
            self.end(record, error)
            return
        self.ready(record, key)

    def ready(self, record: TaskRecord, key: SchedulingKey) -> None:
        """All arguments of a task are there."""
        process = self._process
        with process.lock:
            if record.task_id not in self.pending:
                return
            record.queued_at = time()
            self.leasing.enqueue(record, key)
        process.after_lock()

    def _prepare(self, function: FunctionDescriptor, options: TaskOptions) -> PreparedCalls:
        cached = function.cache
        if cached is None or cached[0] is not self:
            cached = function.cache = (self, define(function.function, function.name))
        name = options.name or function.name
        template = worker_pb2.Task(
            definition=cached[1].digest,
            num_returns=options.num_returns,
            backpressure=max(options.backpressure, 0),
            name=options.name,
            last_attempt=options.max_retries == 0,
            max_calls=options.max_calls,
        )
        key, kind = self.leasing.key_for(options, name), kind_of_task(function, options, self._process)
        prepared = PreparedCalls(self, function, cached[1], key, name, template.SerializeToString(), kind)
        options.cache = prepared
        return prepared

    # -- from raylets

    def on_refused(self, message: raylet_pb2.LeaseRefused) -> None:
        from ray.exceptions import RuntimeEnvSetupError, TaskPlacementGroupRemoved, TaskUnschedulableError

        with self._process.lock:
            tasks = self.leasing.refused(message.request_id)
        reasons = raylet_pb2.LeaseRefused
        error: Exception
        if message.reason == reasons.PLACEMENT_GROUP_REMOVED:
            error = TaskPlacementGroupRemoved(message.message)
        elif message.reason in (reasons.RUNTIME_ENV_FAILED, reasons.WORKER_START_FAILED):
            error = RuntimeEnvSetupError(message.message)
        else:
            error = TaskUnschedulableError(message.message)
        for task in tasks:
            self.fail(task, error_value(error))

    def on_worker_died(self, worker_id: bytes, cause: common_pb2.DeathCause | None) -> None:
        """A declared death: what ran or waited there is run again, or fails."""
        failed: list[TaskRecord] = []
        with self._process.lock:
            for lease in self.leasing.on_worker(worker_id):
                tasks, key = self.leasing.manager.worker_gone(lease.lease_id)
                started, unstarted = split_started(tasks)
                again = [task for task in started if task.may_retry()]
                failed.extend(task for task in started if task not in again)
                for task in started:
                    task.died_at(self.leasing.peer_of(lease))
                for task in again:
                    self._process.task_events.retried(task, worker_crashed(task.name, cause))
                    self._process.retry_notices.failed(task, f"{CRASHED}: {describe_death(cause)}", task.retries_left)
                    task.next_attempt()
                for task in unstarted:
                    task.lease_id = None
                if key is not None:
                    self.leasing.retry(key, again, unstarted)
            for task in failed:
                if task.generator is None and not task.cancelled:
                    text = f"ray::{task.shown_name()}(): {CRASHED}: {describe_death(cause)}"
                    self._process.unread.failed(task, task.return_ids(), text)
        self._process.after_lock()
        for task in failed:
            self.fail(task, worker_crashed(task.name, cause))

    # -- from workers

    def on_replies(self, peer: Peer, message: worker_pb2.Replies) -> None:
        process = self._process
        finished: dict[bytes, list[bytes]] = {}
        unrun: list[tuple[TaskRecord, worker_pb2.TaskReply]] = []
        raised: list[tuple[TaskRecord, worker_pb2.TaskReply]] = []
        leaving: set[bytes] = set()
        with process.lock:
            if process.refs.is_dead(peer.worker_id):
                return  # read on another thread than the news of the death, by which its tasks ended
            for reply in message.replies:
                record = self.pending.get(reply.task_id)
                if record is None or reply.attempt != record.attempt:
                    continue
                outcome = reply.outcome
                lease_id = record.lease_id
                if lease_id is not None:
                    finished.setdefault(lease_id, []).append(record.task_id)
                    if outcome in _RAN:
                        record.timing.ran(reply.execution_us)
                if outcome == _RAISED and record.retry_exceptions:
                    raised.append((record, reply))
                    continue
                if record.actor_id:
                    process.actors.replied(record, refused=outcome == _REFUSED)
                    if outcome == _REFUSED:
                        continue
                elif outcome in _UNRUN:
                    unrun.append((record, reply))
                    continue
                if outcome != _DONE:
                    self.ended_badly(record, reply)
                self.take(peer, record, reply)
                if outcome == _EXITING and lease_id is not None:
                    leaving.add(lease_id)
            for lease_id, task_ids in finished.items():
                self.leasing.queue(self.leasing.manager.finished(lease_id, task_ids, leaving=lease_id in leaving))
            for record, reply in unrun:
                self._retrying.unrun(peer, record, reply)
        process.after_lock()
        for record, reply in raised:
            self._retrying.settle(peer, record, reply)

    def ended_badly(self, record: TaskRecord, reply: worker_pb2.TaskReply) -> None:
        """Ahead of `take`, for a reply that has no results of the user's code; the lock is held."""
        if reply.outcome != _CANCELLED:
            if reply.message:
                # A generator with several results may have made some of them before.
                errors = [result for result in reply.returns if result.value.kind == serialization.ERROR]
                object_ids = [result.object_id for result in errors]
                self._process.unread.failed(record, object_ids, reply.message)
        elif not reply.returns:
            value = task_cancelled(record.task_id)
            for object_id in record.return_ids():
                reply.returns.add(object_id=object_id).value.CopyFrom(value)

    def take(self, peer: Peer, record: TaskRecord, reply: worker_pb2.TaskReply) -> None:
        """Take a final reply; the lock is held."""
        process = self._process
        del self.pending[record.task_id]
        if record.kind is not None:
            process.task_events.ended(record, reply)
        woken = process.woken
        stored_ids: list[bytes] | None = None
        if record.generator is not None:
            process.generators.settle(record.generator, reply)
        if record.kept:
            process.recovery.sift(peer, record, reply)
        for result in reply.returns:
            object_id = result.object_id
            if result.HasField("stored"):
                contained = result.contained
                stored = result.stored
                if object_id in process.objects:
                    waiters = process.objects.set_stored(object_id, stored.size, tuple(stored.node_ids))
                    if stored_ids is None:
                        stored_ids = []
                    stored_ids.append(object_id)
                else:
                    # Nobody wants it any more, but the copy exists.
                    process.to_free.append((object_id, list(stored.node_ids)))
                    waiters = []
            else:
                contained = result.value.contained
                waiters = process.objects.set_value(object_id, result.value)
            if waiters:
                for waiter in waiters:
                    woken.append((waiter, object_id))
            if contained:
                inners = [(ref.object_id, ref.owner.worker_id) for ref in contained]
                process.holds.apply(process.refs.result_contains(object_id, peer.worker_id, inners))
        if record.tried_at:
            process.frees.earlier(record)
        if stored_ids is not None or record.kept or record.generator is not None:
            made = [result.object_id for result in reply.returns if not result.HasField("stored")]
            process.recovery.finished(record, stored_ids or [], made)
        if record.held or reply.kept:
            kept = [(ref.object_id, ref.number) for ref in reply.kept]
            for object_id in record.held:
                process.objects.add_node(object_id, peer.node_id)
            process.holds.apply(process.refs.task_finished(record.held, peer.worker_id, kept))

    def on_handed_back(self, peer: Peer, message: worker_pb2.HandedBack) -> None:
        """The worker will never start these."""
        by_lease: dict[bytes, list[bytes]] = {}
        with self._process.lock:
            for task_id in message.task_ids:
                record = self.pending.get(task_id)
                # A worker that retires names tasks that its last reply has sent elsewhere already.
                if record is not None and record.lease_id is not None and self.leasing.is_at(record.lease_id, peer):
                    by_lease.setdefault(record.lease_id, []).append(task_id)
                    record.lease_id = None
            for lease_id, task_ids in by_lease.items():
                self.leasing.queue(self.leasing.manager.handed_back(lease_id, task_ids))
        self._process.after_lock()

    def on_reply_deferred(self, task_id: bytes) -> None:
        with self._process.lock:
            record = self.pending.get(task_id)
            if record is not None:
                record.deferred = True

    def cut_off(self, value: common_pb2.Value) -> None:
        """Fail all that is pending, and whatever is submitted from now on."""
        self.cut_off_by = value
        for record in list(self.pending.values()):
            self.fail(record, value)

    def fail_if_cut_off(self, record: TaskRecord) -> None:
        """End a task that came too late for cut_off."""
        if self.cut_off_by is not None:
            self.fail(record, self.cut_off_by)

    def fail(self, record: TaskRecord, value: common_pb2.Value) -> None:
        """End a task that did not run, or will not run again, with an error."""
        self.end(record, value)
        self._process.after_lock()

    def end(self, record: TaskRecord, value: common_pb2.Value) -> None:
        """As fail, but the caller has to call after_lock."""
        with self._process.lock:
            self.end_locked(record, value)

    def end_locked(self, record: TaskRecord, value: common_pb2.Value) -> None:
        """As end, for a caller that holds the lock. What was cancelled ends as cancelled, whatever else failed."""
        process = self._process
        if self.pending.pop(record.task_id, None) is None:
            return
        if record.cancelled:
            value = task_cancelled(record.task_id)
        process.task_events.failed(record, value)
        if record.generator is not None:
            process.generators.fail(record.generator, value)
        if record.kept or record.generator is not None:
            process.recovery.failed(record, value)
        else:
            for object_id in record.return_ids():
                waiters = process.objects.set_value(object_id, value)
                process.woken.extend((waiter, object_id) for waiter in waiters)
        process.frees.earlier(record)
        if record.held:
            process.holds.apply(process.refs.task_finished(record.held))
