"""Any node at all, for actors that need no resources."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from manta.common.ids import NodeId
from manta.common.scheduling.view import NodeView


def choose_random(free: Sequence[NodeView], rng: Random) -> NodeId:
    """Each node with the same chance, however busy. free: at least one node."""
    return rng.choice(sorted(node.node_id for node in free))
