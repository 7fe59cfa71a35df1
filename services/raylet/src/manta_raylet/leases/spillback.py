"""Spillback: whether a lease request is served here, sent on to a better node, or waits."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from manta_common.ids import NodeId
from manta_common.scheduling import (
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

from manta_raylet.kernel.lease import LeaseRequest
from manta_raylet.leases.group_directory import GroupDirectory
from manta_raylet.leases.group_spillback import GroupSpillback
from manta_raylet.leases.lease_placement import Elsewhere, Here, Placement, Unschedulable, Waits, may_go_on
from manta_raylet.leases.node_inquiry import NodeInquiry
from manta_raylet.leases.node_table import NodeTable
from manta_raylet.resources.node_ledger import NodeLedger


class Spillback:
    """Decides where one unit of a request goes, on the view that this raylet has."""

    def __init__(
        self,
        node_id: NodeId,
        ledger: NodeLedger,
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
        self.groups = GroupDirectory()
        self.inquiry = NodeInquiry()
        self._in_groups = GroupSpillback(node_id, ledger, nodes, self.groups, rng)

    def place(self, request: LeaseRequest, waited_s: float = 0.0) -> Placement:
        """Where one unit should go now.

        waited_s: how long it has been here. cost: as `choose` on a ClusterIndex; O(1) when this node takes it by
        default.
        """
        if request.group is not None:
            return self._in_groups.place(request, request.group, waited_s, draining=self.draining)
        strategy = strategy_from_proto(request.strategy)
        selector = label_selector_from_proto(request.strategy)
        if isinstance(strategy, NodeAffinity) and self._is_unheard_of(strategy.node_id):
            return Waits(f"waiting: the GCS is asked about node {strategy.node_id.hex()}", False)
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
            return Unschedulable(str(answer)) if answer.final else Waits(str(answer), False, infeasible=True)
        if isinstance(answer, Refusal):
            return self._queue_somewhere(request, wanted, answer, waited_s)
        if answer == self.node_id:
            self._spread_here += isinstance(strategy, Spread)
            return Here()
        if not may_go_on(request, waited_s):
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
        if target != self.node_id and may_go_on(request, waited_s):
            return self._elsewhere(target, request, spread=False)
        return Waits(str(why), self.node_id in able and not self.draining)

    def _elsewhere(self, node_id: NodeId, request: LeaseRequest, *, spread: bool) -> Elsewhere:
        self._nodes.sent_to(node_id, request.resources, spread=spread)
        return Elsewhere(node_id, self._nodes.address(node_id))

    def _is_unheard_of(self, node_id: NodeId) -> bool:
        """Whether it may be a node whose news are still on their way."""
        if node_id == self.node_id or self._nodes.heard_of(node_id):
            return False
        return not self.inquiry.is_answered(node_id)

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
