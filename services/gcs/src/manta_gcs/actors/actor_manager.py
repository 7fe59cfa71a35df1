"""The life of actors: registered, placed, started, restarted, ended."""

from __future__ import annotations

from manta_common.ids import ACTOR_ID_SIZE, NODE_ID_SIZE, WORKER_ID_SIZE, ActorId, NodeId, PlacementGroupId
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2
from manta_proto.worker.v1 import worker_pb2

from manta_gcs.actors.actor import Actor, definition_key
from manta_gcs.actors.actor_name import ActorNames
from manta_gcs.actors.actor_placement import ActorPlacement, Placed
from manta_gcs.actors.actor_state import ActorState
from manta_gcs.actors.actor_table import ActorTable
from manta_gcs.actors.subscription import Subscriptions
from manta_gcs.jobs.job import Jobs
from manta_gcs.kernel.commands import Command, Persist, note
from manta_gcs.kernel.events import Moment
from manta_gcs.kernel.refusal import ALREADY_EXISTS, INVALID, NOT_FOUND, RequestRefused, need_size
from manta_gcs.nodes.node import NodeTable
from manta_gcs.nodes.worker_death import WorkerDeaths

Cause = common_pb2.DeathCause
# After these a new process would end the same way, or is not wanted.
NO_RESTART = frozenset(
    {
        Cause.INIT_FAILED,
        Cause.INTENDED,
        Cause.OUT_OF_SCOPE,
        Cause.OWNER_DIED,
        Cause.JOB_FINISHED,
        Cause.UNSCHEDULABLE,
        Cause.RUNTIME_ENV_FAILED,
        Cause.PLACEMENT_GROUP_REMOVED,
    }
)
MAX_SPEC_BYTES = 48 * 1024 * 1024  # a message holds 64 MiB


class ActorManager:
    """Moves actors between their states. Each method returns what its change makes necessary."""

    def __init__(
        self,
        nodes: NodeTable,
        jobs: Jobs,
        deaths: WorkerDeaths,
        table: ActorTable,
        placement: ActorPlacement,
    ) -> None:
        self._nodes, self._jobs, self._deaths = nodes, jobs, deaths
        self.table = table
        self.names = ActorNames()
        self.placement = placement
        self.subscriptions = Subscriptions()
        self._buried: list[ActorId] = []

    # ---- asked by clients ----

    def register(self, request: gcs_pb2.RegisterActor, at: Moment) -> tuple[gcs_pb2.ActorFound, list[Command]]:
        """A new actor, or the one there already: a repeat by actor id, or get_if_exists by name.

        One that was announced has all its arguments now, and may start.
        """
        known = self.table.get(need_size("actor id", request.spec.actor_id, ACTOR_ID_SIZE))
        if known is None:
            actor, commands = self._add(request.spec, request.get_if_exists)
            if commands:
                death = None if actor.spec.detached else self._owner_death(actor)
                commands += self._ready(actor) if death is None else self._end(actor, death, at)
            return _found(actor, existed=not commands), commands
        commands = []
        if known.state is ActorState.DEPENDENCIES_UNREADY:
            _check_size(request.spec)
            known.bring_arguments(request.spec)
            commands = [Persist(*known.spec_record()), *self._ready(known)]
        return _found(known, existed=True), commands

    def announce(self, request: gcs_pb2.AnnounceActor, at: Moment) -> tuple[gcs_pb2.ActorFound, list[Command]]:
        """As register, for an actor that waits for its constructor's arguments; register follows when they exist."""
        known = self.table.get(need_size("actor id", request.spec.actor_id, ACTOR_ID_SIZE))
        if known is not None:
            return _found(known, existed=True), []
        actor, commands = self._add(request.spec, request.get_if_exists)
        if commands:
            commands += self._changed(actor)
            death = self._owner_death(actor)
            if death is not None:
                commands += self._end(actor, death, at)
        return _found(actor, existed=not commands), commands

    def forsake(self, request: gcs_pb2.ForsakeActor, at: Moment) -> list[Command]:
        """Its creator cannot make the arguments of its constructor. Repeats do nothing."""
        actor = self.table.get(need_size("actor id", request.actor_id, ACTOR_ID_SIZE))
        if actor is None or actor.state is not ActorState.DEPENDENCIES_UNREADY:
            return []
        return self._end(actor, request.cause, at)

    def _add(self, wanted: actor_pb2.ActorSpec, get_if_exists: bool) -> tuple[Actor, list[Command]]:
        """A new actor in the table; or the one that has its name, and nothing to do."""
        if wanted.name:
            holder = self.names.holder(wanted.ray_namespace, wanted.name)
            named = self.table.get(holder) if holder is not None else None
            if named is not None and get_if_exists:
                return named, []
            if named is not None:
                raise RequestRefused(
                    ALREADY_EXISTS,
                    f"the actor name {wanted.name!r} in namespace {wanted.ray_namespace!r} is taken by actor "
                    f"{named.id.hex()}; use another name, get_if_exists=True, or kill that actor first",
                )
        actor, definition = self._new_actor(wanted)
        commands: list[Command] = self.table.keep_definition(actor.definition, definition)
        self.table.add(actor)
        commands += self.names.take(actor.spec)
        commands.append(Persist(*actor.spec_record()))
        actor.pending_reason = "waiting for the arguments of its constructor"
        return actor, commands

    def _ready(self, actor: Actor) -> list[Command]:
        """It has all that its constructor takes: it wants a node."""
        self.table.move(actor, ActorState.PENDING_CREATION)
        actor.pending_reason = "waiting to be placed"
        self.placement.enqueue(actor)
        return self._changed(actor)

    def kill(self, request: gcs_pb2.KillActorRequest, at: Moment) -> list[Command]:
        """ray.kill: for good, or only the present process, which then counts as one death.

        So does that of an actor which has no process yet: what was meant to be its first start is its second. Of one
        whose arguments are missing there is nothing to end.
        """
        actor = self._known(request.actor_id)
        cause = Cause(kind=Cause.KILLED, message="killed by ray.kill")
        if actor.dead or request.incarnation not in (0, actor.incarnation):
            return []
        if request.no_restart:
            return self._end(actor, cause, at)
        if actor.state is ActorState.DEPENDENCIES_UNREADY:
            return []
        return [*self._tell_end(actor, cause, graceful=False), *self._incarnation_died(actor, cause, at)]

    def out_of_scope(self, actor_id: bytes, at: Moment) -> list[Command]:
        """Its last handle went away. A detached actor needs no handle, an unknown one is gone already."""
        actor = self.table.get(need_size("actor id", actor_id, ACTOR_ID_SIZE))
        if actor is None or actor.dead or actor.spec.detached:
            return []
        return self._end(actor, Cause(kind=Cause.OUT_OF_SCOPE, message="its last handle went out of scope"), at)

    def find(self, request: gcs_pb2.FindActor) -> gcs_pb2.ActorFound:
        if request.actor_id:
            return _found(self._known(request.actor_id), existed=True)
        holder = self.names.holder(request.ray_namespace, request.name)
        actor = self.table.get(holder) if holder is not None else None
        if actor is None:
            raise RequestRefused(
                NOT_FOUND, f"no actor is named {request.name!r} in namespace {request.ray_namespace!r}"
            )
        return _found(actor, existed=True)

    def statuses(self, actor_ids: list[bytes]) -> gcs_pb2.ActorStatuses:
        """The present ones. An id not known yet is left out, for its registration may be on the way; unless its
        job is over, in which case nothing will ever come."""
        statuses = []
        for actor_id in actor_ids:
            actor = self.table.get(actor_id)
            if actor is not None:
                statuses.append(actor.status())
            elif not self._jobs.is_running(actor_id[-4:]):
                cause = Cause(kind=Cause.UNKNOWN, message="the cluster does not know this actor, and its job is over")
                statuses.append(actor_pb2.ActorStatus(actor_id=actor_id, state=actor_pb2.DEAD, death_cause=cause))
        return gcs_pb2.ActorStatuses(statuses=statuses)

    # ---- told by nodes ----

    def report(self, node_id: NodeId, report: gcs_pb2.ActorReport, at: Moment) -> list[Command]:
        """A node started an actor, could not, or lost it; or it names one that it is still starting, when it attaches.

        Late news of an earlier incarnation ends that one.
        """
        actor = self.table.get(report.actor_id)
        gone = report.rejected or report.HasField("failure")
        if actor is None or actor.dead or (actor.node_id, actor.incarnation) != (node_id, report.incarnation):
            return [] if gone else self._nodes.tell(node_id, gcs_pb2.GcsToNode(end_actor=superseded(report, actor)))
        if report.rejected:
            return self._rejected(actor, node_id) if actor.waiting else []
        if report.HasField("failure"):
            return self._incarnation_died(actor, report.failure, at)
        if not actor.waiting:
            return []
        if not report.address.worker_id:
            self.taken(node_id, report)
            return []
        died = self._deaths.get(report.address.worker_id)
        if died is not None:
            return self._incarnation_died(actor, died.cause, at)
        actor.taken = True
        self.placement.keep_promise(actor)
        self.table.move(actor, ActorState.ALIVE)
        self.table.settle_in(actor, report.address.worker_id, report.pid)
        actor.repr_name = report.repr_name
        actor.started_at = actor.started_at or at.wall
        return self._changed(actor)

    def taken(self, node_id: NodeId, report: gcs_pb2.ActorReport) -> None:
        """The node counts what the actor holds, from the same message on; its constructor may run for as long as it
        likes."""
        actor = self.table.get(report.actor_id)
        if actor is not None and (actor.node_id, actor.incarnation) == (node_id, report.incarnation):
            actor.taken = True
            self.placement.keep_promise(actor)

    def worker_died(self, worker: common_pb2.DeadWorker, at: Moment) -> list[Command]:
        """A process is gone: the actor in it, and those that it owned."""
        inside = self.table.in_worker(worker.address.worker_id)
        commands = self._incarnation_died(inside, worker.cause, at) if inside is not None else []
        for actor in self.table.owned_by(worker.address.worker_id):
            commands += self._end(actor, _owner_died(actor, worker.cause.message), at)
        return commands

    def node_died(self, node_id: NodeId, cause: common_pb2.DeathCause, at: Moment) -> list[Command]:
        """Everything there is gone, owners too. Call it after the node has left the table."""
        commands: list[Command] = []
        for actor in self.table.owned_on(node_id):
            commands += self._end(actor, _owner_died(actor, cause.message), at)
        for actor in self.table.on_node(node_id):
            commands += self._incarnation_died(actor, cause, at)
        return commands

    def leave_node(self, node_id: NodeId, why: str, counted: bool = False) -> list[Command]:
        """The node is to go: what may restart begins anew elsewhere; counted: which is a restart of what began there.

        What may not, or is bound to a bundle there, stays until its node ends.
        """
        cause = Cause(kind=Cause.NODE_DIED, node_id=node_id, message=why)
        commands: list[Command] = []
        for actor in self.table.on_node(node_id):
            if actor.may_restart and actor.group_id is None:
                commands += self._tell_end(actor, cause, graceful=True)
                actor.restarts += counted and actor.taken
                commands += self._restart(actor, cause)
        return commands

    def node_left(self, node_id: NodeId) -> list[Command]:
        """The node has said all that it had to say: what it was told to start, and did not, begins elsewhere."""
        commands: list[Command] = []
        for actor in self.table.on_node(node_id):
            if actor.waiting and not actor.taken:
                self._unplace(actor)
                commands += self._changed(actor)
        return commands

    def group_removed(self, group_id: PlacementGroupId, cause: common_pb2.DeathCause, at: Moment) -> list[Command]:
        """Those who live in that placement group, or wait for a bundle of it, end with it."""
        return [command for actor in self.table.in_group(group_id) for command in self._end(actor, cause, at)]

    @property
    def has_buried(self) -> bool:
        """Whether take_buried() has somebody."""
        return bool(self._buried)

    def take_buried(self) -> list[ActorId]:
        """Those that died for good since this was asked last; what they owned ends too."""
        buried, self._buried = self._buried, []
        return buried

    def job_ended(self, job_id: bytes, at: Moment) -> list[Command]:
        commands: list[Command] = []
        # Decided before any of them goes, for a child is spared through its parents.
        for actor in [actor for actor in self.table.of_job(job_id) if not self.table.outlives_job(actor)]:
            commands += self._end(actor, Cause(kind=Cause.JOB_FINISHED, message="its job has ended"), at)
        return commands

    # ---- placing ----

    def place(self, at: Moment) -> list[Command]:
        """Send those who wait to nodes, if anything changed since the last time."""
        commands: list[Command] = []
        for decision in self.placement.decide(at):
            actor = decision.actor
            if isinstance(decision, Placed):
                actor.incarnation += 1
                self.table.put_on(actor, decision.node_id)
                commands += [Persist(*actor.status_record()), *self.start_again(actor)]
            else:
                commands += self._end(actor, Cause(kind=decision.kind, message=decision.reason), at)
        return [*commands, *self.placement.complain(at)]

    def start_again(self, actor: Actor) -> list[Command]:
        """Tell its node to start it; a node that is at it already ignores the repeat."""
        if actor.node_id is None:
            return []
        create = gcs_pb2.CreateActor(spec=self.table.full_spec(actor), incarnation=actor.incarnation)
        if actor.bundle_index is not None:
            create.bundle_index = actor.bundle_index + 1
        job = self._jobs.get(actor.spec.job_id)
        if job is not None and job.finished:
            create.job.CopyFrom(job)
        return self._nodes.tell(actor.node_id, gcs_pb2.GcsToNode(create_actor=create))

    # ---- inside ----

    def _new_actor(self, wanted: actor_pb2.ActorSpec) -> tuple[Actor, worker_pb2.Definition]:
        """raises: RequestRefused for what cannot become an actor."""
        need_size("owner's node id", wanted.owner.node_id, NODE_ID_SIZE)
        need_size("owner's worker id", wanted.owner.worker_id, WORKER_ID_SIZE)
        parent = self.table.in_worker(wanted.owner.worker_id)
        lasting = wanted.detached or (parent is not None and self.table.outlives_job(parent))
        if not self._jobs.is_running(wanted.job_id) and not (lasting and parent is not None):
            raise RequestRefused(INVALID, f"job {wanted.job_id.hex()!r} is unknown or has ended; register it first")
        if wanted.max_restarts < -1:
            raise RequestRefused(INVALID, f"max_restarts is {wanted.max_restarts}; use -1 (for ever), 0 or more")
        _check_size(wanted)
        definition = worker_pb2.Definition()
        definition.CopyFrom(wanted.definition)
        spec = actor_pb2.ActorSpec()
        spec.CopyFrom(wanted)
        spec.definition.ClearField("pickled")
        try:
            actor = Actor(spec, definition_key(definition.pickled))
            _ = actor.request
            return actor, definition
        except ValueError as error:
            raise RequestRefused(INVALID, f"class {wanted.class_name!r}: {error}") from error

    def _known(self, actor_id: bytes) -> Actor:
        actor = self.table.get(need_size("actor id", actor_id, ACTOR_ID_SIZE))
        if actor is None:
            raise RequestRefused(NOT_FOUND, f"there is no actor {actor_id.hex()}")
        return actor

    def _owner_death(self, actor: Actor) -> common_pb2.DeathCause | None:
        """Why the owner of a new actor is dead already, if it is."""
        owner = actor.spec.owner
        dead = self._deaths.get(owner.worker_id)
        if dead is not None:
            return _owner_died(actor, dead.cause.message)
        if self._nodes.death_of(owner.node_id) is not None:
            return _owner_died(actor, f"its node {owner.node_id.hex()} is dead")
        return None

    def _rejected(self, actor: Actor, node_id: NodeId) -> list[Command]:
        """The node could not take it; ask elsewhere, and there only after its next word on what is free."""
        node = self._nodes.get(node_id)
        if node is not None:
            self._nodes.distrust(node)
        self._unplace(actor)
        return [Persist(*actor.status_record()), note("actor_rejected", actor_id=actor.id, node_id=node_id)]

    def _unplace(self, actor: Actor) -> None:
        self.placement.withdraw(actor)
        actor.bundle_index = None
        self.table.take_off(actor)
        actor.pending_reason = "waiting to be placed"
        self.placement.enqueue(actor)

    def _incarnation_died(self, actor: Actor, cause: common_pb2.DeathCause, at: Moment) -> list[Command]:
        """Its process is gone: start another if that is allowed."""
        if cause.kind in NO_RESTART or not actor.may_restart:
            return self._bury(actor, cause, at)
        actor.restarts += 1
        return self._restart(actor, cause)

    def _restart(self, actor: Actor, cause: common_pb2.DeathCause) -> list[Command]:
        self.table.move(actor, ActorState.RESTARTING)
        actor.death_cause = Cause()  # of its own: the news that tells of it may hold much else
        actor.death_cause.CopyFrom(cause)
        self._unplace(actor)
        restarting = note("actor_restarting", actor_id=actor.id, restarts=actor.restarts, cause=cause.message)
        return [*self._changed(actor), restarting]

    def _end(self, actor: Actor, cause: common_pb2.DeathCause, at: Moment) -> list[Command]:
        """For good, from here: its node is told to end it."""
        if actor.dead:
            return []
        told = self._tell_end(actor, cause, graceful=cause.kind == Cause.OUT_OF_SCOPE)
        return [*self._bury(actor, cause, at), *told]

    def _bury(self, actor: Actor, cause: common_pb2.DeathCause, at: Moment) -> list[Command]:
        self.placement.withdraw(actor)
        self._buried.append(actor.id)
        actor.death_cause, actor.ended_at = cause, at.wall
        commands = [*self.table.bury(actor), *self.names.release(actor.spec)]
        commands += self.subscriptions.push(actor.status())
        return [*commands, note("actor_died", actor_id=actor.id, kind=Cause.Kind.Name(cause.kind), cause=cause.message)]

    def _tell_end(self, actor: Actor, cause: common_pb2.DeathCause, *, graceful: bool) -> list[Command]:
        if actor.node_id is None:
            return []
        end = gcs_pb2.EndActor(actor_id=actor.id, incarnation=actor.incarnation, cause=cause, graceful=graceful)
        return self._nodes.tell(actor.node_id, gcs_pb2.GcsToNode(end_actor=end))

    def _changed(self, actor: Actor) -> list[Command]:
        """Store the new status, and tell those who watch."""
        return [Persist(*actor.status_record()), *self.subscriptions.push(actor.status())]


def _check_size(wanted: actor_pb2.ActorSpec) -> None:
    """raises: RequestRefused for a spec that no message to a node could hold."""
    if wanted.ByteSize() > MAX_SPEC_BYTES:
        raise RequestRefused(
            INVALID,
            f"class {wanted.class_name!r} with its arguments has {wanted.ByteSize()} bytes, over {MAX_SPEC_BYTES}; "
            "pass large values by ray.put",
        )


def superseded(report: gcs_pb2.ActorReport, actor: Actor | None) -> gcs_pb2.EndActor:
    """What a node is told about an incarnation that must not live."""
    cause = Cause(kind=Cause.UNKNOWN, message="a later incarnation took its place")
    if actor is None:
        cause = Cause(kind=Cause.UNKNOWN, message="the cluster does not know this actor")
    elif actor.death_cause is not None:
        cause = actor.death_cause
    return gcs_pb2.EndActor(actor_id=ActorId(report.actor_id), incarnation=report.incarnation, cause=cause)


def _found(actor: Actor, *, existed: bool) -> gcs_pb2.ActorFound:
    return gcs_pb2.ActorFound(spec=actor.public_spec(), status=actor.status(), existed=existed)


def _owner_died(actor: Actor, why: str) -> common_pb2.DeathCause:
    owner = actor.spec.owner.worker_id.hex()
    return Cause(kind=Cause.OWNER_DIED, message=f"its owner, worker {owner}, died: {why or 'no cause was given'}")
