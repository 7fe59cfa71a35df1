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
    choose,
    label_selector_from_proto,
    rank,
    strategy_from_proto,
)
from manta.raylet.lease import LeaseRequest
from manta.raylet.ledger import Ledger
from manta.raylet.node_table import NodeTable

# One unit is sent on so often at once. Beyond it it waits where it is, and may go on after a pause that doubles each
# time: however stale the views are, it comes to rest, and yet is not stuck behind a long task while others are free.
HOP_LIMIT: Final = 8
FIRST_PAUSE_S: Final = 1.0
_DOUBLINGS: Final = 6


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
        self._own: NodeView | None = None
        self.draining = False

    def place(self, request: LeaseRequest, waited_s: float = 0.0) -> Placement:
        """Where one unit should go now.

        waited_s: how long it has been here. cost: as `choose` on a ClusterIndex; O(1) when this node takes it by
        default.
        """
        strategy = strategy_from_proto(request.strategy)
        selector = label_selector_from_proto(request.strategy)
        free_here = not self.draining and self._ledger.can_allocate(request.resources)
        plain = isinstance(strategy, Default) and not selector
        # Whoever sent it on has weighed the nodes already; sending it on again would only make it wander.
        settled = request.hops > 0 and isinstance(strategy, Default | Spread) and not selector
        if free_here and (settled or (plain and not self._arguments_are_elsewhere(request))):
            return Here()
        self._look_at_own_node(request)
        wanted = Request(
            resources=request.resources,
            strategy=strategy,
            label_selector=selector,
            # What has arrived elsewhere than near its arguments was sent there because that node is full.
            argument_bytes=request.argument_bytes if not request.hops else {},
        )
        answer = choose(wanted, self._nodes.view, self._rng, self.node_id, self._settings)
        if isinstance(answer, Infeasible):
            return Unschedulable(str(answer)) if answer.final else Waits(str(answer), False)
        if isinstance(answer, Refusal):
            return self._queue_somewhere(request, wanted, answer, waited_s)
        if answer == self.node_id:
            self._spread_here += isinstance(strategy, Spread)
            return Here()
        if not _may_go_on(request, waited_s):
            able = self.node_id in rank(wanted, self._nodes.view, self._settings).able
            return Waits(f"waiting: sent on {request.hops} times already", able)
        return self._elsewhere(answer, request, spread=isinstance(strategy, Spread))

    def _queue_somewhere(self, request: LeaseRequest, wanted: Request, why: Refusal, waited_s: float) -> Placement:
        """Nobody is free. It waits here, unless this node can never serve it and another one can."""
        able = rank(wanted, self._nodes.view, self._settings).able
        strategy = wanted.strategy
        target = self.node_id
        if isinstance(strategy, NodeAffinity) and strategy.node_id in able and not strategy.spill_on_unavailable:
            target = strategy.node_id
        elif self.draining or target not in able:
            others = [node_id for node_id in able.sample(self._rng, 2) if node_id != self.node_id]
            target = others[0] if others else target
        if target != self.node_id and _may_go_on(request, waited_s):
            return self._elsewhere(target, request, spread=False)
        return Waits(str(why), self.node_id in able and not self.draining)

    def _elsewhere(self, node_id: NodeId, request: LeaseRequest, *, spread: bool) -> Elsewhere:
        self._nodes.sent_to(node_id, request.resources, spread=spread)
        return Elsewhere(node_id, self._nodes.address(node_id))

    def _arguments_are_elsewhere(self, request: LeaseRequest) -> bool:
        if not request.argument_bytes or request.hops > 0:
            return False
        return request.argument_bytes.get(self.node_id, 0) < max(request.argument_bytes.values())

    def _look_at_own_node(self, request: LeaseRequest) -> None:
        """Put this node into the view as it is now."""
        ledger, own = self._ledger, self._own
        available = ledger.available
        # Enough GPU in sum but not in one device: the policies see only sums.
        in_parts = available.covers(request.resources) and not ledger.can_allocate(request.resources)
        schedulable = not self.draining and not in_parts
        if (
            own is None
            or own.available is not available
            or own.schedulable != schedulable
            or own.spread != self._spread_here
        ):
            self._own = NodeView(
                node_id=self.node_id,
                total=ledger.total,
                available=available,
                labels=self._labels,
                spread=self._spread_here,
                schedulable=schedulable,
            )
            self._nodes.view.put(self._own)


def _may_go_on(request: LeaseRequest, waited_s: float) -> bool:
    beyond = request.hops - HOP_LIMIT
    return beyond < 0 or waited_s >= FIRST_PAUSE_S * 2 ** min(beyond, _DOUBLINGS)
