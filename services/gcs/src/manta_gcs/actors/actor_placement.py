"""The queue of actors that want a node, and what nodes were promised but have not taken into account yet."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from random import Random

from manta_common.ids import ActorId, JobId, NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling import (
    ClusterIndex,
    HybridSettings,
    Infeasible,
    PlacementGroup,
    Refusal,
    Strategy,
    choose,
    rank,
)
from manta_common.scheduling.bundle_use import BundleRefusal
from manta_common.scheduling.demand_notice import WaitingDemand, shape_text
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2

from manta_gcs.actors.actor import Actor
from manta_gcs.kernel.commands import Command, Level, note
from manta_gcs.kernel.events import Moment
from manta_gcs.kernel.promise import Promises
from manta_gcs.nodes.placement_view import PlacementView
from manta_gcs.placement_groups.bundle_use import BundleUse

COMPLAIN_AFTER_S = 30.0
DRAWS = 4  # of a node at random, before those that do not qualify are left out
Cause = common_pb2.DeathCause


@dataclass(frozen=True, slots=True)
class Placed:
    actor: Actor
    node_id: NodeId


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """No waiting will help this actor. kind: of the death that it dies of."""

    actor: Actor
    reason: str
    kind: common_pb2.DeathCause.Kind = common_pb2.DeathCause.UNSCHEDULABLE


@dataclass(slots=True)
class _Wait:
    """since: Moment.steady of the first refusal. infeasible: whether the last one said so."""

    since: float
    infeasible: bool


class ActorPlacement:
    """First come, first served, except that who fits nowhere now lets the others pass."""

    def __init__(
        self,
        rng: Random,
        promises: Promises[NodeId],
        view: PlacementView,
        bundles: BundleUse,
        hybrid: HybridSettings | None = None,
    ) -> None:
        """promises: what nodes were promised to give, to actors and to others."""
        self._rng = rng
        self._promises, self._bundles, self._hybrid = promises, bundles, hybrid
        self._view = view
        self._queue: OrderedDict[ActorId, Actor] = OrderedDict()
        # Whether somebody joined since the last decision, and the versions of nodes and bundles then.
        self._joined = False
        self._seen = (-1, -1)
        self._waits: dict[ActorId, _Wait] = {}  # the longest first
        self._untold: OrderedDict[ActorId, None] = OrderedDict()  # of these the log does not tell yet

    def __len__(self) -> int:
        return len(self._queue)

    def waiting(self) -> Iterable[Actor]:
        """Those in the queue, the first first."""
        return self._queue.values()

    def enqueue(self, actor: Actor) -> None:
        self._queue[actor.id] = actor
        self._joined = True

    def withdraw(self, actor: Actor) -> None:
        """It wants no node any more; what was promised to it is free again."""
        self._queue.pop(actor.id, None)
        self._forget_wait(actor.id)
        self.keep_promise(actor)

    def promise(self, actor: Actor, node_id: NodeId) -> None:
        """From when the actor is sent to a node until that node reports on it, the node's own count of what is free,
        there or in a bundle, may not show the actor yet."""
        use = actor.request.strategy
        if not isinstance(use, PlacementGroup):
            self._promises.make(actor.id, node_id, actor.lifetime)
        elif actor.bundle_index is not None:
            self._bundles.promises.make(actor.id, (use.placement_group_id, actor.bundle_index), actor.lifetime)

    def keep_promise(self, actor: Actor) -> None:
        """The node's own count speaks for the actor from now on."""
        if not self._promises.keep(actor.id):
            self._bundles.promises.keep(actor.id)

    def decide(self, at: Moment) -> list[Placed | Unschedulable]:
        """Choose nodes for those who wait. cost: a look at each node that changed and each actor that waits, and a
        policy call for each distinct request that is refused and for each actor placed; nothing while neither nodes nor
        bundles changed to anybody's advantage."""
        if not self._queue:
            self._joined = False
            return []
        if not self._joined and (self._view.version, self._bundles.version) == self._seen:
            return []
        view = self._view.current()
        self._joined = False
        refused: dict[tuple[ResourceSet, ResourceSet, Strategy, object], tuple[str, bool]] = {}
        decisions: list[Placed | Unschedulable] = []
        for actor in list(self._queue.values()):
            request = actor.request
            kind = (request.resources, actor.lifetime, request.strategy, request.label_selector)
            if kind in refused:
                self._keep_waiting(actor, *refused[kind], at)
                continue
            if isinstance(request.strategy, PlacementGroup):
                in_bundle = self._into_bundle(actor, request.strategy)
                if isinstance(in_bundle, str):
                    refused[kind] = in_bundle, False
                    self._keep_waiting(actor, in_bundle, False, at)
                else:
                    del self._queue[actor.id]
                    decisions.append(in_bundle)
                continue
            answer = choose(request, view, self._rng, settings=self._hybrid)
            if isinstance(answer, Refusal):
                answer = self._on_busy(actor, view) or answer
            if isinstance(answer, Refusal | Infeasible):
                if isinstance(answer, Infeasible) and answer.final:
                    del self._queue[actor.id]
                    decisions.append(Unschedulable(actor, str(answer)))
                    continue
                refused[kind] = str(answer), isinstance(answer, Infeasible)
                self._keep_waiting(actor, *refused[kind], at)
                continue
            del self._queue[actor.id]
            actor.pending_reason = f"being started on node {answer.hex()}"
            self.promise(actor, answer)
            self._view.take(answer, actor.lifetime, running=1)
            decisions.append(Placed(actor, answer))
        for decision in decisions:
            self._forget_wait(decision.actor.id)
        # What was promised here leaves less room, which is no reason to look again.
        self._seen = self._view.version, self._bundles.version
        return decisions

    def _keep_waiting(self, actor: Actor, reason: str, infeasible: bool, at: Moment) -> None:
        actor.pending_reason = reason
        wait = self._waits.get(actor.id)
        if wait is None:
            self._waits[actor.id] = _Wait(at.steady, infeasible)
            self._untold[actor.id] = None
        else:
            wait.infeasible = infeasible

    def _forget_wait(self, actor_id: ActorId) -> None:
        self._waits.pop(actor_id, None)
        self._untold.pop(actor_id, None)

    def _on_busy(self, actor: Actor, view: ClusterIndex) -> NodeId | None:
        """A node that is too busy for what placing the actor asks for, but has free what the actor will hold.

        By default that is a CPU and nothing: any number of such actors live on a node that has a CPU at all.
        """
        request, held = actor.request, actor.lifetime
        if held == request.resources:
            return None
        able = rank(request, view, self._hybrid).able
        smaller = replace(request, resources=held)
        for _ in range(DRAWS):
            found = choose(smaller, view, self._rng, settings=self._hybrid)
            if not isinstance(found, bytes) or found in able:
                return found if isinstance(found, bytes) else None
        found = choose(smaller, ClusterIndex(view[node_id] for node_id in able), self._rng, settings=self._hybrid)
        return found if isinstance(found, bytes) else None

    def _into_bundle(self, actor: Actor, use: PlacementGroup) -> Placed | Unschedulable | str:
        """What becomes of an actor that wants a bundle; a text says why it waits."""
        found = self._bundles.choose(actor.request.resources, use, actor.lifetime)
        if isinstance(found, BundleRefusal):
            if not found.final:
                return found.reason
            gone = self._bundles.gone(use.placement_group_id)
            kind = Cause.PLACEMENT_GROUP_REMOVED if gone else Cause.UNSCHEDULABLE
            return Unschedulable(actor, found.reason, kind)
        assert found.node_id is not None, "a bundle with room has a node"
        actor.bundle_index = found.index
        actor.pending_reason = f"being started on node {found.node_id.hex()}, in bundle {found.index}"
        self.promise(actor, found.node_id)
        return Placed(actor, found.node_id)

    def complain(self, at: Moment) -> list[Command]:
        """Log, once for each actor, that it has waited for COMPLAIN_AFTER_S, and why."""
        notes: list[Command] = []
        while (due := self.deadline()) is not None and at.steady >= due:
            actor_id, _ = self._untold.popitem(last=False)
            reason = self._queue[actor_id].pending_reason
            waited_s = at.steady - self._waits[actor_id].since
            notes.append(note("actor_waits", Level.WARNING, actor_id=actor_id, waited_s=waited_s, reason=reason))
        return notes

    def deadline(self) -> float | None:
        """When (Moment.steady) complain() is due."""
        first = next(iter(self._untold), None)
        return self._waits[first].since + COMPLAIN_AFTER_S if first is not None else None

    def waits(self) -> Iterator[WaitingDemand]:
        """Those who were refused, for notices to their jobs."""
        for actor_id, wait in self._waits.items():
            actor = self._queue[actor_id]
            yield WaitingDemand(
                job_id=JobId(actor.spec.job_id),
                what="actors" if actor.group_id is None else "actors in placement groups",
                shape=shape_text(actor.request.resources),
                infeasible=wait.infeasible,
                reason=actor.pending_reason,
                since=wait.since,
            )

    def demands(self) -> list[gcs_pb2.ResourceDemand]:
        """What the waiting actors ask for, counted."""
        counted: Counter[tuple[ResourceSet, str, bool]] = Counter(
            (actor.request.resources, actor.pending_reason, actor.group_id is not None)
            for actor in self._queue.values()
        )
        return [
            gcs_pb2.ResourceDemand(
                resources=resources.to_proto(),
                count=count,
                reason=reason,
                in_placement_groups=count if in_group else 0,
            )
            for (resources, reason, in_group), count in counted.items()
        ]
