"""Scheduling policies: pure functions from a request and a view of the cluster to a node or a reason."""

from __future__ import annotations

from random import Random

from manta_common.ids import NodeId
from manta_common.scheduling.hybrid import ByScore, HybridSettings, choose_hybrid
from manta_common.scheduling.index import ClusterIndex
from manta_common.scheduling.locality import choose_holder
from manta_common.scheduling.node_affinity import choose_affine
from manta_common.scheduling.node_label import rank_by_labels
from manta_common.scheduling.random_node import choose_random
from manta_common.scheduling.ranking import Ranking, Shape
from manta_common.scheduling.spread import by_placed, choose_spread
from manta_common.scheduling.strategy import (
    Default,
    LabelConstraint,
    LabelOperator,
    NodeAffinity,
    NodeLabels,
    PlacementGroup,
    Spread,
    Strategy,
    label_selector_from_proto,
    strategy_from_proto,
)
from manta_common.scheduling.view import ClusterView, Infeasible, NodeView, Refusal, Request

__all__ = [
    "ClusterIndex",
    "ClusterView",
    "Default",
    "HybridSettings",
    "Infeasible",
    "LabelConstraint",
    "LabelOperator",
    "NodeAffinity",
    "NodeLabels",
    "NodeView",
    "PlacementGroup",
    "Ranking",
    "Refusal",
    "Request",
    "Spread",
    "Strategy",
    "choose",
    "label_selector_from_proto",
    "rank",
    "strategy_from_proto",
]

_DEFAULTS = HybridSettings()


def choose(
    request: Request,
    view: ClusterView,
    rng: Random,
    local_node: NodeId | None = None,
    settings: HybridSettings | None = None,
) -> NodeId | Refusal | Infeasible:
    """The node that should take the request now, or why none does.

    view: living nodes. local_node: where the request comes from, preferred by the default policy only.
    returns: a Refusal when waiting may help, an Infeasible when no present node could ever hold it; a final one
    must fail as unschedulable. cost: O(c log n) for c of the n nodes changed since the last request of its shape when
    `view` is a ClusterIndex, else O(n log n).
    """
    strategy = request.strategy
    if isinstance(strategy, PlacementGroup):
        return Infeasible(
            nodes_seen=len(view),
            filtered={},
            missing={},
            final=True,
            reason=f"placement group {strategy.placement_group_id.hex()} does not exist",
        )
    if isinstance(strategy, NodeAffinity):
        answer = choose_affine(request, strategy, view)
        if answer is not None:
            return answer
    settings = settings or _DEFAULTS
    ranking = rank(request, ClusterIndex.of(view), settings)
    if not ranking.free:
        return ranking.refusal()
    if isinstance(strategy, Spread):
        return choose_spread(ranking, rng)
    if isinstance(strategy, Default):
        if request.is_actor and not request.resources:
            return choose_random(ranking, rng)
        if request.argument_bytes:
            holder = choose_holder(ranking, request.argument_bytes, local_node)
            if holder is not None:
                return holder
    return choose_hybrid(ranking, len(view), rng, local_node, settings)


def rank(request: Request, index: ClusterIndex, settings: HybridSettings | None = None) -> Ranking:
    """All nodes as the request's strategy sees them: those with room in order, and what hinders the others."""
    strategy = request.strategy
    if isinstance(strategy, NodeLabels):
        order = ByScore((settings or _DEFAULTS).spread_threshold)
        hard = (*request.label_selector, *strategy.hard)
        return rank_by_labels(index, request.resources, hard, strategy.soft, order)
    spread = isinstance(strategy, Spread)
    shape = Shape(
        request.resources,
        request.label_selector,
        by_placed if spread else ByScore((settings or _DEFAULTS).spread_threshold),
    )
    return index.ranking(shape)
