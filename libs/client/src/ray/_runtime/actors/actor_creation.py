"""Creating actors: from a class and its arguments to an actor that the GCS has recorded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from manta_common.ids import JobId, new_actor_id
from manta_common.resources import ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2
from manta_proto.worker.v1 import worker_pb2

from ray._runtime.actors.actor_calls import ActorState
from ray._runtime.actors.actor_record import HANDLE_PREFIX, Actor, HandleState, handle_id
from ray._runtime.actors.durable_arguments import KEPT_LIMIT, is_kept, keep
from ray._runtime.specs.definitions import Definition, define
from ray._runtime.specs.task_record import TaskRecord, Timing
from ray._runtime.tasks import arguments
from ray._runtime.transport.gcs_client import GcsError
from ray._runtime.values import serialization
from ray._runtime.values.object_ref import ObjectRef

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ray._runtime.actors.actors import Actors
    from ray._runtime.api import ActorOptions, ClassDescriptor
    from ray._runtime.process.process import Process

log = logging.getLogger("ray.runtime")


class ActorCreator:
    """Creates the actors of `process`."""

    def __init__(self, process: Process, actors: Actors) -> None:
        self._process = process
        self._actors = actors

    def create(self, cls: ClassDescriptor, options: ActorOptions, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See ray._runtime.api.Runtime.create_actor. Waits for the GCS only where a name may be taken."""
        process = self._process
        cached = cls.cache
        if cached is None or cached[0] is not self:
            cached = cls.cache = (self, define(cls.cls, cls.name))
        detached = process.actors_detached if options.detached is None else options.detached
        outlives = detached and options.max_restarts != 0
        limit = KEPT_LIMIT if outlives else serialization.inline.limit
        encoded = arguments.encode(process, args, kwargs, cls.name, limit)
        actor_id = new_actor_id(JobId(process.job_id))
        prepared = options.cache
        if prepared is None or prepared[0] is not cls or prepared[1].detached is not detached:
            state = _handle_state(cls, options, detached)
            prepared = options.cache = (cls, state, state.pickled())
        spec = self._spec(actor_id, cls, options, encoded, _concurrency(cls, options), cached[1])
        spec.detached = detached
        spec.handle_state = prepared[2]
        actor = Actor(actor_id, prepared[2], prepared[1])
        actor.mine = True
        actor.held = encoded.held()
        with process.lock:
            self._actors.add(actor)
            process.refs.create(handle_id(actor_id))
            process.objects.create(handle_id(actor_id))
            actor.ref = ObjectRef(handle_id(actor_id), process.address, process)
            if actor.held:
                process.refs.task_submitted(actor.held)
        # Ahead of what follows: it may end the actor at once, and nothing would be left to make a handle of.
        handle = self._actors.handle(actor)
        unready = bool(encoded.refs) and not arguments.all_ready(process, encoded.refs)
        if options.name:
            found = (
                self._announce_named(actor, spec, options)
                if unready
                else self._create_named(actor, spec, options, encoded)
            )
            if found is not None:
                return found
            if not unready:
                return handle
        elif unready:
            self._announce(actor, spec)
        record = TaskRecord(HANDLE_PREFIX + actor_id, cls.name, 0, None, None, Timing(), 0)
        arguments.when_ready(process, record, encoded.refs, lambda: self._register(actor, spec, encoded))
        return handle

    def _spec(
        self,
        actor_id: bytes,
        cls: ClassDescriptor,
        options: ActorOptions,
        encoded: arguments.Arguments,
        concurrency: int,
        definition: Definition,
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
            strategy=process.group_context.strategy_for_actor(options.strategy),
            runtime_env=process.task_runtime_env(options.runtime_env),
            max_restarts=options.max_restarts,
            max_task_retries=options.max_task_retries,
            max_concurrency=concurrency,
            concurrency_groups=groups,
            is_async=cls.is_async,
            name=options.name,
            ray_namespace=process.namespace if options.namespace is None else options.namespace,
            allow_out_of_order=options.allow_out_of_order,
            max_pending_calls=options.max_pending_calls,
            handle_id=handle_id(actor_id),
            call_site=process.task_events.call_site(),
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

    def _announce(self, actor: Actor, spec: actor_pb2.ActorSpec) -> None:
        """Have the cluster know of an actor whose arguments come late or never: it can be killed and listed, and
        whoever holds a handle hears of its end.
        """
        self._actors.subscribe(actor)
        future = self._process.gcs.request(announce_actor=gcs_pb2.AnnounceActor(spec=spec))
        future.add_done_callback(lambda done: self._announced(actor, done))

    def _announced(self, actor: Actor, done: Future[gcs_pb2.GcsReply]) -> None:
        # A GCS that refuses says so again, and for good, when the actor is registered.
        if done.exception() is None:
            self._actors.on_statuses([done.result().actor_found.status])

    def _register(self, actor: Actor, spec: actor_pb2.ActorSpec, encoded: arguments.Arguments) -> None:
        if actor.calls.state is ActorState.DEAD:
            return  # it was killed, or nobody refers to it any more
        error = self._fill(spec, encoded)
        if error is not None:
            cause = common_pb2.DeathCause(
                kind=common_pb2.DeathCause.INIT_FAILED,
                message="an argument of the constructor is an error",
                error=error.SerializeToString(),
            )
            self._give_up(actor, spec, cause)
            return
        if is_kept(spec) and any(not argument.HasField("value") for argument in spec.arguments):
            # This may be the thread that reads, and to bring a large object blocks.
            try:
                self._process.helpers.submit(self._send_kept, actor, spec)
            except RuntimeError as error:  # the system has no thread to give
                message = f"the constructor's arguments cannot be brought: {error}"
                self._actors.died(actor, common_pb2.DeathCause(kind=common_pb2.DeathCause.INIT_FAILED, message=message))
            return
        self._send(actor, spec)

    def _send_kept(self, actor: Actor, spec: actor_pb2.ActorSpec) -> None:
        try:
            keep(self._process, spec)
        except Exception as error:
            cause = common_pb2.DeathCause(kind=common_pb2.DeathCause.INIT_FAILED, message=str(error))
            self._give_up(actor, spec, cause)
            return
        self._send(actor, spec)

    def _give_up(self, actor: Actor, spec: actor_pb2.ActorSpec, cause: common_pb2.DeathCause) -> None:
        """Its constructor cannot be called: those who hold, or will hold, handles elsewhere hear of it from the GCS."""
        self._actors.died(actor, cause)
        self._process.gcs.request(announce_actor=gcs_pb2.AnnounceActor(spec=spec))
        self._process.gcs.request(forsake_actor=gcs_pb2.ForsakeActor(actor_id=actor.actor_id, cause=cause))

    def _send(self, actor: Actor, spec: actor_pb2.ActorSpec) -> None:
        self._actors.subscribe(actor)
        future = self._process.gcs.request(register_actor=gcs_pb2.RegisterActor(spec=spec))
        future.add_done_callback(lambda done: self._registered(actor, done))

    def _registered(self, actor: Actor, done: Future[gcs_pb2.GcsReply]) -> None:
        error = done.exception()
        if error is None:
            self._actors.on_statuses([done.result().actor_found.status])
        else:
            cause = common_pb2.DeathCause(kind=common_pb2.DeathCause.UNKNOWN, message=str(error))
            self._actors.died(actor, cause)

    def _create_named(
        self, actor: Actor, spec: actor_pb2.ActorSpec, options: ActorOptions, encoded: arguments.Arguments
    ) -> Any:
        """returns: a handle of the actor that has the name already, if there is one.

        raises: ActorAlreadyExistsError; ValueError for another refusal; the error among the arguments; RpcError.
        """
        error = self._fill(spec, encoded)
        if error is not None:
            self._forget(actor)
            raise serialization.load_proto(error)
        if is_kept(spec):
            keep(self._process, spec)
        return self._ask(
            actor, spec, register_actor=gcs_pb2.RegisterActor(spec=spec, get_if_exists=options.get_if_exists)
        )

    def _announce_named(self, actor: Actor, spec: actor_pb2.ActorSpec, options: ActorOptions) -> Any:
        """As _create_named, while some of the arguments do not exist."""
        return self._ask(
            actor, spec, announce_actor=gcs_pb2.AnnounceActor(spec=spec, get_if_exists=options.get_if_exists)
        )

    def _ask(self, actor: Actor, spec: actor_pb2.ActorSpec, **body: Any) -> Any:
        from ray.exceptions import RpcError

        self._actors.subscribe(actor)
        try:
            with self._process.blocking():
                found = self._process.gcs.call(**body).actor_found
        except GcsError as refused:
            self._forget(actor)
            if refused.code == gcs_pb2.Error.ALREADY_EXISTS:
                from ray.exceptions import ActorAlreadyExistsError

                raise ActorAlreadyExistsError(refused.message) from None
            raise ValueError(refused.message) from None
        except RpcError:
            # The request may have arrived, or be under way still: whatever comes of it ends at once.
            self._process.gcs.request(kill_actor=gcs_pb2.KillActorRequest(actor_id=actor.actor_id, no_restart=True))
            self._forget(actor)
            raise
        if found.existed and found.spec.actor_id != spec.actor_id:
            self._forget(actor)
            return self._actors.found(found)
        self._actors.on_statuses([found.status])
        return None

    def _forget(self, actor: Actor) -> None:
        """The GCS never took this actor."""
        process = self._process
        self._actors.remove(actor)
        actor.ref = None
        if actor.held:
            with process.lock:
                process.holds.apply(process.refs.task_finished(actor.held))
            process.after_lock()


def _check_groups(cls: ClassDescriptor, options: ActorOptions) -> None:
    """raises: ValueError when a method is declared to be in a group that the actor does not have."""
    groups = options.concurrency_groups
    for method in cls.methods.values():
        if method.concurrency_group and method.concurrency_group not in groups:
            raise ValueError(
                f"{cls.name}.{method.name} is in concurrency group {method.concurrency_group!r}, which the actor does "
                f"not have: its groups are {sorted(groups)}; name it in @ray.remote(concurrency_groups={{...}})"
            )


def _concurrency(cls: ClassDescriptor, options: ActorOptions) -> int:
    return options.max_concurrency or (1000 if cls.is_async else 1)


def _handle_state(cls: ClassDescriptor, options: ActorOptions, detached: bool) -> HandleState:
    """What handles of all actors of this class with these options share. raises: ValueError for an unknown group."""
    _check_groups(cls, options)
    side_by_side = cls.is_async or _concurrency(cls, options) > 1 or bool(options.concurrency_groups)
    return HandleState(
        cls.name,
        {name: info.of_actor(options) for name, info in cls.methods.items()},
        detached,
        options.max_task_retries,
        not (side_by_side or options.allow_out_of_order),
        options.max_pending_calls,
        tuple(options.concurrency_groups),
        max(1, _concurrency(cls, options), *options.concurrency_groups.values()),
    )
