"""The nodes as actors and bundles are placed on them, kept from one decision to the next, and when to decide anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from manta_common.ids import NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling import ClusterIndex, NodeView

from manta_gcs.kernel.promise import Promises
from manta_gcs.nodes.node import Node, NodeTable


class PlacementView:
    """What nodes have, less what they were promised to give and do not count yet.

    The tables name the nodes that changed in `nodes.changed`; nobody else may take them out of it. Whoever waits
    compares `version` with that of its last decision. So every event that changes a node or a promise wakes whoever it
    could help, whatever the event is called.
    """

    def __init__(self, nodes: NodeTable, running: Callable[[NodeId], int], promises: Promises[NodeId]) -> None:
        """running: how many actors are on a node."""
        self._nodes, self._running, self._promises = nodes, running, promises
        self._index = ClusterIndex()
        # How nodes looked before take(), which is not news.
        self._untouched: dict[NodeId, NodeView] = {}
        self._version = 0
        self._changes = 0

    @property
    def version(self) -> int:
        """Rises whenever something may fit that did not before. cost: as current()."""
        self.current()
        return self._version

    @property
    def changes(self) -> int:
        """Rises with every change, also one that leaves less room. cost: as current()."""
        self.current()
        return self._changes

    def current(self) -> ClusterIndex:
        """The view as the tables have it. cost: O(nodes that changed since the last call)."""
        changed = self._nodes.changed
        while changed:
            node_id = changed.pop()
            node = self._nodes.get(node_id)
            if node is None:
                self._index.remove(node_id)
                self._untouched.pop(node_id, None)
                self._version += 1  # who may run only there need wait no longer
                self._changes += 1
            else:
                self._take(node)
        return self._index

    def take(self, node_id: NodeId, amount: ResourceSet, running: int = 0) -> None:
        """Count so much as used until current() is called next; by then it is promised, or was only set aside."""
        seen = self._index[node_id]
        self._untouched.setdefault(node_id, seen)
        self._index.put(replace(seen, available=seen.available - amount, running=seen.running + running))
        self._nodes.changed.add(node_id)

    def _take(self, node: Node) -> None:
        promised = self._promises.out_of(node.id)
        view = NodeView(
            node_id=node.id,
            total=node.total,
            available=node.available - promised if promised else node.available,
            labels=dict(node.info.labels),
            running=self._running(node.id),
            schedulable=node.schedulable,
        )
        before = self._untouched.pop(node.id, None) or self._index.get(node.id)
        self._index.put(view)
        if before != view:
            self._changes += 1
            self._version += before is None or _may_help(before, view)


def _may_help(before: NodeView, now: NodeView) -> bool:
    return (
        not before.available.covers(now.available)
        or now.schedulable > before.schedulable
        or (before.total, before.labels) != (now.total, now.labels)
    )
