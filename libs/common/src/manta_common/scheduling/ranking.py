"""The nodes that fit one shape of request, best first, kept so while nodes change."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random

from manta_common.ids import NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling.standing import FREE, Hindrance, Standing, standing_of
from manta_common.scheduling.strategy import LabelConstraint
from manta_common.scheduling.view import Infeasible, NodeView, Refusal

# Lower is better; the node's id comes last, so that keys are unique and the order repeatable.
Key = tuple[float, float, NodeId]
Order = Callable[[NodeView, ResourceSet], Key]

_HELD_BACK = "draining or out of touch"


@dataclass(frozen=True, slots=True)
class Shape:
    """What makes two requests equal to a policy. order: a value that stays equal for equal orders."""

    resources: ResourceSet
    constraints: tuple[LabelConstraint, ...]
    order: Order


class Able:
    """Nodes that could take the request now or later: in the order of their ids, so that a draw can be repeated."""

    def __init__(self, node_ids: list[NodeId]) -> None:
        self._ordered = node_ids
        self._members = set(node_ids)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._members

    def __len__(self) -> int:
        return len(self._ordered)

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._ordered)

    def sample(self, rng: Random, count: int) -> list[NodeId]:
        """So many different ones at random, or all when there are fewer. cost: O(count)."""
        return rng.sample(self._ordered, min(count, len(self._ordered)))

    def add(self, node_id: NodeId) -> None:
        if node_id not in self._members:
            self._members.add(node_id)
            insort(self._ordered, node_id)

    def discard(self, node_id: NodeId) -> None:
        if node_id in self._members:
            self._members.remove(node_id)
            del self._ordered[bisect_left(self._ordered, node_id)]


class Ranking:
    """Of all nodes, those with room in order, and why the others have none.

    able: nodes that could take the request now or when idle. cost: O(log n) comparisons for each change of one node;
    reading the best is O(1).
    """

    def __init__(self, shape: Shape, nodes: Iterable[NodeView]) -> None:
        self._shape = shape
        self._keys: dict[NodeId, Key] = {}
        self._hindered: dict[NodeId, Standing] = {}
        self._hindrances: Counter[Hindrance] = Counter()
        self._filtered: Counter[str] = Counter()
        self._exhausted: Counter[str] = Counter()
        self._missing: Counter[str] = Counter()
        self._free: list[Key] = []
        for node in nodes:
            self._count(node)
        self._free = sorted(self._keys.values())
        self.able = Able(
            sorted([*self._keys, *(node_id for node_id, standing in self._hindered.items() if standing.could_later)])
        )

    @property
    def free(self) -> list[Key]:
        """The nodes with room, best first; not to be changed."""
        return self._free

    def key_of(self, node_id: NodeId) -> Key | None:
        """The place in `free`; None when the node has no room."""
        return self._keys.get(node_id)

    def ties(self, count: int) -> int:
        """How many of the first share their first `count` places of the key with the very first."""
        best = self._free[0][:count]
        return bisect_right(self._free, best, key=lambda key: key[:count])

    def put(self, node: NodeView) -> None:
        """A node is new or changed."""
        node_id = node.node_id
        self._uncount(node_id)
        if self._count(node):
            insort(self._free, self._keys[node_id])
            self.able.add(node_id)
        elif self._hindered[node_id].could_later:
            self.able.add(node_id)
        else:
            self.able.discard(node_id)

    def remove(self, node_id: NodeId) -> None:
        self._uncount(node_id)
        self.able.discard(node_id)

    def _uncount(self, node_id: NodeId) -> None:
        key = self._keys.pop(node_id, None)
        if key is not None:
            del self._free[bisect_left(self._free, key)]
            return
        standing = self._hindered.pop(node_id, None)
        if standing is not None:
            self._add(standing, -1)

    def refusal(self) -> Refusal | Infeasible:
        """Why no node has room; asked when `free` is empty."""
        seen = len(self._hindered)
        filtered = {name: count for name, count in self._filtered.items() if count}
        hindrances = self._hindrances
        if hindrances[Hindrance.EXHAUSTED] or hindrances[Hindrance.HELD_BACK]:
            if held_back := hindrances[Hindrance.HELD_BACK]:
                filtered[_HELD_BACK] = held_back
            exhausted = {name: count for name, count in self._exhausted.items() if count}
            return Refusal(nodes_seen=seen, filtered=filtered, exhausted=exhausted)
        missing = {name: count for name, count in self._missing.items() if count}
        return Infeasible(nodes_seen=seen, filtered=filtered, missing=missing)

    def _count(self, node: NodeView) -> bool:
        """Note where the node stands. returns: whether it has room; `free` is the caller's to keep."""
        shape = self._shape
        standing = standing_of(node, shape.resources, shape.constraints)
        if standing is FREE:
            self._keys[node.node_id] = shape.order(node, shape.resources)
            return True
        self._hindered[node.node_id] = standing
        self._add(standing, 1)
        return False

    def _add(self, standing: Standing, amount: int) -> None:
        self._hindrances[standing.hindrance] += amount
        match standing.hindrance:
            case Hindrance.EXCLUDED:
                counts = self._filtered
            case Hindrance.EXHAUSTED:
                counts = self._exhausted
            case Hindrance.MISSING:
                counts = self._missing
            case _:
                return
        for name in standing.names:
            counts[name] += amount
