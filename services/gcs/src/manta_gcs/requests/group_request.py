"""What clients may ask about placement groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manta_common.ids import ACTOR_ID_SIZE, NODE_ID_SIZE, PLACEMENT_GROUP_ID_SIZE, NodeId
from manta_proto.gcs.v1 import gcs_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as pb

from manta_gcs.kernel.commands import Command
from manta_gcs.kernel.events import ClientAsked
from manta_gcs.kernel.refusal import ALREADY_EXISTS, INVALID, NOT_FOUND, RequestRefused, need_size
from manta_gcs.placement_groups.group_state import GroupState
from manta_gcs.placement_groups.placement_group import PlacementGroup

if TYPE_CHECKING:
    from manta_gcs.core.core import GcsCore

# The reply, None when it comes later, and what the request leads to.
Outcome = tuple[gcs_pb2.GcsReply | None, list[Command]]
MAX_BUNDLES = 10_000  # of one group: its record must fit into one txn


class GroupRequests:
    """As ClientRequests, for one kind of thing. raises: RequestRefused before anything has changed."""

    def __init__(self, core: GcsCore) -> None:
        self._core = core

    def create(self, event: ClientAsked) -> Outcome:
        """A new group, or the one there already when the request is a repeat."""
        core, wanted = self._core, event.request.create_placement_group.spec
        need_size("placement group id", wanted.placement_group_id, PLACEMENT_GROUP_ID_SIZE)
        known = core.groups.table.get(wanted.placement_group_id)
        if known is not None:
            return core.groups.answer(known), []
        spec = self._checked(wanted)
        try:
            group = core.groups.add(spec, event.at)
        except ValueError as error:
            raise RequestRefused(INVALID, f"placement group {wanted.name!r}: {error}") from error
        return core.groups.answer(group), []

    def wait(self, event: ClientAsked) -> Outcome:
        group = self._known(event.request.await_placement_group.placement_group_id)
        if group.removed or group.state is GroupState.CREATED:
            return self._core.groups.answer(group), []
        self._core.groups.audience.wait(group.id, event.session, event.request.request_id)
        return None, []

    def remove(self, event: ClientAsked) -> Outcome:
        """Nothing for one that is removed, or was long ago."""
        group_id = event.request.remove_placement_group.placement_group_id
        group = self._core.groups.table.get(need_size("placement group id", group_id, PLACEMENT_GROUP_ID_SIZE))
        commands = self._core.remove_group(group, "by remove_placement_group()", event.at) if group else []
        return gcs_pb2.GcsReply(done=gcs_pb2.Empty()), commands

    def find(self, event: ClientAsked) -> Outcome:
        wanted = event.request.find_placement_group
        if wanted.placement_group_id:
            group = self._known(wanted.placement_group_id)
        else:
            group = self._named(wanted.ray_namespace, wanted.name)
        return gcs_pb2.GcsReply(placement_group_found=self._core.groups.info(group)), []

    def listing(self, event: ClientAsked) -> Outcome:
        groups = self._core.groups
        items = [groups.info(group) for group in groups.table]
        return gcs_pb2.GcsReply(placement_group_list=pb.PlacementGroupList(items=items)), []

    def bundles_on(self, node_id: NodeId) -> list[pb.HeldBundle]:
        """What groups have reserved on a node, and what their users have left of it."""
        found = []
        for group in self._core.groups.table.on_node(node_id):
            for held in group.reservation.usable():
                if held.node_id != node_id:
                    continue
                bundle = pb.HeldBundle(
                    placement_group_id=group.id, index=held.index, attempt=held.attempt, committed=True
                )
                bundle.resources.CopyFrom(group.bundles[held.index].resources.to_proto())
                bundle.available.CopyFrom(self._core.groups.use.left_of(group, held.index, node_id).to_proto())
                found.append(bundle)
        return found

    def _known(self, group_id: bytes) -> PlacementGroup:
        group = self._core.groups.table.get(need_size("placement group id", group_id, PLACEMENT_GROUP_ID_SIZE))
        if group is None:
            raise RequestRefused(NOT_FOUND, f"there is no placement group {group_id.hex()}")
        return group

    def _named(self, namespace: str, name: str) -> PlacementGroup:
        """Of the asker's namespace, else of any other, when only one there has that name."""
        table = self._core.groups.table
        group = table.named(namespace, name)
        if group is not None:
            return group
        others = table.named_anywhere(name)
        if len(others) == 1:
            return others[0]
        if others:
            spaces = ", ".join(sorted(repr(other.spec.ray_namespace) for other in others))
            raise RequestRefused(
                NOT_FOUND, f"several placement groups are named {name!r}, in the namespaces {spaces}; join one of them"
            )
        raise RequestRefused(NOT_FOUND, f"no placement group is named {name!r}")

    def _checked(self, wanted: pb.PlacementGroupSpec) -> pb.PlacementGroupSpec:
        """The spec as it is kept, with the actor that owns it."""
        core = self._core
        if wanted.strategy not in pb.PlacementGroupSpec.Strategy.values():
            raise RequestRefused(INVALID, f"strategy {wanted.strategy} is unknown to this GCS; upgrade it")
        if len(wanted.bundles) > MAX_BUNDLES:
            raise RequestRefused(
                INVALID, f"{len(wanted.bundles)} bundles are more than the {MAX_BUNDLES} that a group may have"
            )
        if wanted.soft_target_node_id:
            need_size("soft target node id", wanted.soft_target_node_id, NODE_ID_SIZE)
        if wanted.name:
            holder = core.groups.table.named(wanted.ray_namespace, wanted.name)
            if holder is not None:
                raise RequestRefused(
                    ALREADY_EXISTS,
                    f"Failed to create placement group '{wanted.placement_group_id.hex()}' because name "
                    f"'{wanted.name}' already exists.",
                )
        spec = pb.PlacementGroupSpec()
        spec.CopyFrom(wanted)
        spec.ClearField("owner_actor_id")
        if not wanted.detached:
            creator = core.actors.table.in_worker(wanted.creator.worker_id)
            lasting = creator is not None and core.actors.table.outlives_job(creator)
            if creator is not None and lasting:
                spec.owner_actor_id = need_size("actor id", creator.id, ACTOR_ID_SIZE)
            elif not core.jobs.is_running(wanted.creator_job_id):
                raise RequestRefused(
                    INVALID, f"job {wanted.creator_job_id.hex()!r} is unknown or has ended; use lifetime='detached'"
                )
        return spec
