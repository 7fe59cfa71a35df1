"""The other nodes as this raylet knows them: addresses, free resources less what it sent there, deaths."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from manta.common.ids import NodeId
from manta.common.resources import ResourceSet
from manta.common.scheduling import NodeView
from manta.proto.common.v1 import common_pb2

# Enough to answer a watcher that asks late; older ones are unknown nodes.
DEAD_NODES_KEPT: Final = 1_000


class NodeTable:
    """Living nodes by id, and the last dead ones. The own node is not in it."""

    def __init__(self) -> None:
        self._infos: dict[NodeId, common_pb2.NodeInfo] = {}
        self._totals: dict[NodeId, ResourceSet] = {}
        self._available: dict[NodeId, ResourceSet] = {}
        self._dead: OrderedDict[NodeId, common_pb2.NodeInfo] = OrderedDict()
        self._spread: dict[NodeId, int] = {}

    def put(self, info: common_pb2.NodeInfo) -> bool:
        """Learn of a node. returns: whether it died by this news; death is final and told once."""
        node_id = NodeId(info.node_id)
        if node_id in self._dead:
            return False
        if info.state == common_pb2.NodeInfo.DEAD:
            for table in (self._infos, self._totals, self._available, self._spread):
                table.pop(node_id, None)
            self._dead[node_id] = info
            if len(self._dead) > DEAD_NODES_KEPT:
                self._dead.popitem(last=False)
            return True
        self._infos[node_id] = info
        total = ResourceSet.from_proto(info.total)
        self._totals[node_id] = total
        self._available.setdefault(node_id, total)
        # A new node must not get every spread task until it has caught up with the others.
        self._spread.setdefault(node_id, min(self._spread.values(), default=0))
        return False

    def set_available(self, node_id: NodeId, available: ResourceSet) -> None:
        """News of what is free there; it replaces what this raylet had subtracted."""
        if node_id in self._infos:
            self._available[node_id] = available

    def retain(self, living: set[NodeId]) -> list[NodeId]:
        """Only these are alive, says a GCS that has just accepted us. returns: those that are gone, to be told."""
        return [node_id for node_id in self._infos if node_id not in living]

    def sent_to(self, node_id: NodeId, resources: ResourceSet) -> None:
        """One unit goes there: until news arrive, its resources count as taken."""
        if node_id in self._available:
            self._available[node_id] = self._available[node_id] - resources

    def count_spread(self, node_id: NodeId) -> None:
        self._spread[node_id] = self._spread.get(node_id, 0) + 1

    def spread_count(self, node_id: NodeId) -> int:
        return self._spread.get(node_id, 0)

    def address(self, node_id: NodeId) -> str:
        """host:port of the raylet there. raises: KeyError for a node that is not alive."""
        return self._infos[node_id].raylet_address

    def is_dead(self, node_id: NodeId) -> bool:
        return node_id in self._dead

    def dead_info(self, node_id: NodeId) -> common_pb2.NodeInfo | None:
        return self._dead.get(node_id)

    def infos(self) -> list[common_pb2.NodeInfo]:
        """Living ones, then the dead ones that are remembered."""
        return [*self._infos.values(), *self._dead.values()]

    def living(self) -> list[NodeId]:
        return list(self._infos)

    def feasible(self, resources: ResourceSet) -> list[NodeId]:
        """Living nodes that could hold the resources when idle, lowest id first."""
        return sorted(
            node_id
            for node_id, total in self._totals.items()
            if total.covers(resources) and self._infos[node_id].state == common_pb2.NodeInfo.ALIVE
        )

    def views(self, spread: bool) -> dict[NodeId, NodeView]:
        """What the policies see. spread: count as running what this raylet has spread there before."""
        return {
            node_id: NodeView(
                node_id=node_id,
                total=self._totals[node_id],
                available=self._available[node_id],
                labels=info.labels,
                running=self._spread[node_id] if spread else 0,
                schedulable=info.state == common_pb2.NodeInfo.ALIVE,
            )
            for node_id, info in self._infos.items()
        }
