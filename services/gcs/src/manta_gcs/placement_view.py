"""The nodes as actors and bundles are placed on them, kept from one decision to the next."""

from __future__ import annotations

from dataclasses import replace

from manta_common.ids import NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling import ClusterIndex, NodeView

from manta_gcs.actor_table import ActorTable
from manta_gcs.node import Node, NodeTable
from manta_gcs.promise import Promises


class PlacementView:
    """What nodes have, less what they were promised to give and do not count yet.

    The tables name the nodes that changed in `nodes.changed`; nobody else may take them out of it.
    """

    def __init__(self, nodes: NodeTable, actors: ActorTable, promises: Promises[NodeId]) -> None:
        self._nodes, self._actors, self._promises = nodes, actors, promises
        self._index = ClusterIndex()

    def current(self) -> ClusterIndex:
        """The view as the tables have it. cost: O(nodes that changed since the last call)."""
        changed = self._nodes.changed
        while changed:
            node_id = changed.pop()
            node = self._nodes.get(node_id)
            if node is None:
                self._index.remove(node_id)
            else:
                self._take(node)
        return self._index

    def take(self, node_id: NodeId, amount: ResourceSet, running: int = 0) -> None:
        """Count so much as used until current() is called next; by then it is promised, or was only set aside."""
        seen = self._index[node_id]
        self._index.put(replace(seen, available=seen.available - amount, running=seen.running + running))
        self._nodes.changed.add(node_id)

    def _take(self, node: Node) -> None:
        promised = self._promises.out_of(node.id)
        self._index.put(
            NodeView(
                node_id=node.id,
                total=node.total,
                available=node.available - promised if promised else node.available,
                labels=dict(node.info.labels),
                running=self._actors.count_on(node.id),
                schedulable=node.schedulable,
            )
        )
