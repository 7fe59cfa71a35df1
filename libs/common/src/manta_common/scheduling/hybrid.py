"""The default policy: a random one of the k best nodes by how busy they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from manta_common.ids import NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling.ranking import Key, Ranking
from manta_common.scheduling.view import NodeView


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridSettings:
    """spread_threshold: use below it counts as none. k = max(nodes x top_k_fraction, top_k_absolute, 1)."""

    spread_threshold: float = 0.5  # RAY_scheduler_spread_threshold
    top_k_fraction: float = 0.2  # RAY_scheduler_top_k_fraction
    top_k_absolute: int = 1  # RAY_scheduler_top_k_absolute

    @classmethod
    def read(cls, env: Mapping[str, str], config: Mapping[str, Any]) -> HybridSettings:
        """From upstream's variables, which its system config overrides. raises: ValueError naming what is wrong."""
        found: dict[str, float] = {}
        for field, kind in (("spread_threshold", float), ("top_k_fraction", float), ("top_k_absolute", int)):
            name = f"scheduler_{field}"
            given = config.get(name, env.get(f"RAY_{name}"))
            if given is None:
                continue
            try:
                found[field] = kind(given)
            except (TypeError, ValueError):
                raise ValueError(f"{name} must be {kind.__name__}, not {given!r}") from None
            if not found[field] >= 0 or (kind is float and not found[field] <= 1):
                raise ValueError(f"{name} must be {'0 to 1' if kind is float else '0 or more'}, not {given!r}")
        return cls(**found)  # type: ignore[arg-type]


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
