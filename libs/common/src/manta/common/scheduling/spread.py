"""SPREAD: the node with room where least was placed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from manta.common.ids import NodeId
from manta.common.resources import ResourceSet
from manta.common.scheduling.view import NodeView


def choose_spread(resources: ResourceSet, free: Sequence[NodeView], rng: Random) -> NodeId:
    """Fewest placed, then least used, then at random. free: at least one node. cost: O(n).

    Counting what was placed spreads also what holds no resources, such as actors by default.
    """
    keys = [(node.running, node.utilization(resources)) for node in free]
    best = min(keys)
    return rng.choice(sorted(node.node_id for node, key in zip(free, keys, strict=True) if key == best))
