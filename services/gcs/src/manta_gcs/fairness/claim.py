"""Claims: which nodes are asked to keep room for actors and placement groups that wait while tasks hold everything."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from manta_common.ids import ActorId, NodeId, PlacementGroupId
from manta_common.resources import ResourceSet
from manta_common.scheduling import HybridSettings, NodeView, PlacementGroup, choose
from manta_common.scheduling.bundles import plan_bundles
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2

from manta_gcs.actors.actor import Actor
from manta_gcs.actors.actor_table import ActorTable
from manta_gcs.kernel.commands import Command
from manta_gcs.kernel.events import Moment
from manta_gcs.nodes.node import ALIVE, NodeTable
from manta_gcs.placement_groups.bundle_use import BundleUse
from manta_gcs.placement_groups.group_queue import Line
from manta_gcs.placement_groups.placement_group_table import PlacementGroupTable

# So long something waits before a node is asked: most of what waits finds room by itself. Short, for what is in its way
# may be leases that nobody uses any more, which go back as soon as their holders hear of the claim.
PATIENCE_S: Final = 0.02
# A claim goes to other nodes when it was of no use for so long, doubled each time: tasks may end sooner there.
STAY_S: Final = 8.0
_DOUBLINGS: Final = 4
# Of those that wait the first so many are claimed for; the others come up as these are placed.
LIMIT: Final = 64

Waiting = Actor | Line
Key = ActorId | PlacementGroupId
Rooms = dict[NodeId, NodeView]


@dataclass(frozen=True, slots=True)
class Target:
    node_id: NodeId
    claim: gcs_pb2.Claim
    resources: ResourceSet


@dataclass(slots=True)
class Wait:
    """due: when (Moment.steady) nodes are chosen, for the first time or anew. tried: nodes that were of no use."""

    due: float
    targets: list[Target] = field(default_factory=list)
    rounds: int = 0
    tried: set[NodeId] = field(default_factory=set)


class Claims:
    """Only tasks give back what they hold, so a claim goes where they alone are in the way.

    A raylet keeps for a claim what is given back, for a part of the time and while the claim stands; see there. Claims
    are not stored: another leader makes its own.
    """

    def __init__(
        self,
        nodes: NodeTable,
        actors: ActorTable,
        groups: PlacementGroupTable,
        bundles: BundleUse,
        rng: Random,
        hybrid: HybridSettings | None = None,
    ) -> None:
        self._nodes, self._actors, self._groups, self._bundles = nodes, actors, groups, bundles
        self._rng, self._hybrid = rng, hybrid
        self._waits: dict[Key, Wait] = {}
        self._told: dict[NodeId, list[int]] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        """Claims that stand."""
        return sum(len(wait.targets) for wait in self._waits.values())

    def attached(self, node_id: NodeId) -> None:
        """The node is on a new stream, and knows of no claim."""
        self._told.pop(node_id, None)

    def settle(self, actors: Iterable[Actor], lines: Iterable[Line], at: Moment) -> list[Command]:
        """Once a batch. actors: that wait, in order; lines: of groups that wait.

        cost: nothing while nobody waits; else O(LIMIT + lines), and O(nodes + actors + bundles) when a claim is due.
        """
        present: dict[Key, Waiting] = {actor.id: actor for actor in itertools.islice(actors, LIMIT)}
        present |= {line.first()[1]: line for line in heapq.nsmallest(LIMIT, lines, key=Line.first)}
        if not present and not self._waits:
            return []
        for key in [key for key in self._waits if key not in present]:
            del self._waits[key]
        for key in present:
            self._waits.setdefault(key, Wait(at.steady + PATIENCE_S))
        due = [key for key, wait in self._waits.items() if at.steady >= wait.due or self._broken(wait)]
        if due:
            for key in due:
                self._waits[key].targets.clear()
            rooms = self._rooms()
            for key in due:
                self._claim(self._waits[key], present[key], rooms, at)
        return self._tell()

    def deadline(self) -> float | None:
        """When (Moment.steady) nodes are to be chosen for something that waits."""
        return min((wait.due for wait in self._waits.values()), default=None)

    def _broken(self, wait: Wait) -> bool:
        return any(self._nodes.get(target.node_id) is None for target in wait.targets)

    def _claim(self, wait: Wait, waiting: Waiting, rooms: Rooms, at: Moment) -> None:
        wanted = self._choose(waiting, {id: room for id, room in rooms.items() if id not in wait.tried})
        if not wanted and wait.tried:
            wait.tried.clear()
            wanted = self._choose(waiting, rooms)
        for node_id, resources, use in wanted:
            claim = gcs_pb2.Claim(id=next(self._numbers), resources=resources.to_proto())
            if use is not None:
                claim.strategy.CopyFrom(use)
            else:
                room = rooms[node_id]
                rooms[node_id] = replace(room, available=room.available - resources)
            wait.targets.append(Target(node_id, claim, resources))
            wait.tried.add(node_id)
        wait.due = at.steady + STAY_S * 2 ** min(wait.rounds, _DOUBLINGS)
        wait.rounds += bool(wanted)

    def _choose(
        self, waiting: Waiting, rooms: Rooms
    ) -> list[tuple[NodeId, ResourceSet, common_pb2.SchedulingStrategy | None]]:
        if isinstance(waiting, Line):
            plan = plan_bundles(waiting.request, rooms)
            if plan is None:
                return []
            bundles = waiting.request.bundles
            return [(node_id, bundle.resources, None) for bundle, node_id in zip(bundles, plan, strict=True)]
        request = waiting.request
        if isinstance(request.strategy, PlacementGroup):
            return self._in_bundle(request.resources, request.strategy, rooms)
        answer = choose(request, rooms, self._rng, settings=self._hybrid)
        return [(answer, request.resources, None)] if isinstance(answer, bytes) else []

    def _in_bundle(
        self, resources: ResourceSet, use: PlacementGroup, rooms: Rooms
    ) -> list[tuple[NodeId, ResourceSet, common_pb2.SchedulingStrategy | None]]:
        group = self._groups.get(use.placement_group_id)
        if group is None or group.removed:
            return []
        taken: dict[int, ResourceSet] = {}
        for actor in self._actors.in_group(group.id):
            if actor.bundle_index is not None:
                taken[actor.bundle_index] = taken.get(actor.bundle_index, ResourceSet()) + actor.lifetime
        for view in self._bundles.views(group):
            left = view.total - taken.get(view.index, ResourceSet())
            if use.bundle_index not in (-1, view.index) or view.node_id is None or not left.covers(resources):
                continue
            room = rooms.get(view.node_id)
            if room is not None and room.schedulable:
                strategy = common_pb2.SchedulingStrategy()
                strategy.placement_group.placement_group_id = group.id
                strategy.placement_group.bundle_index = view.index
                return [(view.node_id, resources, strategy)]
        return []

    def _rooms(self) -> Rooms:
        """The nodes with everything free that neither an actor nor a bundle nor another claim has."""
        taken: dict[NodeId, ResourceSet] = {}

        def take(node_id: NodeId, amount: ResourceSet) -> None:
            taken[node_id] = taken.get(node_id, ResourceSet()) + amount

        for group in self._groups.living():
            for held in group.reservation.everything():
                take(held.node_id, group.bundles[held.index].resources)
        for node in self._nodes:
            for actor in self._actors.on_node(node.id):
                if actor.group_id is None:
                    take(node.id, actor.lifetime)
        for wait in self._waits.values():
            for target in wait.targets:
                if not target.claim.HasField("strategy"):
                    take(target.node_id, target.resources)
        return {
            node.id: NodeView(
                node_id=node.id,
                total=node.total,
                available=node.total - taken.get(node.id, ResourceSet()),
                labels=dict(node.info.labels),
                schedulable=node.session is not None and node.info.state == ALIVE,
            )
            for node in self._nodes
        }

    def _tell(self) -> list[Command]:
        """To each node for which something changed, all that is claimed there."""
        wanted: dict[NodeId, list[gcs_pb2.Claim]] = {}
        for wait in self._waits.values():
            for target in wait.targets:
                wanted.setdefault(target.node_id, []).append(target.claim)
        commands: list[Command] = []
        for node_id in {*wanted, *self._told}:
            claims = wanted.get(node_id, [])
            ids = [claim.id for claim in claims]
            node = self._nodes.get(node_id)
            if node is None or node.session is None:
                self._told.pop(node_id, None)
            elif ids != self._told.get(node_id, []):
                commands += self._nodes.tell(node_id, gcs_pb2.GcsToNode(claims=gcs_pb2.Claims(claims=claims)))
                self._told[node_id] = ids
        self._told = {node_id: ids for node_id, ids in self._told.items() if ids}
        return commands
