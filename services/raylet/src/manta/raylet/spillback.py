"""Spillback: whether a lease request is served here, sent on to a better node, or waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from manta.common.ids import NodeId
from manta.common.scheduling import (
    Default,
    HybridSettings,
    Infeasible,
    NodeAffinity,
    NodeView,
    Refusal,
    Request,
    Spread,
    Strategy,
    choose,
    label_selector_from_proto,
    strategy_from_proto,
)
from manta.raylet.lease import LeaseRequest
from manta.raylet.ledger import Ledger
from manta.raylet.node_table import NodeTable

HOP_LIMIT: Final = 8


@dataclass(frozen=True, slots=True)
class Here:
    """This node takes it now."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """That node should be asked."""

    node_id: NodeId
    address: str


@dataclass(frozen=True, slots=True)
class Waits:
    """Not now. feasible_here: this node alone could serve it once something is given back."""

    reason: str
    feasible_here: bool


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """Waiting cannot help."""

    reason: str


Placement = Here | Elsewhere | Waits | Unschedulable


class Spillback:
    """Decides where one unit of a request goes, on the view that this raylet has."""

    def __init__(
        self,
        node_id: NodeId,
        ledger: Ledger,
        nodes: NodeTable,
        rng: Random,
        labels: Mapping[str, str],
        settings: HybridSettings | None = None,
    ) -> None:
        self.node_id = node_id
        self._ledger = ledger
        self._nodes = nodes
        self._rng = rng
        self._labels = dict(labels)
        self._settings = settings or HybridSettings()
        self._spread_here = 0
        self.draining = False

    def place(self, request: LeaseRequest) -> Placement:
        """Where one unit should go now. cost: O(nodes log nodes), O(1) when this node takes it by default."""
        strategy = strategy_from_proto(request.strategy)
        selector = label_selector_from_proto(request.strategy)
        free_here = not self.draining and self._ledger.can_allocate(request.resources)
        plain = isinstance(strategy, Default) and not selector
        # Whoever sent it on has weighed the nodes already; sending it on again would only make it wander.
        settled = request.hops > 0 and isinstance(strategy, Default | Spread) and not selector
        if free_here and (settled or (plain and not self._arguments_are_elsewhere(request))):
            return Here()
        spread = isinstance(strategy, Spread)
        views = self._nodes.views(spread)
        views[self.node_id] = self._own_view(request, spread)
        wanted = Request(
            resources=request.resources,
            strategy=strategy,
            label_selector=selector,
            argument_bytes=request.argument_bytes,
        )
        answer = choose(wanted, views, self._rng, self.node_id, self._settings)
        if isinstance(answer, Infeasible):
            return Unschedulable(str(answer)) if answer.final else Waits(str(answer), False)
        if isinstance(answer, Refusal):
            return self._queue_somewhere(request, strategy, plain or spread, answer)
        if answer == self.node_id:
            if not free_here:
                return Waits("waiting: the node drains or its GPUs are taken in parts", not self.draining)
            if spread:
                self._spread_here += 1
            return Here()
        if request.hops >= HOP_LIMIT:
            return Waits(f"waiting: sent on {request.hops} times already", self._ledger.feasible(request.resources))
        if spread:
            self._nodes.count_spread(answer)
        return self._elsewhere(answer, request)

    def _queue_somewhere(self, request: LeaseRequest, strategy: Strategy, anywhere: bool, why: Refusal) -> Placement:
        """Nobody is free. It waits here, unless this node can never serve it and another one can."""
        if request.hops < HOP_LIMIT:
            if isinstance(strategy, NodeAffinity) and strategy.node_id != self.node_id:
                if strategy.node_id in self._nodes.living():
                    return self._elsewhere(strategy.node_id, request)
            elif anywhere and (self.draining or not self._ledger.feasible(request.resources)):
                able = self._nodes.feasible(request.resources)
                if able:
                    return self._elsewhere(self._rng.choice(able), request)
        return Waits(str(why), self._ledger.feasible(request.resources) and not self.draining)

    def _elsewhere(self, node_id: NodeId, request: LeaseRequest) -> Elsewhere:
        self._nodes.sent_to(node_id, request.resources)
        return Elsewhere(node_id, self._nodes.address(node_id))

    def _arguments_are_elsewhere(self, request: LeaseRequest) -> bool:
        if not request.argument_bytes or request.hops > 0:
            return False
        return request.argument_bytes.get(self.node_id, 0) < max(request.argument_bytes.values())

    def _own_view(self, request: LeaseRequest, spread: bool) -> NodeView:
        available = self._ledger.available
        fits = self._ledger.can_allocate(request.resources) or not available.covers(request.resources)
        return NodeView(
            node_id=self.node_id,
            total=self._ledger.total,
            available=available,
            labels=self._labels,
            running=self._spread_here if spread else 0,
            # Enough GPU in sum but not in one device: the policy sees only sums.
            schedulable=fits and not self.draining,
        )
