"""The cluster as the policies see it, with the rankings that they ask for kept up to date."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping

from manta_common.ids import NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling.ranking import Ranking, Shape
from manta_common.scheduling.view import NodeView

# Shapes that are asked for in turn; beyond it the one unused for longest is ranked anew when it comes back.
RANKINGS_KEPT = 64


class ClusterIndex(Mapping[NodeId, NodeView]):
    """Living nodes by id.

    A decision looks at the nodes that changed since the last one of its shape, not at all of them: what it costs does
    not grow with the cluster but for the logarithm.
    """

    def __init__(self, nodes: Iterable[NodeView] = ()) -> None:
        self._nodes: dict[NodeId, NodeView] = {}
        # Node -> number of its last change, the latest last.
        self._changes: OrderedDict[NodeId, int] = OrderedDict()
        self._change = 0
        self._rankings: OrderedDict[Shape, tuple[Ranking, int]] = OrderedDict()
        self._idle: tuple[ClusterIndex, int] | None = None
        self.total = ResourceSet()  # of all nodes
        for node in nodes:
            self.put(node)

    @classmethod
    def of(cls, view: Mapping[NodeId, NodeView]) -> ClusterIndex:
        """The view itself if it is an index, else one made of it. cost: O(n) then."""
        return view if isinstance(view, cls) else cls(view.values())

    def __getitem__(self, node_id: NodeId) -> NodeView:
        return self._nodes[node_id]

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def put(self, node: NodeView) -> None:
        """A node is new or changed. cost: O(1); rankings learn of it when they are asked for."""
        before = self._nodes.get(node.node_id)
        if before is None:
            self.total = self.total + node.total
        elif before.total is not node.total:
            self.total = self.total - before.total + node.total
        self._nodes[node.node_id] = node
        self._change += 1
        self._changes[node.node_id] = self._change
        self._changes.move_to_end(node.node_id)

    def remove(self, node_id: NodeId) -> None:
        """The node is dead. cost: O(rankings)."""
        before = self._nodes.pop(node_id, None)
        if before is not None:
            self.total = self.total - before.total
            del self._changes[node_id]
            if self._idle is not None:
                self._idle[0].remove(node_id)
            for ranking, _ in self._rankings.values():
                ranking.remove(node_id)

    def ranking(self, shape: Shape) -> Ranking:
        """The nodes in the order of the shape. cost: O(c log n) for c nodes changed since it was last asked for."""
        known = self._rankings.get(shape)
        if known is None:
            ranking = Ranking(shape, self._nodes.values())
            if len(self._rankings) >= RANKINGS_KEPT:
                self._rankings.popitem(last=False)
        else:
            ranking, seen = known
            self._rankings.move_to_end(shape)
            if seen == self._change:
                return ranking
            changed = self._changed_since(seen)
            # Sorting all at once is cheaper than moving most of them one by one.
            if 4 * len(changed) > len(self._nodes):
                ranking = Ranking(shape, self._nodes.values())
            else:
                for node_id in changed:
                    ranking.put(self._nodes[node_id])
        self._rankings[shape] = (ranking, self._change)
        return ranking

    def idle(self) -> ClusterIndex:
        """The same nodes with nothing in use, to find what could ever be; not to be changed by the caller.

        cost: O(c) for c nodes changed since it was last asked for.
        """
        known, seen = self._idle if self._idle is not None else (ClusterIndex(), 0)
        for node_id in self._changed_since(seen):
            node, before = self._nodes[node_id], known.get(node_id)
            if before is None or before.total != node.total or before.labels != node.labels:
                known.put(NodeView(node_id=node_id, total=node.total, available=node.total, labels=node.labels))
        self._idle = known, self._change
        return known

    def _changed_since(self, seen: int) -> list[NodeId]:
        changed: list[NodeId] = []
        for node_id in reversed(self._changes):
            if self._changes[node_id] <= seen:
                break
            changed.append(node_id)
        return changed
