"""The default policy: a random one of the k best nodes by how busy they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from manta.common.ids import NodeId
from manta.common.resources import ResourceSet
from manta.common.scheduling.view import NodeView


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridSettings:
    """spread_threshold: use below it counts as none. k = max(nodes x top_k_fraction, top_k_absolute, 1)."""

    spread_threshold: float = 0.5  # RAY_scheduler_spread_threshold
    top_k_fraction: float = 0.2  # RAY_scheduler_top_k_fraction
    top_k_absolute: int = 1  # RAY_scheduler_top_k_absolute


def score(node: NodeView, resources: ResourceSet, settings: HybridSettings) -> float:
    """0 below the threshold, else the utilization; lower is better."""
    used = node.utilization(resources)
    return 0.0 if used < settings.spread_threshold else used


def choose_hybrid(
    resources: ResourceSet,
    free: Sequence[NodeView],
    cluster_size: int,
    rng: Random,
    local_node: NodeId | None = None,
    settings: HybridSettings | None = None,
) -> NodeId:
    """Pick among nodes that have room now.

    free: at least one node. cluster_size: all living nodes, from which k is counted. local_node: taken when no
    node scores better, so that work stays where its data is until that node is half used.
    cost: O(n log n).
    """
    settings = settings or HybridSettings()
    # Nodes that run something come first among equals, so that a lightly used cluster keeps nodes idle;
    # the id makes the order, and with the generator the choice, repeatable.
    ranked = sorted((score(node, resources, settings), node.idle, node.node_id) for node in free)
    best_score = ranked[0][0]
    if local_node is not None and any(s == best_score and node_id == local_node for s, _, node_id in ranked):
        return local_node
    k = max(int(cluster_size * settings.top_k_fraction), settings.top_k_absolute, 1)
    return rng.choice(ranked[:k])[2]
