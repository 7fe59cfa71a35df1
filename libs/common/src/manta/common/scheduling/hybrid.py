"""The default policy: a random one of the k best nodes by how busy they are."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from manta.common.ids import NodeId
from manta.common.resources import ResourceSet
from manta.common.scheduling.ranking import Key, Ranking
from manta.common.scheduling.view import NodeView


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridSettings:
    """spread_threshold: use below it counts as none. k = max(nodes x top_k_fraction, top_k_absolute, 1)."""

    spread_threshold: float = 0.5  # RAY_scheduler_spread_threshold
    top_k_fraction: float = 0.2  # RAY_scheduler_top_k_fraction
    top_k_absolute: int = 1  # RAY_scheduler_top_k_absolute


@dataclass(frozen=True, slots=True)
class ByScore:
    """The order: by score, then nodes that run something before idle ones.

    score: 0 below the threshold, else the utilization. Nodes that run something come first among equals, so that a
    lightly used cluster keeps nodes idle.
    """

    spread_threshold: float

    def __call__(self, node: NodeView, resources: ResourceSet) -> Key:
        used = node.utilization(resources)
        return (0.0 if used < self.spread_threshold else used, node.idle, node.node_id)


def choose_hybrid(
    ranking: Ranking, cluster_size: int, rng: Random, local_node: NodeId | None, settings: HybridSettings
) -> NodeId:
    """Pick among nodes that have room now.

    ranking: by score, with at least one free node. cluster_size: all living nodes, from which k is counted.
    local_node: taken when no node scores better, so that work stays where its data is until that node is half used.
    cost: O(1).
    """
    free = ranking.free
    if local_node is not None:
        local = ranking.key_of(local_node)
        if local is not None and local[0] == free[0][0]:
            return local_node
    k = max(int(cluster_size * settings.top_k_fraction), settings.top_k_absolute, 1)
    return free[rng.randrange(min(k, len(free)))][2]
