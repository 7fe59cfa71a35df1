"""SPREAD: the node with room where least was placed."""

from __future__ import annotations

from random import Random

from manta_common.ids import NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling.ranking import Key, Ranking
from manta_common.scheduling.view import NodeView


def by_placed(node: NodeView, resources: ResourceSet) -> Key:
    """The order: fewest placed, then least used. Counting what was placed spreads also what holds no resources, such
    as actors by default."""
    return (node.running + node.spread, node.utilization(resources), node.node_id)


def choose_spread(ranking: Ranking, rng: Random) -> NodeId:
    """A random one of the best. ranking: by what was placed, with at least one free node. cost: O(log n)."""
    return ranking.free[rng.randrange(ranking.ties(2))][2]
