"""Actors that this process created or holds handles of: their table, their handles, and what the GCS says of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2

from ray._runtime.actors.actor_calling import ActorCaller
from ray._runtime.actors.actor_calls import ActorState, Outcome
from ray._runtime.actors.actor_creation import ActorCreator
from ray._runtime.actors.actor_record import Actor
from ray._runtime.specs.task_record import TaskRecord
from ray._runtime.transport.gcs_client import GcsError
from ray._runtime.values import serialization
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.system_errors import CRASHED, actor_not_found, error_value, not_computed

if TYPE_CHECKING:
    from ray._runtime.api import ActorOptions, ClassDescriptor, MethodInfo
    from ray._runtime.execution.actor_host import ActorHost
    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Peer

log = logging.getLogger("ray.runtime")


class Actors:
    """All actors that `process` knows."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._actors: dict[bytes, Actor] = {}
        self._creator = ActorCreator(process, self)
        self._caller = ActorCaller(process, self)

    def create(self, cls: ClassDescriptor, options: ActorOptions, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._creator.create(cls, options, args, kwargs)

    def submit(
        self,
        actor_id: bytes,
        method: MethodInfo,
        options: Mapping[str, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        task_id: bytes = b"",
    ) -> Any:
        return self._caller.submit(self._actors[actor_id], method, options, args, kwargs, task_id)

    def add(self, actor: Actor) -> None:
        self._actors[actor.actor_id] = actor

    def remove(self, actor: Actor) -> None:
        self._actors.pop(actor.actor_id, None)
        if actor.subscribed:
            self._process.gcs.unsubscribe(actor.actor_id)

    # -- handles

    def handle(self, actor: Actor, *, weak: bool = False) -> Any:
        """A new ActorHandle. weak: it does not keep the actor alive."""
        from ray.actor import _make_handle

        state = actor.handle_state
        return _make_handle(self._process, actor.actor_id, state.class_name, state.methods, state.detached, weak=weak)

    def add_handle(self, actor_id: bytes, weak: bool) -> None:
        with self._process.lock:
            actor = self._actors[actor_id]
            if weak:
                actor.weak_handles += 1
            else:
                actor.handles += 1

    def drop_handle(self, actor_id: bytes, weak: bool) -> None:
        """A handle was collected; the lock is held."""
        actor = self._actors.get(actor_id)
        if actor is None:
            return
        if weak:
            actor.weak_handles -= 1
        else:
            actor.handles -= 1
        if actor.handles <= 0:
            actor.ref = None
            self._forget_unused(actor)

    def _forget_unused(self, actor: Actor) -> None:
        """Drop an actor that nobody here calls or can call any more, unless we own it; the lock is held."""
        mine = actor.mine and actor.calls.state is not ActorState.DEAD
        if not (mine or actor.handles > 0 or actor.weak_handles > 0 or actor.calls.pending()):
            self.remove(actor)

    def export(self, actor_id: bytes) -> tuple[bytes, bytes, bytes, ObjectRef | None]:
        """What a pickled handle holds; the ref in it makes the holder count."""
        actor = self._actors[actor_id]
        status = actor.status.SerializeToString() if actor.status is not None else b""
        return actor_id, actor.pickled_state, status, actor.ref

    def import_(self, state: tuple[bytes, bytes, bytes, ObjectRef | None]) -> Any:
        actor_id, pickled_state, status, ref = state
        with self._known(actor_id, pickled_state) as actor:
            if status and actor.status is None:
                self.on_statuses([actor_pb2.ActorStatus.FromString(status)])
            if ref is None:
                return self._uncounted(actor)
            handle = self.handle(actor)
            with self._process.lock:
                # Not before the handle counts: the drop of the last other one takes the ref away.
                if actor.ref is None:
                    actor.ref = ref
        return handle

    @contextmanager
    def _known(self, actor_id: bytes, pickled_state: bytes) -> Iterator[Actor]:
        """The actor's entry; it stays while a handle is made, although the last other one may be dropped meanwhile."""
        with self._process.lock:
            actor = self._actors.get(actor_id)
            if actor is None:
                actor = self._actors[actor_id] = Actor(actor_id, pickled_state)
            actor.weak_handles += 1
        try:
            yield actor
        finally:
            with self._process.lock:
                actor.weak_handles -= 1
                self._forget_unused(actor)

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
        return self.found(reply.actor_found)

    def own_handle(self, host: ActorHost) -> Any:
        """The handle of the actor that lives in this process; it does not keep the actor alive."""
        with self._known(host.actor_id, host.spec.handle_state) as actor:
            if actor.status is None:
                status = actor_pb2.ActorStatus(
                    actor_id=host.actor_id,
                    state=actor_pb2.ALIVE,
                    address=self._process.identity.address(),
                    incarnation=host.incarnation,
                )
                self.on_statuses([status])
            return self.handle(actor, weak=True)

    def found(self, found: gcs_pb2.ActorFound) -> Any:
        """A handle of an actor that the GCS named."""
        with self._known(found.spec.actor_id, found.spec.handle_state) as actor:
            self.on_statuses([found.status])
            return self._uncounted(actor)

    def _uncounted(self, actor: Actor) -> Any:
        """A handle that brings no reference along: weak, unless this process holds the actor already.

        Then it counts as every other one here. Else the actor would end under it when those go that do.
        """
        with self._process.lock:
            counts = actor.ref is not None
            if counts:
                actor.handles += 1  # so that the reference stays until the new handle counts
        if not counts:
            return self.handle(actor, weak=True)
        try:
            return self.handle(actor)
        finally:
            with self._process.lock:
                self.drop_handle(actor.actor_id, weak=False)
            self._process.after_lock()

    def handle_freed(self, object_id: bytes) -> None:
        """Nothing refers to one of our actors any more; the lock is held. object_id: of the actor's handles."""
        actor = self._actors.get(object_id[8:24])
        if actor is None or not actor.mine:
            return
        if actor.calls.state is ActorState.DEAD:
            self._forget_unused(actor)
        elif not actor.handle_state.detached:
            self._process.gcs.request(actor_out_of_scope=gcs_pb2.ActorOutOfScope(actor_id=actor.actor_id))

    # -- news

    def subscribe(self, actor: Actor) -> None:
        """Have the GCS push what becomes of the actor."""
        if not actor.subscribed:
            actor.subscribed = True
            self._process.gcs.subscribe(actor.actor_id)

    def on_statuses(self, statuses: Sequence[actor_pb2.ActorStatus]) -> None:
        for status in statuses:
            actor = self._actors.get(status.actor_id)
            if actor is None:
                continue
            if actor.peer is None:
                self._on_status(actor, status)
            else:
                self._process.reactor.call_soon(partial(self._on_status_after_replies, actor, status))

    def _on_status_after_replies(self, actor: Actor, status: actor_pb2.ActorStatus) -> None:
        """On the thread that reads: what a process replied before its end may lie in its socket still."""
        if actor.peer is not None and status.state != actor_pb2.ALIVE:
            self._process.peers.drain(actor.peer.worker_id)
        self._on_status(actor, status)

    def _on_status(self, actor: Actor, status: actor_pb2.ActorStatus) -> None:
        if status.state == actor_pb2.ALIVE:
            self._alive(actor, status)
        elif status.state == actor_pb2.RESTARTING:
            with self._process.lock:
                actor.status = None
                _give_up(actor)
                outcome = actor.calls.restarting()
                self._tell_repeats(outcome)
            self._process.after_lock()
            self._fail_away(actor, outcome.fail)
        elif status.state == actor_pb2.DEAD:
            self.died(actor, status.death_cause)

    def _alive(self, actor: Actor, status: actor_pb2.ActorStatus) -> None:
        process = self._process
        with process.lock:
            if actor.calls.state is ActorState.DEAD or status.incarnation < actor.calls.incarnation:
                return
            # Of its own: it lives as long as the actor, and would hold the batch of news that it came in.
            actor.status = actor_pb2.ActorStatus()
            actor.status.CopyFrom(status)
            if status.incarnation > actor.calls.incarnation:
                _give_up(actor)
            actor.peer = process.peers.get(status.address.worker_id, status.address.node_id)
            actor.peer.pid = status.pid
            process.watch(actor.peer)
            outcome = actor.calls.alive(status.incarnation)
            self._tell_repeats(outcome)
            self._caller.send(actor, outcome.send)
        process.after_lock()
        self._fail_away(actor, outcome.fail)

    def _tell_repeats(self, outcome: Outcome) -> None:
        for call in outcome.repeat:
            left = call.retries_left + 1 if call.retries_left >= 0 else -1
            self._process.retry_notices.failed(call, CRASHED, left)

    def _fail_away(self, actor: Actor, calls: Sequence[TaskRecord]) -> None:
        if calls:
            value = self._restarts(actor)
            for call in calls:
                self._process.submitter.fail(call, value)

    def _restarts(self, actor: Actor) -> common_pb2.Value:
        from ray.exceptions import ActorUnavailableError

        reason = "its process died and it restarts; with max_task_retries the call would wait and be repeated"
        return error_value(ActorUnavailableError(reason, actor.actor_id))

    def refusal_of(self, actor: Actor) -> common_pb2.Value:
        """The error of a call that ActorCalls did not take."""
        return self.death_of(actor) if actor.calls.state is ActorState.DEAD else self._restarts(actor)

    def died(self, actor: Actor, cause: common_pb2.DeathCause) -> None:
        """The actor is dead for good: all its calls fail."""
        process = self._process
        with process.lock:
            if actor.calls.state is ActorState.DEAD:
                return
            actor.cause = common_pb2.DeathCause()
            actor.cause.CopyFrom(cause)
            _give_up(actor)
            failed = actor.calls.dead().fail
            held, actor.held = actor.held, ()
            if held:
                process.holds.apply(process.refs.task_finished(held))
            # One of ours whose last handle went before it died: handle_freed waits for no second time.
            self._forget_unused(actor)
        process.gcs.unsubscribe(actor.actor_id)
        value = self.death_of(actor) if failed else None
        for call in failed:
            assert value is not None
            process.submitter.fail(call, value)
        process.after_lock()

    def death_of(self, actor: Actor) -> common_pb2.Value:
        """The error that calls of the dead actor end with."""
        from ray.exceptions import ActorDiedError, ActorPlacementGroupRemoved, ActorUnschedulableError

        cause = actor.cause
        assert cause is not None, "a dead actor has a cause"
        if cause.kind == common_pb2.DeathCause.UNSCHEDULABLE:
            return error_value(ActorUnschedulableError(cause.message))
        if cause.kind == common_pb2.DeathCause.PLACEMENT_GROUP_REMOVED:
            return error_value(
                ActorPlacementGroupRemoved(cause, actor_id=actor.actor_id.hex(), class_name=actor.class_name)
            )
        reason: Any = cause
        if cause.error:
            reason = serialization.load_proto(common_pb2.Value.FromString(cause.error))
        return error_value(ActorDiedError(reason, actor_id=actor.actor_id.hex(), class_name=actor.class_name))

    def on_worker_died(self, worker_id: bytes) -> None:
        """A process died; if it was an actor's, the GCS will say what comes of it."""
        for actor in list(self._actors.values()):
            if actor.peer is not None and actor.peer.worker_id == worker_id:
                self._gone_away(actor, lambda actor: actor.peer is not None and actor.peer.worker_id == worker_id)

    def _gone_away(self, actor: Actor, is_meant: Callable[[Actor], bool]) -> None:
        """Have calls wait for what the GCS says of an actor that was thought to be alive.

        is_meant: asked under the lock. The next incarnation may be announced on another thread at any moment, and of
        one that is said to be alive already no news will come.
        """
        with self._process.lock:
            gone = actor.calls.state is ActorState.ALIVE and is_meant(actor)
            if gone:
                actor.calls.away()
                actor.status = None
        if gone:
            self.subscribe(actor)

    def replied(self, record: TaskRecord, *, refused: bool) -> None:
        """A reply came for a call; the lock is held. A refused one never started: it waits for news of the actor."""
        actor = self._actors.get(record.actor_id)
        if actor is None:
            return
        if not refused:
            actor.calls.finished(record.task_id)
            if actor.calls.held_back:
                self._caller.line_up(actor)
            self._forget_unused(actor)
            return
        actor.calls.refused(record)
        actor.calls.away()
        actor.status = None
        self.subscribe(actor)

    def withdraw(self, record: TaskRecord) -> Peer | None:
        """A call was cancelled; the lock is held. returns: where it was sent, None if it never was."""
        actor = self._actors.get(record.actor_id)
        if actor is None:
            return None
        if actor.calls.withdraw(record):
            # What it held up can go.
            self._caller.send(actor, actor.calls.sendable())
            return None
        return actor.peer

    def raised(self, record: TaskRecord, *, again: bool) -> bool:
        """A call's user code raised; the lock is held. returns: whether it will run once more, behind what waits."""
        actor = self._actors.get(record.actor_id)
        if actor is None:
            return False
        if record.task_id not in actor.calls.in_flight:
            return True  # the actor restarted meanwhile, and the call waits for its next attempt already
        actor.calls.finished(record.task_id)
        if again:
            self._process.task_events.retried(record)
            record.next_attempt()
            again = actor.calls.submit(record)
        if again:
            self._caller.send(actor, actor.calls.sendable())
        else:
            self._forget_unused(actor)
        return again

    def resubmit(self, record: TaskRecord) -> None:
        """Make a call that ended once more; its arguments are there."""
        process = self._process
        actor = self._actors.get(record.actor_id)
        with process.lock:
            taken = actor is not None and actor.calls.submit(record)
        if actor is None:
            process.submitter.end(record, not_computed(record.return_ids()[0], "REF_NOT_FOUND", record.actor_id))
        elif not taken:
            process.submitter.end(record, self.refusal_of(actor))
        else:
            self._caller.line_up(actor)
            if actor.status is None:
                self.subscribe(actor)

    def kill(self, actor_id: bytes, no_restart: bool) -> None:
        request = gcs_pb2.KillActorRequest(actor_id=actor_id, no_restart=no_restart)
        actor = self._actors.get(actor_id)
        incarnation = actor.calls.incarnation if actor is not None else 0
        try:
            with self._process.blocking():
                self._process.gcs.call(kill_actor=request)
        except GcsError as error:
            if error.code != gcs_pb2.Error.NOT_FOUND:
                raise
            raise actor_not_found(actor_id) from None
        if actor is not None:
            # The signal is on its way; a call made from here on must not overtake it.
            self._gone_away(actor, lambda actor: actor.calls.incarnation == incarnation)


def _give_up(actor: Actor) -> None:
    """What was sent to the actor's process gets no reply from it any more; the lock is held."""
    if actor.peer is not None:
        for call in actor.calls.in_flight.values():
            call.died_at(actor.peer)
