"""Scheduling policies: pure functions from a request and a view of the cluster to a node or a reason."""

from __future__ import annotations

from random import Random

from manta.common.ids import NodeId
from manta.common.scheduling.hybrid import HybridSettings, choose_hybrid
from manta.common.scheduling.node_affinity import choose_affine
from manta.common.scheduling.node_label import prefer_labels
from manta.common.scheduling.random_node import choose_random
from manta.common.scheduling.spread import choose_spread
from manta.common.scheduling.strategy import (
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
from manta.common.scheduling.view import ClusterView, Infeasible, NodeView, Refusal, Request, filter_nodes

__all__ = [
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
    "Refusal",
    "Request",
    "Spread",
    "Strategy",
    "choose",
    "label_selector_from_proto",
    "strategy_from_proto",
]


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
    must fail as unschedulable. cost: O(n log n) in the nodes.
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
    candidates = filter_nodes(request, view, strategy.hard if isinstance(strategy, NodeLabels) else ())
    free = candidates.free
    if not free:
        return candidates.answer
    if isinstance(strategy, Spread):
        return choose_spread(request.resources, free, rng)
    if isinstance(strategy, NodeLabels):
        return choose_hybrid(
            request.resources, prefer_labels(free, strategy.soft), len(view), rng, local_node, settings
        )
    if request.is_actor and not request.resources:
        return choose_random(free, rng)
    if isinstance(strategy, Default) and request.argument_bytes:
        holders = [(size, node.node_id) for node in free if (size := request.argument_bytes.get(node.node_id, 0)) > 0]
        most = max(request.argument_bytes.values())
        # Only the node with the most bytes overrides the score; holding a lesser part is no reason to crowd a node.
        best = [node_id for size, node_id in holders if size == most]
        if best:
            return local_node if local_node in best else min(best)
    return choose_hybrid(request.resources, free, len(view), rng, local_node, settings)
