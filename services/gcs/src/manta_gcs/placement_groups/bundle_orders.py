"""What raylets are to be told about bundles; all orders of one batch for a node leave in one message."""

from __future__ import annotations

from collections.abc import Iterable

from manta_common.ids import NodeId
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as pb

from manta_gcs.kernel.commands import Command
from manta_gcs.nodes.node import NodeTable
from manta_gcs.placement_groups.bundle_reservation import Held
from manta_gcs.placement_groups.placement_group import PlacementGroup


class BundleOrders:
    """In the order given. For a node out of touch they are void: it hears all it needs when it attaches."""

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self._waiting: dict[NodeId, pb.BundleOrders] = {}

    def prepare(self, group: PlacementGroup, bundles: Iterable[Held]) -> None:
        for held in bundles:
            order = self._add(pb.BundleOrder.PREPARE, group.id, held)
            order.resources.CopyFrom(group.bundles[held.index].resources.to_proto())

    def commit(self, group: PlacementGroup, bundles: Iterable[Held]) -> None:
        for held in bundles:
            self._add(pb.BundleOrder.COMMIT, group.id, held)

    def return_(self, group_id: bytes, bundles: Iterable[Held], cause: common_pb2.DeathCause) -> None:
        """cause: why those end who use them."""
        for held in bundles:
            self._add(pb.BundleOrder.RETURN, group_id, held).cause.CopyFrom(cause)

    def flush(self) -> list[Command]:
        waiting, self._waiting = self._waiting, {}
        commands: list[Command] = []
        for node_id, orders in waiting.items():
            commands += self._nodes.tell(node_id, gcs_pb2.GcsToNode(bundle_orders=orders))
        return commands

    def _add(self, action: pb.BundleOrder.Action, group_id: bytes, held: Held) -> pb.BundleOrder:
        orders = self._waiting.get(held.node_id)
        if orders is None:
            orders = self._waiting[held.node_id] = pb.BundleOrders()
        return orders.orders.add(action=action, placement_group_id=group_id, index=held.index, attempt=held.attempt)
