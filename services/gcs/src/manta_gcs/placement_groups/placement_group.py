"""One placement group: what was asked for, how far it has come, and its record."""

from __future__ import annotations

from manta_common.ids import ActorId, NodeId, PlacementGroupId
from manta_common.resources import ResourceSet
from manta_common.scheduling.bundles import BundleRequest, BundleStrategy, GroupRequest
from manta_common.scheduling.strategy import LabelConstraint
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as pb
from manta_proto.gcs.v1 import records_pb2

from manta_gcs.kernel.record import Key, Table, id_of, record
from manta_gcs.placement_groups.bundle_reservation import BundleReservation, Held
from manta_gcs.placement_groups.group_state import LEGAL, GroupState, IllegalGroupMove

Progress = pb.PlacementGroupStatus.SchedulingState
# Who is placed first: 0 for lost bundles, 1 for a new group; then the order of arrival.
Rank = tuple[int, int]


def bundle_requests(spec: pb.PlacementGroupSpec) -> tuple[BundleRequest, ...]:
    """raises: ValueError naming the bundle that cannot be."""
    found = []
    for index, bundle in enumerate(spec.bundles):
        resources = ResourceSet.from_proto(bundle.resources)
        if not resources or any(amount < 0 for amount in resources.values()):
            raise ValueError(f"bundle {index} must ask for something, and for nothing below 0: {resources}")
        labels = tuple(LabelConstraint.from_proto(label) for label in bundle.label_selector)
        found.append(BundleRequest(resources, labels))
    if not found:
        raise ValueError("a placement group has at least one bundle")
    return tuple(found)


class PlacementGroup:
    """The state of a group; only move() sets `state`.

    spec: never changed. order: rises from group to group, in the order of their requests. rank: its place among those
    that want nodes. created_at: 0 as long as it
    was never CREATED, and then it falls back to PENDING when a node dies.
    """

    __slots__ = (
        "_state",
        "attempted_at",
        "attempts",
        "bundles",
        "cause",
        "created_at",
        "ended_at",
        "id",
        "order",
        "rank",
        "requested_at",
        "reservation",
        "spec",
        "strategy",
    )

    def __init__(self, spec: pb.PlacementGroupSpec, order: int, requested_at: float) -> None:
        """raises: ValueError for bundles that cannot be."""
        self.id = PlacementGroupId(spec.placement_group_id)
        self.spec = spec
        self.order = order
        self.rank: Rank = (1, order)
        self.bundles = bundle_requests(spec)
        self.strategy = BundleStrategy[pb.PlacementGroupSpec.Strategy.Name(spec.strategy)]
        self.reservation = BundleReservation(len(self.bundles))
        self._state = GroupState.PENDING
        self.requested_at = requested_at
        self.created_at = 0.0
        self.ended_at = 0.0
        self.attempted_at = 0.0
        self.attempts = 0
        self.cause: common_pb2.DeathCause | None = None

    @classmethod
    def restored(cls, info: pb.PlacementGroupInfo, order: int) -> PlacementGroup:
        """From its record."""
        group = cls(info.spec, order, info.status.requested_at)
        status = info.status
        group._state = GroupState(status.state)
        placed = [
            Held(index, NodeId(bundle.node_id), bundle.attempt)
            for index, bundle in enumerate(status.bundles)
            if bundle.node_id
        ]
        created = group._state is GroupState.CREATED
        group.reservation = BundleReservation(len(group.bundles), placed, committed=created)
        group.created_at, group.ended_at = status.created_at, status.ended_at
        group.attempted_at, group.attempts = status.attempted_at, status.attempts
        group.cause = status.cause if status.HasField("cause") else None
        return group

    @property
    def state(self) -> GroupState:
        return self._state

    @property
    def removed(self) -> bool:
        return self._state is GroupState.REMOVED

    @property
    def owner(self) -> ActorId | None:
        """The detached actor with which it ends."""
        return ActorId(self.spec.owner_actor_id) if self.spec.owner_actor_id else None

    @property
    def of_job(self) -> bool:
        """Whether it ends with its creator's job."""
        return not self.spec.detached and not self.spec.owner_actor_id

    def move(self, to: GroupState) -> None:
        """raises: IllegalGroupMove; a bug."""
        if to not in LEGAL[self._state]:
            raise IllegalGroupMove(self.id, self._state, to)
        self._state = to

    def wanted(self) -> GroupRequest:
        """What a plan is made for: the bundles that no node holds, beside those that one does."""
        reservation = self.reservation
        return GroupRequest(
            bundles=tuple(self.bundles[index] for index in reservation.missing),
            strategy=self.strategy,
            kept=tuple(reservation.placed[index].node_id for index in sorted(reservation.placed)),
            soft_target=NodeId(self.spec.soft_target_node_id) if self.spec.soft_target_node_id else None,
        )

    def status(self, progress: Progress = pb.PlacementGroupStatus.QUEUED, why: str = "") -> pb.PlacementGroupStatus:
        """A message of its own, which later changes leave alone. progress, why: of placing, while it is not done."""
        status = self._recorded()
        if self._state is GroupState.CREATED:
            status.scheduling_state = pb.PlacementGroupStatus.FINISHED
        elif self.removed:
            status.scheduling_state = pb.PlacementGroupStatus.REMOVED
        else:
            status.scheduling_state = progress
            status.pending_reason = why
        return status

    def record(self) -> tuple[Key, records_pb2.StoredRecord]:
        stored = pb.PlacementGroupInfo(spec=self.spec, status=self._recorded())
        return key_of(self.id), record(placement_group=stored)

    def _recorded(self) -> pb.PlacementGroupStatus:
        status = pb.PlacementGroupStatus(
            placement_group_id=self.id,
            state=self._state.value,
            requested_at=self.requested_at,
            created_at=self.created_at,
            ended_at=self.ended_at,
            attempted_at=self.attempted_at,
            attempts=self.attempts,
            cause=self.cause,
        )
        placed = self.reservation.placed
        for index in range(len(self.bundles)):
            held = placed.get(index)
            if held is None:
                status.bundles.add()
            else:
                status.bundles.add(node_id=held.node_id, attempt=held.attempt)
        return status


def key_of(group_id: PlacementGroupId) -> Key:
    return Key(Table.PLACEMENT_GROUP, id_of(group_id))
