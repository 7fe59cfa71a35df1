"""What is left of reserved bundles, as their nodes say, and which one an actor gets."""

from __future__ import annotations

from collections.abc import Iterable

from manta_common.ids import NodeId, PlacementGroupId
from manta_common.resources import ResourceSet
from manta_common.scheduling.bundle_use import BundleRefusal, BundleView, choose_bundle
from manta_common.scheduling.strategy import PlacementGroup as GroupUse
from manta_proto.gcs.v1 import placement_group_pb2 as pb

from manta_gcs.kernel.promise import Promises
from manta_gcs.nodes.node import NodeTable
from manta_gcs.placement_groups.placement_group import PlacementGroup
from manta_gcs.placement_groups.placement_group_table import PlacementGroupTable

BundleKey = tuple[PlacementGroupId, int]


class BundleUse:
    """Nodes name the bundles in use whenever that changes; a bundle that none names is idle."""

    def __init__(self, table: PlacementGroupTable, nodes: NodeTable) -> None:
        self._table, self._nodes = table, nodes
        self._left: dict[NodeId, dict[BundleKey, ResourceSet]] = {}
        self.promises: Promises[BundleKey] = Promises(lambda key: self.changed(key[0]))
        self._changed: dict[PlacementGroupId, None] = {}
        self._changes = 0

    @property
    def version(self) -> int:
        """Rises whenever something may fit into a bundle that did not before; news of its node are the nodes' own."""
        return self._changes

    def changed(self, group_id: PlacementGroupId) -> None:
        """Its views are not what they were: who waits for a bundle looks again, who watches the group is told."""
        self._changed[group_id] = None
        self._changes += 1

    def take_changed(self) -> list[PlacementGroupId]:
        """The groups that changed since this was asked last."""
        changed, self._changed = self._changed, {}
        return list(changed)

    def update(self, node_id: NodeId, used: Iterable[pb.HeldBundle]) -> None:
        """A node's present bundles in use."""
        before = self._left.get(node_id, {})
        now = {
            (PlacementGroupId(bundle.placement_group_id), bundle.index): ResourceSet.from_proto(bundle.available)
            for bundle in used
            if bundle.HasField("available")
        }
        self._left[node_id] = now
        for group_id in {key[0] for key in before.keys() | now.keys() if before.get(key) != now.get(key)}:
            self.changed(group_id)

    def drop_node(self, node_id: NodeId) -> None:
        self._left.pop(node_id, None)

    def left_of(self, group: PlacementGroup, index: int, node_id: NodeId) -> ResourceSet:
        """What the node says is left of a bundle that it holds."""
        return self._left.get(node_id, {}).get((group.id, index), group.bundles[index].resources)

    def views(self, group: PlacementGroup) -> list[BundleView]:
        """All bundles of a group; those that are not committed have no node yet."""
        usable = {held.index: held.node_id for held in group.reservation.usable()}
        found = []
        for index, bundle in enumerate(group.bundles):
            node_id = usable.get(index)
            if node_id is None:
                view = BundleView(index=index, node_id=None, total=bundle.resources, available=ResourceSet())
            else:
                node = self._nodes.get(node_id)
                left = self.left_of(group, index, node_id) - self.promises.out_of((group.id, index))
                takes_new = node is not None and node.schedulable
                view = BundleView(
                    index=index, node_id=node_id, total=bundle.resources, available=left, usable=takes_new
                )
            found.append(view)
        return found

    def gone(self, group_id: PlacementGroupId) -> bool:
        """Whether the group was removed; one that is not known was removed long ago, for its id was acknowledged
        before anybody could use it."""
        group = self._table.get(group_id)
        return group is None or group.removed

    def choose(self, resources: ResourceSet, use: GroupUse, held: ResourceSet) -> BundleView | BundleRefusal:
        """A bundle for an actor. held: what it will hold of `resources`; enough where no bundle has more free.

        A group that is removed or unknown is a final refusal: its ids do not come back.
        """
        group = self._table.get(use.placement_group_id)
        if group is None or self.gone(group.id):
            return BundleRefusal(f"placement group {use.placement_group_id.hex()} was removed", final=True)
        return choose_bundle(resources, use.bundle_index, self.views(group), held=held)
