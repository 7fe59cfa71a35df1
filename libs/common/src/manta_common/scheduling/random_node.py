"""Any node at all, for actors that need no resources."""

from __future__ import annotations

from random import Random

from manta_common.ids import NodeId
from manta_common.scheduling.ranking import Ranking


def choose_random(ranking: Ranking, rng: Random) -> NodeId:
    """Each node with the same chance, however busy. ranking: with at least one free node. cost: O(1)."""
    return ranking.free[rng.randrange(len(ranking.free))][2]
