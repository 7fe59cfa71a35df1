"""Actors that this process created or holds handles of: the shell around ActorCalls."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from manta.common.ids import JobId, new_actor_id
from manta.common.resources import ResourceSet
from manta.proto.common.v1 import common_pb2
from manta.proto.gcs.v1 import actor_pb2, gcs_pb2
from manta.proto.worker.v1 import worker_pb2
from ray._runtime import arguments, serialization
from ray._runtime.actor_calls import ActorCalls, ActorState, Outcome
from ray._runtime.definitions import define
from ray._runtime.gcs_client import GcsError
from ray._runtime.object_ref import ObjectRef
from ray._runtime.system_errors import error_value
from ray._runtime.task_record import TaskRecord, Timing
from ray._runtime.wire import attempt_field, incarnation_field, repeated_field

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ray._runtime.actor_host import ActorHost
    from ray._runtime.api import ActorOptions, ClassDescriptor, MethodInfo
    from ray._runtime.links import Peer
    from ray._runtime.process import Process

log = logging.getLogger("ray.runtime")

_TASKS_FIELD: Final = worker_pb2.Tasks.DESCRIPTOR.fields_by_name["tasks"].number
# A handle is counted like an object; its id cannot be a task's return, whose id begins with a random prefix.
_HANDLE_PREFIX: Final = b"\0" * 8
_HANDLE_SUFFIX: Final = b"\1\0\0\0"
_NO_TIMING: Final = Timing()


def handle_id(actor_id: bytes) -> bytes:
    """The object id by which handles of the actor are counted."""
    return _HANDLE_PREFIX + actor_id + _HANDLE_SUFFIX


class Actor:
    """One actor: its calls, where it lives, and the handles of it in this process."""

    __slots__ = (
        "calls",
        "cause",
        "class_name",
        "handles",
        "held",
        "meta",
        "mine",
        "peer",
        "ref",
        "status",
        "subscribed",
    )

    def __init__(self, actor_id: bytes, in_order: bool, meta: bytes) -> None:
        self.calls = ActorCalls(actor_id, in_order)
        # Pickled: class name, methods, options that every handle needs.
        self.meta = meta
        self.class_name = ""
        self.handles = 0
        # Keeps the actor alive while `handles` > 0; None for weak handles (by name, and the actor's own).
        self.ref: ObjectRef | None = None
        self.status: actor_pb2.ActorStatus | None = None
        self.peer: Peer | None = None
        self.cause: common_pb2.DeathCause | None = None
        self.mine = False
        self.subscribed = False
        # Refs in the constructor's arguments, needed for restarts.
        self.held: tuple[bytes, ...] = ()


class Actors:
    """All actors that `process` knows."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._actors: dict[bytes, Actor] = {}
        self._header = b""

    # -- creation

    def create(self, cls: ClassDescriptor, options: ActorOptions, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        process = self._process
        cached = cls.cache
        if cached is None or cached[0] is not self:
            cached = cls.cache = (self, define(cls.cls, cls.name))
        encoded = arguments.encode(process, args, kwargs, cls.name)
        actor_id = new_actor_id(JobId(process.job_id))
        concurrency = options.max_concurrency or (1000 if cls.is_async else 1)
        in_order = not (cls.is_async or concurrency > 1 or options.concurrency_groups or options.allow_out_of_order)
        meta = pickle.dumps((cls.name, dict(cls.methods), options.detached, options.max_task_retries, in_order))
        spec = self._spec(actor_id, cls, options, encoded, concurrency, cached[1], meta)
        actor = Actor(actor_id, in_order, meta)
        actor.class_name = cls.name
        actor.mine = True
        actor.held = encoded.held()
        with process.lock:
            self._actors[actor_id] = actor
            process.refs.create(handle_id(actor_id))
            process.objects.create(handle_id(actor_id))
            actor.ref = ObjectRef(handle_id(actor_id), process.address, process)
            if actor.held:
                process.refs.task_submitted(actor.held)
        if options.name:
            # The name may be taken: that is an error of this call.
            return self._create_named(actor, spec, options, encoded)
        record = TaskRecord(_HANDLE_PREFIX + actor_id, cls.name, 0, None, None, _NO_TIMING, 0)
        process.submitter.when_ready(record, encoded.refs, lambda: self._register(actor, spec, encoded))
        return self._handle(actor)

    def _spec(
        self,
        actor_id: bytes,
        cls: ClassDescriptor,
        options: ActorOptions,
        encoded: arguments.Arguments,
        concurrency: int,
        definition: Any,
        meta: bytes,
    ) -> actor_pb2.ActorSpec:
        process = self._process
        groups = [
            actor_pb2.ConcurrencyGroup(name=name, max_concurrency=limit)
            for name, limit in options.concurrency_groups.items()
        ]
        return actor_pb2.ActorSpec(
            actor_id=actor_id,
            job_id=process.job_id,
            owner=process.identity.address(),
            class_name=cls.name,
            definition=worker_pb2.Definition(digest=definition.digest, pickled=definition.pickled),
            args=encoded.value,
            lifetime_resources=ResourceSet.from_floats(options.lifetime_resources).to_proto(),
            placement_resources=ResourceSet.from_floats(options.placement_resources).to_proto(),
            strategy=options.strategy,
            runtime_env=process.task_runtime_env(options.runtime_env),
            max_restarts=options.max_restarts,
            max_task_retries=options.max_task_retries,
            max_concurrency=concurrency,
            concurrency_groups=groups,
            is_async=cls.is_async,
            name=options.name,
            ray_namespace=process.namespace if options.namespace is None else options.namespace,
            detached=options.detached,
            allow_out_of_order=options.allow_out_of_order,
            max_pending_calls=options.max_pending_calls,
            handle_id=handle_id(actor_id),
            handle_state=meta,
        )

    def _fill(self, spec: actor_pb2.ActorSpec, encoded: arguments.Arguments) -> common_pb2.Value | None:
        """Name the constructor's ready arguments; returns an error among them."""
        process = self._process
        with process.lock:
            error = arguments.first_error(process.objects, encoded.refs)
            if error is None and encoded.refs:
                message = worker_pb2.Task()
                arguments.fill(process, message, encoded.refs)
                spec.arguments.extend(message.arguments)
        return error

    def _register(self, actor: Actor, spec: actor_pb2.ActorSpec, encoded: arguments.Arguments) -> None:
        error = self._fill(spec, encoded)
        if error is not None:
            cause = common_pb2.DeathCause(
                kind=common_pb2.DeathCause.INIT_FAILED,
                message="an argument of the constructor is an error",
                error=error.SerializeToString(),
            )
            self._dead(actor, cause)
            return
        self._subscribe(actor)
        future = self._process.gcs.request(register_actor=gcs_pb2.RegisterActor(spec=spec))
        future.add_done_callback(lambda done: self._registered(actor, done))

    def _registered(self, actor: Actor, done: Future[gcs_pb2.GcsReply]) -> None:
        error = done.exception()
        if error is None:
            self.on_statuses([done.result().actor_found.status])
        else:
            cause = common_pb2.DeathCause(kind=common_pb2.DeathCause.UNKNOWN, message=str(error))
            self._dead(actor, cause)

    def _create_named(
        self, actor: Actor, spec: actor_pb2.ActorSpec, options: ActorOptions, encoded: arguments.Arguments
    ) -> Any:
        process = self._process
        process.fetcher.await_ready(encoded.refs, len(encoded.refs), None, stop_at_error=False)
        error = self._fill(spec, encoded)
        if error is not None:
            raise serialization.load_proto(error)
        self._subscribe(actor)
        request = gcs_pb2.RegisterActor(spec=spec, get_if_exists=options.get_if_exists)
        try:
            with process.blocking():
                found = process.gcs.call(register_actor=request).actor_found
        except GcsError as refused:
            self._forget(actor)
            if refused.code == gcs_pb2.Error.ALREADY_EXISTS:
                from ray.exceptions import ActorAlreadyExistsError

                raise ActorAlreadyExistsError(refused.message) from None
            raise ValueError(refused.message) from None
        if found.existed and found.spec.actor_id != spec.actor_id:
            self._forget(actor)
            return self._found(found)
        self.on_statuses([found.status])
        return self._handle(actor)

    def _forget(self, actor: Actor) -> None:
        """The GCS never took this actor."""
        process = self._process
        self._actors.pop(actor.calls.actor_id, None)
        process.gcs.unsubscribe(actor.calls.actor_id)
        actor.ref = None
        if actor.held:
            with process.lock:
                process.holds.apply(process.refs.task_finished(actor.held))
            process.after_lock()

    # -- handles

    def _handle(self, actor: Actor) -> Any:
        from ray.actor import _make_handle

        name, methods, detached, _, _ = pickle.loads(actor.meta)
        return _make_handle(self._process, actor.calls.actor_id, name, methods, detached)

    def add_handle(self, actor_id: bytes) -> None:
        self._actors[actor_id].handles += 1

    def drop_handle(self, actor_id: bytes) -> None:
        """A handle was collected; the lock is held."""
        actor = self._actors.get(actor_id)
        if actor is not None:
            actor.handles -= 1
            if actor.handles <= 0:
                actor.ref = None
                if not actor.mine and not actor.calls.pending():
                    del self._actors[actor_id]
                    if actor.subscribed:
                        self._process.gcs.unsubscribe(actor_id)

    def export(self, actor_id: bytes) -> tuple[bytes, bytes, bytes, ObjectRef | None]:
        """What a pickled handle holds; the ref in it makes the holder count."""
        actor = self._actors[actor_id]
        status = actor.status.SerializeToString() if actor.status is not None else b""
        return actor_id, actor.meta, status, actor.ref

    def import_(self, state: tuple[bytes, bytes, bytes, ObjectRef | None]) -> Any:
        actor_id, meta, status, ref = state
        actor = self._known(actor_id, meta)
        if actor.ref is None:
            actor.ref = ref
        if status and actor.status is None:
            self.on_statuses([actor_pb2.ActorStatus.FromString(status)])
        return self._handle(actor)

    def _known(self, actor_id: bytes, meta: bytes) -> Actor:
        with self._process.lock:
            actor = self._actors.get(actor_id)
            if actor is None:
                name, _, _, _, in_order = pickle.loads(meta)
                actor = self._actors[actor_id] = Actor(actor_id, in_order, meta)
                actor.class_name = name
        return actor

    def find(self, name: str, namespace: str | None) -> Any:
        """raises: ValueError when there is no actor of that name."""
        process = self._process
        wanted = process.namespace if namespace is None else namespace
        try:
            with process.blocking():
                reply = process.gcs.call(find_actor=gcs_pb2.FindActor(name=name, ray_namespace=wanted))
        except GcsError as error:
            raise ValueError(
                f"Failed to look up actor with name '{name}' in namespace '{wanted}': {error}. It may have ended, or "
                "have been created in another namespace."
            ) from None
        return self._found(reply.actor_found)

    def own_handle(self, host: ActorHost) -> Any:
        """The handle of the actor that lives in this process; it does not keep the actor alive."""
        actor = self._known(host.actor_id, host.spec.handle_state)
        if actor.status is None:
            status = actor_pb2.ActorStatus(
                actor_id=host.actor_id,
                state=actor_pb2.ALIVE,
                address=self._process.identity.address(),
                incarnation=host.incarnation,
            )
            self.on_statuses([status])
        return self._handle(actor)

    def _found(self, found: gcs_pb2.ActorFound) -> Any:
        actor = self._known(found.spec.actor_id, found.spec.handle_state)
        self.on_statuses([found.status])
        return self._handle(actor)

    def handle_freed(self, object_id: bytes) -> None:
        """Nothing refers to one of our actors any more; the lock is held."""
        if not object_id.startswith(_HANDLE_PREFIX):
            return
        actor = self._actors.get(object_id[8:24])
        if actor is None or not actor.mine:
            return
        if actor.calls.state is ActorState.DEAD:
            del self._actors[object_id[8:24]]
            return
        detached = pickle.loads(actor.meta)[2]
        if not detached:
            self._process.gcs.request(actor_out_of_scope=gcs_pb2.ActorOutOfScope(actor_id=object_id[8:24]))

    # -- calls

    def submit(
        self,
        actor_id: bytes,
        method: MethodInfo,
        options: Mapping[str, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        process = self._process
        actor = self._actors[actor_id]
        num_returns = options.get("num_returns", method.num_returns)
        if not isinstance(num_returns, int) or num_returns < 0:
            raise NotImplementedError("generators of actor methods are not supported yet: return a list instead")
        encoded = arguments.encode(process, args, kwargs, f"{actor.class_name}.{method.name}")
        retries = method.max_task_retries
        if retries is None:
            retries = pickle.loads(actor.meta)[3] if actor.calls.state is not ActorState.DEAD else 0
        name = options.get("name") or f"{actor.class_name}.{method.name}"
        task_id = process.ids.next_actor_task(actor_id)
        record = TaskRecord(task_id, name, num_returns, None, None, _NO_TIMING, retries)
        record.actor_id = actor_id
        message = worker_pb2.Task(
            task_id=task_id, args=encoded.value, num_returns=num_returns, actor_id=actor_id, method=method.name
        )
        group = options.get("concurrency_group") or method.concurrency_group
        if group:
            message.concurrency_group = group
        if options.get("name"):
            message.name = name
        returns = process.submitter.register(record, encoded)
        if actor.ref is not None:
            # A call that is under way counts as a use of the actor.
            record.held = (*record.held, actor.ref._id)
        with process.lock:
            if actor.ref is not None:
                process.refs.task_submitted((actor.ref._id,))
            dead = actor.calls.state is ActorState.DEAD
            if not dead:
                actor.calls.submit(record)
        if dead:
            process.submitter.fail(record, self._died(actor))
        elif not encoded.refs:
            record.message = message.SerializeToString()
            self._send_ready(actor)
        else:
            process.submitter.when_ready(
                record, encoded.refs, lambda: self._arguments_ready(actor, record, message, encoded.refs)
            )
        if actor.status is None:
            self._subscribe(actor)
        if num_returns == 1:
            return returns[0]
        return returns or None

    def _arguments_ready(
        self, actor: Actor, record: TaskRecord, message: worker_pb2.Task, refs: list[ObjectRef]
    ) -> None:
        process = self._process
        with process.lock:
            error = arguments.first_error(process.objects, refs)
            if error is None:
                arguments.fill(process, message, refs)
                record.message = message.SerializeToString()
            else:
                record.cancelled = True
        if error is not None:
            process.submitter.fail(record, error)
        self._send_ready(actor)

    def _send_ready(self, actor: Actor) -> None:
        with self._process.lock:
            self._send(actor, actor.calls.sendable())
        self._process.after_lock()

    def _send(self, actor: Actor, calls: Sequence[TaskRecord]) -> None:
        """Queue calls to the present incarnation; the lock is held."""
        if not calls:
            return
        process = self._process
        assert actor.peer is not None, "an actor that is alive has an address"
        if not self._header:
            header = worker_pb2.Tasks(caller=process.identity.address(), job_id=process.job_id)
            self._header = header.SerializeToString()
        suffix = incarnation_field(actor.calls.incarnation)
        parts = [self._header]
        for call in calls:
            attempt = attempt_field(call.attempt) if call.attempt else b""
            parts.append(repeated_field(_TASKS_FIELD, call.message + suffix + attempt))
        actor.peer.queue(worker_pb2.TASKS, b"".join(parts))
        process.dirty.add(actor.peer)

    def replied(self, record: TaskRecord, refused: bool) -> None:
        """A reply came for a call; the lock is held."""
        actor = self._actors.get(record.actor_id)
        if actor is None:
            return
        if not refused:
            actor.calls.finished(record.task_id)
            return
        actor.calls.refused(record)
        self._apply(actor, actor.calls.away())
        self._subscribe(actor)

    # -- news

    def _subscribe(self, actor: Actor) -> None:
        if not actor.subscribed:
            actor.subscribed = True
            self._process.gcs.subscribe(actor.calls.actor_id)

    def on_statuses(self, statuses: Sequence[actor_pb2.ActorStatus]) -> None:
        for status in statuses:
            actor = self._actors.get(status.actor_id)
            if actor is None:
                continue
            if status.state == actor_pb2.ALIVE:
                self._alive(actor, status)
            elif status.state == actor_pb2.RESTARTING:
                with self._process.lock:
                    actor.status = None
                    outcome = actor.calls.restarting()
                self._fail_away(actor, outcome.fail)
            elif status.state == actor_pb2.DEAD:
                self._dead(actor, status.death_cause)

    def _alive(self, actor: Actor, status: actor_pb2.ActorStatus) -> None:
        process = self._process
        with process.lock:
            if actor.calls.state is ActorState.DEAD or status.incarnation < actor.calls.incarnation:
                return
            actor.status = status
            actor.peer = process.peers.get(status.address.worker_id, status.address.node_id)
            process.watch(actor.peer)
            failed = self._apply(actor, actor.calls.alive(status.incarnation))
        process.after_lock()
        self._fail_away(actor, failed)

    def _apply(self, actor: Actor, outcome: Outcome) -> list[TaskRecord]:
        self._send(actor, outcome.send)
        return outcome.fail

    def _fail_away(self, actor: Actor, calls: Sequence[TaskRecord]) -> None:
        from ray.exceptions import ActorUnavailableError

        if calls:
            error = ActorUnavailableError("its process died while the call ran, and it restarts", actor.calls.actor_id)
            value = error_value(error)
            for call in calls:
                self._process.submitter.fail(call, value)

    def _dead(self, actor: Actor, cause: common_pb2.DeathCause) -> None:
        process = self._process
        with process.lock:
            if actor.calls.state is ActorState.DEAD:
                return
            actor.cause = cause
            failed = actor.calls.dead().fail
            held, actor.held = actor.held, ()
            if held:
                process.holds.apply(process.refs.task_finished(held))
        process.gcs.unsubscribe(actor.calls.actor_id)
        value = self._died(actor) if failed else None
        for call in failed:
            assert value is not None
            process.submitter.fail(call, value)
        process.after_lock()

    def _died(self, actor: Actor) -> common_pb2.Value:
        from ray.exceptions import ActorDiedError, ActorUnschedulableError

        cause = actor.cause
        assert cause is not None, "a dead actor has a cause"
        if cause.kind == common_pb2.DeathCause.UNSCHEDULABLE:
            return error_value(ActorUnschedulableError(cause.message))
        reason: Any = cause
        if cause.error:
            reason = serialization.load_proto(common_pb2.Value.FromString(cause.error))
        return error_value(ActorDiedError(reason, actor_id=actor.calls.actor_id.hex(), class_name=actor.class_name))

    def on_worker_died(self, worker_id: bytes) -> None:
        """A process died; if it was an actor's, the GCS will say what comes of it."""
        for actor in list(self._actors.values()):
            if actor.peer is not None and actor.peer.worker_id == worker_id and actor.calls.state is ActorState.ALIVE:
                with self._process.lock:
                    actor.calls.away()
                    actor.status = None
                self._subscribe(actor)

    def kill(self, actor_id: bytes, no_restart: bool) -> None:
        request = gcs_pb2.KillActorRequest(actor_id=actor_id, no_restart=no_restart)
        with self._process.blocking():
            self._process.gcs.call(kill_actor=request)
