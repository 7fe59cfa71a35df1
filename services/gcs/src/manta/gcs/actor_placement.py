"""The queue of actors that want a node, and what nodes were promised but have not taken into account yet."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from random import Random

from manta.common.ids import ActorId, NodeId
from manta.common.resources import ResourceSet
from manta.common.scheduling import Infeasible, NodeView, Refusal, Strategy, choose
from manta.gcs.actor import Actor
from manta.gcs.actor_table import ActorTable
from manta.gcs.commands import Command, Level, note
from manta.gcs.events import Moment
from manta.gcs.node import Node, NodeTable
from manta.proto.gcs.v1 import gcs_pb2

COMPLAIN_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class Placed:
    actor: Actor
    node_id: NodeId


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """No waiting will help this actor."""

    actor: Actor
    reason: str


class ActorPlacement:
    """First come, first served, except that who fits nowhere now lets the others pass."""

    def __init__(self, table: ActorTable, nodes: NodeTable, rng: Random) -> None:
        self._table, self._nodes, self._rng = table, nodes, rng
        self._queue: OrderedDict[ActorId, Actor] = OrderedDict()
        # What an actor will hold from when it was sent to a node until that node reports on it: in between, the
        # node's own count of free resources may not show it yet.
        self._promises: dict[ActorId, tuple[NodeId, ResourceSet]] = {}
        self._dirty = False
        # Since when (Moment.steady) those wait of whom the log does not tell yet, the longest first.
        self._since: OrderedDict[ActorId, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._queue)

    def enqueue(self, actor: Actor) -> None:
        self._queue[actor.id] = actor
        self._dirty = True

    def withdraw(self, actor: Actor) -> None:
        """It wants no node any more; what was promised to it is free again."""
        self._queue.pop(actor.id, None)
        self._since.pop(actor.id, None)
        self.keep_promise(actor)

    def promise(self, actor: Actor, node_id: NodeId) -> None:
        self._promises[actor.id] = (node_id, actor.lifetime)

    def keep_promise(self, actor: Actor) -> None:
        """The node's own count speaks for the actor from now on."""
        if self._promises.pop(actor.id, None) is not None:
            self._dirty = True

    def look_again(self) -> None:
        """Something changed that could help a waiting actor."""
        self._dirty = True

    def decide(self, at: Moment) -> list[Placed | Unschedulable]:
        """Choose nodes for those who wait. cost: one policy call for each distinct request that is refused, and
        one for each actor placed."""
        if not self._dirty or not self._queue:
            self._dirty = False
            return []
        self._dirty = False
        view = self._view()
        refused: dict[tuple[ResourceSet, Strategy, object], str] = {}
        decisions: list[Placed | Unschedulable] = []
        for actor in list(self._queue.values()):
            request = actor.request
            kind = (request.resources, request.strategy, request.label_selector)
            if kind in refused:
                actor.pending_reason = refused[kind]
                continue
            answer = choose(request, view, self._rng)
            if isinstance(answer, Refusal | Infeasible):
                if isinstance(answer, Infeasible) and answer.final:
                    del self._queue[actor.id]
                    decisions.append(Unschedulable(actor, str(answer)))
                    continue
                actor.pending_reason = refused[kind] = str(answer)
                continue
            del self._queue[actor.id]
            actor.pending_reason = f"being started on node {answer.hex()}"
            self.promise(actor, answer)
            seen = view[answer]
            view[answer] = replace(seen, available=seen.available - actor.lifetime, running=seen.running + 1)
            decisions.append(Placed(actor, answer))
        for decision in decisions:
            self._since.pop(decision.actor.id, None)
        for actor_id in self._queue:
            self._since.setdefault(actor_id, at.steady)
        return decisions

    def complain(self, at: Moment) -> list[Command]:
        """Log, once for each actor, that it has waited for COMPLAIN_AFTER_S, and why."""
        notes: list[Command] = []
        while self._since and at.steady >= next(iter(self._since.values())) + COMPLAIN_AFTER_S:
            actor_id, since = self._since.popitem(last=False)
            reason = self._queue[actor_id].pending_reason
            waited_s = at.steady - since
            notes.append(note("actor_waits", Level.WARNING, actor_id=actor_id, waited_s=waited_s, reason=reason))
            self._since[actor_id] = float("inf")  # at the end, and never due
        return notes

    def deadline(self) -> float | None:
        """When (Moment.steady) complain() is due."""
        first = next(iter(self._since.values()), float("inf"))
        return first + COMPLAIN_AFTER_S if first != float("inf") else None

    def demands(self) -> list[gcs_pb2.ResourceDemand]:
        """What the waiting actors ask for, counted."""
        counted: Counter[tuple[ResourceSet, str]] = Counter(
            (actor.request.resources, actor.pending_reason) for actor in self._queue.values()
        )
        return [
            gcs_pb2.ResourceDemand(resources=resources.to_proto(), count=count, reason=reason)
            for (resources, reason), count in counted.items()
        ]

    def _view(self) -> dict[NodeId, NodeView]:
        promised: dict[NodeId, ResourceSet] = {}
        for node_id, amount in self._promises.values():
            promised[node_id] = promised.get(node_id, ResourceSet()) + amount
        return {node.id: self._view_of(node, promised.get(node.id)) for node in self._nodes}

    def _view_of(self, node: Node, promised: ResourceSet | None) -> NodeView:
        return NodeView(
            node_id=node.id,
            total=node.total,
            available=node.available if promised is None else node.available - promised,
            labels=node.info.labels,
            running=self._table.count_on(node.id),
            schedulable=node.schedulable,
        )
