"""One actor: what was asked for, where it is, and its two records."""

from __future__ import annotations

import hashlib

from manta_common.ids import ActorId, NodeId, PlacementGroupId
from manta_common.resources import ResourceSet
from manta_common.scheduling import PlacementGroup, Request, label_selector_from_proto, strategy_from_proto
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, records_pb2

from manta_gcs.actors.actor_state import LEGAL, UNREADY, WAITING, ActorState, IllegalMove
from manta_gcs.kernel.record import Key, Table, id_of, record


def placement_request(spec: actor_pb2.ActorSpec) -> Request:
    """What the policy is asked for. raises: ValueError for a malformed strategy or a negative amount.

    A node must have free what the actor holds as well as what is only needed to place it.
    """
    held = ResourceSet.from_proto(spec.lifetime_resources)
    needed = ResourceSet.from_proto(spec.placement_resources)
    for name, amount in (*held.items(), *needed.items()):
        if amount < 0:
            raise ValueError(f"resource {name!r} is negative: {amount}")
    return Request(
        resources=ResourceSet({name: max(held.get(name), needed.get(name)) for name in {*held, *needed}}),
        strategy=strategy_from_proto(spec.strategy),
        label_selector=label_selector_from_proto(spec.strategy),
        is_actor=True,
    )


def definition_key(definition: bytes) -> str:
    """Under which the GCS keeps a pickled class; its own hash, for a client's digest is only a claim."""
    return hashlib.sha256(definition).hexdigest()


class Actor:
    """The state of an actor; only move() sets `state`.

    spec: without the pickled class, which many actors share; never changed, but for arguments that come late.
    incarnation: rises with each placement, so that a late report of an earlier one is recognised. node_id: where it is
    or shall be.
    """

    __slots__ = (
        "_request",
        "_state",
        "bundle_index",
        "death_cause",
        "definition",
        "ended_at",
        "id",
        "incarnation",
        "node_id",
        "pending_reason",
        "pid",
        "repr_name",
        "restarts",
        "spec",
        "started_at",
        "taken",
        "worker_id",
    )

    def __init__(self, spec: actor_pb2.ActorSpec, definition: str) -> None:
        self.id = ActorId(spec.actor_id)
        self.spec = spec
        self.definition = definition
        self._request: Request | None = None
        self._state = ActorState.DEPENDENCIES_UNREADY
        self.node_id: NodeId | None = None
        self.worker_id = b""
        self.bundle_index: int | None = None  # chosen by this leader, in the actor's placement group
        self.taken = False  # its node has said that it starts this incarnation; of what this leader was told
        self.incarnation = 0
        self.restarts = 0
        self.pid = 0
        self.death_cause: common_pb2.DeathCause | None = None
        self.started_at = 0.0
        self.ended_at = 0.0
        self.repr_name = ""
        self.pending_reason = ""

    @classmethod
    def restored(cls, spec: actor_pb2.ActorSpec, definition: str, status: actor_pb2.ActorStatus) -> Actor:
        """From its two records."""
        actor = cls(spec, definition)
        actor._state = ActorState(status.state)
        actor.node_id = NodeId(status.address.node_id) if status.address.node_id else None
        actor.worker_id = status.address.worker_id
        actor.incarnation, actor.restarts, actor.pid = status.incarnation, status.restarts, status.pid
        actor.death_cause = status.death_cause if status.HasField("death_cause") else None
        actor.started_at, actor.ended_at = status.started_at, status.ended_at
        actor.repr_name = status.repr_name
        return actor

    @property
    def request(self) -> Request:
        """What the policy is asked for. raises: ValueError for a malformed one; the first time, at its registration."""
        if self._request is None:
            self._request = placement_request(self.spec)
        return self._request

    @property
    def state(self) -> ActorState:
        return self._state

    @property
    def waiting(self) -> bool:
        """Whether it is to be started: not placed yet, or its node is at it."""
        return self._state in WAITING

    @property
    def dead(self) -> bool:
        return self._state is ActorState.DEAD

    @property
    def lifetime(self) -> ResourceSet:
        return ResourceSet.from_proto(self.spec.lifetime_resources)

    @property
    def group_id(self) -> PlacementGroupId | None:
        """The placement group that it lives in."""
        use = self.request.strategy
        return use.placement_group_id if isinstance(use, PlacementGroup) else None

    @property
    def may_restart(self) -> bool:
        return self.spec.max_restarts < 0 or self.restarts < self.spec.max_restarts

    def move(self, to: ActorState) -> None:
        """raises: IllegalMove; a bug."""
        if to not in LEGAL[self._state]:
            raise IllegalMove(self.id, self._state, to)
        self._state = to

    def status(self) -> actor_pb2.ActorStatus:
        """A message of its own, which later changes leave alone."""
        status = actor_pb2.ActorStatus(
            actor_id=self.id,
            state=self._state.value,
            incarnation=self.incarnation,
            restarts=self.restarts,
            pid=self.pid,
            started_at=self.started_at,
            ended_at=self.ended_at,
            repr_name=self.repr_name,
            pending_reason=self.pending_reason if self.waiting or self._state in UNREADY else "",
        )
        if self.node_id is not None:
            status.address.node_id = self.node_id
            status.address.worker_id = self.worker_id
        if self.death_cause is not None:
            status.death_cause.CopyFrom(self.death_cause)
        return status

    def bring_arguments(self, spec: actor_pb2.ActorSpec) -> None:
        """What its constructor takes exists by now."""
        self.spec.args.CopyFrom(spec.args)
        del self.spec.arguments[:]
        self.spec.arguments.extend(spec.arguments)

    def public_spec(self) -> actor_pb2.ActorSpec:
        """What a handle needs: without the constructor's arguments."""
        return without_arguments(self.spec)

    def kept(self) -> records_pb2.StoredActor:
        """All that is kept of a dead actor, in one message."""
        return records_pb2.StoredActor(
            spec=without_arguments(self.spec),
            definition_digest=bytes.fromhex(self.definition),
            status=self.status(),
        )

    def status_record(self) -> tuple[Key, records_pb2.StoredRecord]:
        status = self.status()
        status.pending_reason = ""  # made anew at each try
        return Key(Table.ACTOR, id_of(self.id)), record(actor=records_pb2.StoredActor(status=status))

    def spec_record(self) -> tuple[Key, records_pb2.StoredRecord]:
        stored = records_pb2.StoredActor(spec=self.spec, definition_digest=bytes.fromhex(self.definition))
        return Key(Table.ACTOR_SPEC, id_of(self.id)), record(actor=stored)


def without_arguments(spec: actor_pb2.ActorSpec) -> actor_pb2.ActorSpec:
    """A copy that cannot start an actor any more, but describes it."""
    slim = actor_pb2.ActorSpec()
    slim.CopyFrom(spec)
    slim.ClearField("args")
    slim.ClearField("arguments")
    slim.definition.ClearField("pickled")
    return slim
