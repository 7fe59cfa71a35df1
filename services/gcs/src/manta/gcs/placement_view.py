"""The nodes as actors are placed on them, kept from one decision to the next."""

from __future__ import annotations

from manta.common.ids import NodeId
from manta.common.scheduling import ClusterIndex, NodeView
from manta.gcs.actor_table import ActorTable
from manta.gcs.node import Node, NodeTable
from manta.gcs.promise import Promises
from manta.proto.common.v1 import common_pb2


class PlacementView:
    """What nodes have, less what they were promised to give and do not count yet."""

    def __init__(self, nodes: NodeTable, actors: ActorTable, promises: Promises[NodeId]) -> None:
        self._nodes, self._actors, self._promises = nodes, actors, promises
        self._index = ClusterIndex()
        # What each node's entry was made of: a node that attaches anew has another one.
        self._infos: dict[NodeId, common_pb2.NodeInfo] = {}

    def current(self) -> ClusterIndex:
        """The view as of now; what the caller puts into it holds until the node's own count says otherwise.

        cost: a comparison for each node; only what changed is ranked anew.
        """
        index = self._index
        for node in self._nodes:
            self._take(node)
        if len(index) > len(self._nodes):
            for node_id in [node_id for node_id in index if self._nodes.get(node_id) is None]:
                index.remove(node_id)
                del self._infos[node_id]
        return index

    def _take(self, node: Node) -> None:
        node_id = node.id
        promised = self._promises.out_of(node_id)
        available = node.available - promised if promised else node.available
        running = self._actors.count_on(node_id)
        seen = self._index.get(node_id)
        if (
            seen is not None
            and self._infos[node_id] is node.info
            and seen.available == available
            and seen.running == running
            and seen.schedulable == node.schedulable
        ):
            return
        self._infos[node_id] = node.info
        self._index.put(
            NodeView(
                node_id=node_id,
                total=node.total,
                available=available,
                labels=dict(node.info.labels),
                running=running,
                schedulable=node.schedulable,
            )
        )
