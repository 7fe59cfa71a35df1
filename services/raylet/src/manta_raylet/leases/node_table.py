"""The other nodes as this raylet knows them: addresses, free resources less what it sent there, deaths."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from manta_common.ids import NodeId
from manta_common.kept_messages import KeptMessages
from manta_common.resources import ResourceSet
from manta_common.scheduling import ClusterIndex, NodeView
from manta_proto.common.v1 import common_pb2

# A unit sent to a node counts there until that node tells what it has free, or so many ticks of a second have passed:
# a unit that never arrived leads to no news, and must not make the node look busy for ever.
_PROMISE_TICKS: Final = 2

# Enough to answer a watcher that asks late; older ones are unknown nodes.
DEAD_NODES_KEPT: Final = 1_000
DEAD_NODES_BYTES: Final = 4 * 1024 * 1024


class NodeTable:
    """Living nodes by id, and the last dead ones.

    view: what the policies see of the living ones. The own node is in it, put there by who knows its ledger, and in
    nothing else here.
    """

    def __init__(self) -> None:
        self.view = ClusterIndex()
        self._infos: dict[NodeId, common_pb2.NodeInfo] = {}
        self._spreads = False  # whether SPREAD has sent anything anywhere yet
        # Nodes that were sent something since their last news: what they had told, and how many ticks it is ago.
        self._told: dict[NodeId, tuple[ResourceSet, int]] = {}
        self._dead: KeptMessages[NodeId, common_pb2.NodeInfo] = KeptMessages(
            common_pb2.NodeInfo.FromString, DEAD_NODES_KEPT, DEAD_NODES_BYTES
        )

    def put(self, info: common_pb2.NodeInfo) -> bool:
        """Learn of a node. returns: whether it died by this news; death is final and told once."""
        node_id = NodeId(info.node_id)
        if node_id in self._dead:
            return False
        if info.state == common_pb2.NodeInfo.DEAD:
            self._infos.pop(node_id, None)
            self._told.pop(node_id, None)
            self.view.remove(node_id)
            self._dead.add(node_id, info)
            return True
        known = self.view.get(node_id) if node_id in self._infos else None
        self._infos[node_id] = info
        total = ResourceSet.from_proto(info.total)
        self.view.put(
            NodeView(
                node_id=node_id,
                total=total,
                available=known.available if known is not None else total,
                labels=dict(info.labels),
                # A new node must not get every spread task until it has caught up with the others.
                spread=known.spread if known is not None else self._least_spread(),
                schedulable=info.state == common_pb2.NodeInfo.ALIVE,
            )
        )
        return False

    def _least_spread(self) -> int:
        if not self._spreads:
            return 0
        return min((self.view[node_id].spread for node_id in self._infos if node_id in self.view), default=0)

    def set_available(self, node_id: NodeId, available: ResourceSet) -> None:
        """News of what is free there; it replaces what this raylet had subtracted."""
        self._told.pop(node_id, None)
        if node_id in self._infos and self.view[node_id].available != available:
            self.view.put(replace(self.view[node_id], available=available))

    def retain(self, living: set[NodeId]) -> list[NodeId]:
        """Only these are alive, says a GCS that has just accepted us. returns: those that are gone, to be told."""
        return [node_id for node_id in self._infos if node_id not in living]

    def sent_to(self, node_id: NodeId, resources: ResourceSet, *, spread: bool) -> None:
        """One unit goes there: until news arrive, its resources count as taken. spread: for the sake of SPREAD."""
        self._spreads = self._spreads or spread
        node = self.view[node_id]
        told, _ = self._told.get(node_id, (node.available, 0))
        self._told[node_id] = (told, 0)
        self.view.put(replace(node, available=node.available - resources, spread=node.spread + spread))

    def tick(self) -> None:
        """Once a second: what nodes were sent long ago and never spoke of does not count any more."""
        for node_id, (told, ticks) in list(self._told.items()):
            if ticks + 1 >= _PROMISE_TICKS:
                self.set_available(node_id, told)
            else:
                self._told[node_id] = (told, ticks + 1)

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

    def heard_of(self, node_id: NodeId) -> bool:
        return node_id in self._infos or node_id in self._dead

    def is_living(self, node_id: NodeId) -> bool:
        return node_id in self._infos
