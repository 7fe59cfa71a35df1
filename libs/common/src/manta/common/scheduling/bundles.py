"""Placing the bundles of a placement group: PACK, SPREAD, STRICT_PACK and STRICT_SPREAD."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from manta.common.ids import NodeId
from manta.common.resources import ResourceSet
from manta.common.scheduling.demand_notice import shape_text
from manta.common.scheduling.strategy import LabelConstraint
from manta.common.scheduling.view import ClusterView, Infeasible, NodeView, Refusal


class BundleStrategy(Enum):
    PACK = "PACK"  # on as few nodes as possible
    SPREAD = "SPREAD"  # on as many nodes as possible
    STRICT_PACK = "STRICT_PACK"  # on one node
    STRICT_SPREAD = "STRICT_SPREAD"  # each on a node of its own


@dataclass(frozen=True, slots=True)
class BundleRequest:
    """What one bundle reserves, and what the labels of its node must be."""

    resources: ResourceSet
    label_selector: tuple[LabelConstraint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRequest:
    """Bundles that want nodes, all of them at once.

    kept: the nodes where other bundles of the group are, one entry a bundle. soft_target: for STRICT_PACK, the node
    to take when it has room.
    """

    bundles: tuple[BundleRequest, ...]
    strategy: BundleStrategy
    kept: tuple[NodeId, ...] = ()
    soft_target: NodeId | None = None

    def describe(self) -> str:
        """As `ray status` shows it: {'CPU': 1.0} * 2, {'GPU': 1.0} * 1 (PACK)."""
        return describe_bundles((bundle.resources for bundle in self.bundles), self.strategy.name)


def describe_bundles(bundles: Iterable[ResourceSet], strategy: str) -> str:
    """Bundles of one shape are counted together."""
    counts = Counter(map(shape_text, bundles))
    return f"{', '.join(f'{shape} * {count}' for shape, count in counts.items())} ({strategy})"


Plan = tuple[NodeId, ...]


def place_bundles(request: GroupRequest, view: ClusterView) -> Plan | Refusal | Infeasible:
    """A node for each bundle, all of them free now, or why there is none.

    returns: plan[i] for bundles[i]; a Refusal when the idle cluster would do, an Infeasible when it would not.
    raises: ValueError without bundles; a bug of the caller, for the client refuses empty groups.
    cost: O(B log B + B N), for STRICT_SPREAD O(B B N); twice that for a refusal.
    """
    plan = plan_bundles(request, view)
    return plan if plan is not None else _why_not(request, view)


def plan_bundles(request: GroupRequest, view: ClusterView) -> Plan | None:
    """As place_bundles, for callers that do not ask why."""
    if not request.bundles:
        raise ValueError("a group without bundles cannot be placed")
    rooms = [_Room(node, node.available) for node in view.values() if node.schedulable]
    return _POLICIES[request.strategy](request, rooms)


class _Room:
    """What is left of a node while a plan is made."""

    __slots__ = ("available", "node", "taken")

    def __init__(self, node: NodeView, available: ResourceSet) -> None:
        self.node = node
        self.available = available
        self.taken = 0

    def fits(self, bundle: BundleRequest) -> bool:
        return self.available.covers(bundle.resources) and self.meets(bundle)

    def meets(self, bundle: BundleRequest) -> bool:
        return all(constraint.matches(self.node.labels) for constraint in bundle.label_selector)

    def take(self, bundle: BundleRequest) -> None:
        self.available = self.available - bundle.resources
        self.taken += 1


_Policy = Callable[[GroupRequest, list[_Room]], Plan | None]


def _strict_pack(request: GroupRequest, rooms: list[_Room]) -> Plan | None:
    """The fullest node that holds all; the one where other bundles of the group are, if there are any."""
    together = _sum(bundle.resources for bundle in request.bundles)
    home = set(request.kept)
    able = [
        room
        for room in rooms
        if room.available.covers(together)
        and all(room.meets(bundle) for bundle in request.bundles)
        and (not home or room.node.node_id in home)
    ]
    if not able:
        return None
    target = request.soft_target
    best = min(able, key=lambda room: (room.node.node_id != target, *_fullness(room, together)))
    return (best.node.node_id,) * len(request.bundles)


def _pack(request: GroupRequest, rooms: list[_Room]) -> Plan | None:
    """Again and again the node that takes most of what is left, in one greedy pass over the bundles.

    A node that holds bundles of the group comes before others that take as many. Greedy passes may miss a plan that
    exists, since bin packing is hard; the order by scarcity, biggest bundle first, makes that rare.
    """
    plan: dict[int, NodeId] = {}
    left = _hardest_first(request.bundles, rooms)
    home = Counter(request.kept)
    while left:
        best: tuple[tuple[object, ...], _Room, list[int]] | None = None
        for room in rooms:
            taken = _what_fits(request.bundles, left, room)
            if not taken:
                continue
            wanted = _sum(request.bundles[index].resources for index in taken)
            key = (-len(taken), -home[room.node.node_id], *_fullness(room, wanted))
            if best is None or key < best[0]:
                best = (key, room, taken)
        if best is None:
            return None
        _, room, taken = best
        for index in taken:
            room.take(request.bundles[index])
            plan[index] = room.node.node_id
        left = [index for index in left if index not in plan]
    return tuple(plan[index] for index in range(len(request.bundles)))


def _spread(request: GroupRequest, rooms: list[_Room]) -> Plan | None:
    """Each on a node of its own where that is possible; else bundle by bundle where fewest of the group are.

    When that gets stuck, a packed plan is better than none: spreading is a wish here.
    """
    apart = _strict_spread(request, rooms)
    if apart is not None:
        return apart
    shared = [_Room(room.node, room.available) for room in rooms]
    home = Counter(request.kept)
    plan: dict[int, NodeId] = {}
    for index in _hardest_first(request.bundles, shared):
        bundle = request.bundles[index]
        able = [room for room in shared if room.fits(bundle)]
        if not able:
            return _pack(request, rooms)
        best = min(able, key=lambda room: (home[room.node.node_id] + room.taken, *_emptiness(room, bundle.resources)))
        best.take(bundle)
        plan[index] = best.node.node_id
    return tuple(plan[index] for index in range(len(request.bundles)))


def _strict_spread(request: GroupRequest, rooms: list[_Room]) -> Plan | None:
    """A matching of bundles and nodes, so that a plan is found whenever there is one.

    source: augmenting paths (Kuhn 1955); nodes are tried least used first, so the first choice is also the best one
    where bundles are alike.
    """
    taken_already = set(request.kept)
    rooms = [room for room in rooms if room.node.node_id not in taken_already]
    if len(rooms) < len(request.bundles):
        return None
    holder: dict[NodeId, int] = {}
    choices = [
        [room.node.node_id for room in sorted(rooms, key=lambda room: _emptiness(room, b.resources)) if room.fits(b)]
        for b in request.bundles
    ]
    for index in _hardest_first(request.bundles, rooms):
        if not _augment(index, choices, holder):
            return None
    plan = {index: node_id for node_id, index in holder.items()}
    return tuple(plan[index] for index in range(len(request.bundles)))


def _augment(start: int, choices: Sequence[Sequence[NodeId]], holder: dict[NodeId, int]) -> bool:
    """Give bundle `start` a node, moving others along one path if need be. Breadth first, so the stack stays flat."""
    reached: dict[NodeId, int] = {}  # node -> the bundle from which it was reached
    line = [start]
    for bundle in line:
        for node_id in choices[bundle]:
            if node_id in reached:
                continue
            reached[node_id] = bundle
            if node_id in holder:
                line.append(holder[node_id])
                continue
            free: NodeId | None = node_id
            while free is not None:
                mover = reached[free]
                before = next((n for n, b in holder.items() if b == mover), None)
                holder[free] = mover
                free = before
            return True
    return False


_POLICIES: Final[Mapping[BundleStrategy, _Policy]] = {
    BundleStrategy.PACK: _pack,
    BundleStrategy.SPREAD: _spread,
    BundleStrategy.STRICT_PACK: _strict_pack,
    BundleStrategy.STRICT_SPREAD: _strict_spread,
}


def _sum(amounts: Iterable[ResourceSet]) -> ResourceSet:
    total = ResourceSet()
    for amount in amounts:
        total = total + amount
    return total


def _hardest_first(bundles: Sequence[BundleRequest], rooms: Sequence[_Room]) -> list[int]:
    """Bundle indices, those first that fewest nodes can take, then the biggest share of what there is."""
    if len(bundles) == 1:
        return [0]
    whole = _sum(room.available for room in rooms)
    shares: dict[BundleRequest, tuple[int, float]] = {}
    for bundle in bundles:
        if bundle not in shares:
            share = sum(amount / whole.get(name) for name, amount in bundle.resources.items() if whole.get(name) > 0)
            shares[bundle] = (sum(room.fits(bundle) for room in rooms), -share)
    return sorted(range(len(bundles)), key=lambda index: (*shares[bundles[index]], index))


def _what_fits(bundles: Sequence[BundleRequest], left: Sequence[int], room: _Room) -> list[int]:
    taken: list[int] = []
    available = room.available
    for index in left:
        bundle = bundles[index]
        if available.covers(bundle.resources) and room.meets(bundle):
            available = available - bundle.resources
            taken.append(index)
    return taken


def _fullness(room: _Room, wanted: ResourceSet) -> tuple[float, NodeId]:
    """For a minimum: the node that keeps the least of what was asked for."""
    kept = sum((room.available.get(name) - amount) / amount for name, amount in wanted.items())
    return (kept, room.node.node_id)


def _emptiness(room: _Room, wanted: ResourceSet) -> tuple[float, NodeId]:
    """For a minimum: the node whose busiest resource is used least."""
    seen = replace(room.node, available=room.available)
    return (seen.utilization(wanted), room.node.node_id)


def _why_not(request: GroupRequest, view: ClusterView) -> Refusal | Infeasible:
    feasible = _POLICIES[request.strategy](request, [_Room(node, node.total) for node in view.values()]) is not None
    filtered: dict[str, int] = {}
    short: dict[str, int] = {}
    for bundle in dict.fromkeys(request.bundles):
        hindered = [_hindrances(bundle, node, feasible) for node in view.values()]
        if not all(hindered):
            continue  # alone it would fit somewhere
        counts = Counter(hindrance for found in hindered for hindrance in found)
        for (kind, name), count in counts.items():
            target = filtered if kind is _Hindrance.EXCLUDED else short
            target[name] = max(target.get(name, 0), count)
    if not filtered and not short:
        filtered = {_TOGETHER[request.strategy]: len(view)} if view else {}
    if feasible:
        return Refusal(nodes_seen=len(view), filtered=filtered, exhausted=short)
    return Infeasible(nodes_seen=len(view), filtered=filtered, missing=short)


class _Hindrance(Enum):
    EXCLUDED = auto()  # by a constraint, or by the state of the node
    SHORT = auto()  # of a resource


def _hindrances(bundle: BundleRequest, node: NodeView, feasible: bool) -> list[tuple[_Hindrance, str]]:
    """Why a node does not take a bundle; empty when it does. feasible: when the idle cluster would do, what counts is
    what is free now."""
    failed = next((label for label in bundle.label_selector if not label.matches(node.labels)), None)
    if failed is not None:
        return [(_Hindrance.EXCLUDED, f"label {failed}")]
    if feasible and not node.schedulable:
        return [(_Hindrance.EXCLUDED, "draining or out of touch")]
    have = node.available if feasible else node.total
    return [(_Hindrance.SHORT, name) for name in have.missing(bundle.resources)]


_TOGETHER: Final[Mapping[BundleStrategy, str]] = {
    BundleStrategy.PACK: "the other bundles of the group",
    BundleStrategy.SPREAD: "the other bundles of the group",
    BundleStrategy.STRICT_PACK: "STRICT_PACK, which wants all bundles on one node",
    BundleStrategy.STRICT_SPREAD: "STRICT_SPREAD, which wants a node for each bundle",
}
