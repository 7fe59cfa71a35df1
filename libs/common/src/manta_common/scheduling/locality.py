"""Locality: the node that has most of a task's large arguments."""

from __future__ import annotations

from collections.abc import Mapping

from manta_common.ids import NodeId
from manta_common.scheduling.ranking import Ranking


def choose_holder(ranking: Ranking, argument_bytes: Mapping[NodeId, int], local_node: NodeId | None) -> NodeId | None:
    """The node with room that has the most bytes, the local one among equals; None when such a node has no room.

    Only the node with the most bytes overrides the score: holding a lesser part is no reason to crowd a node.
    cost: O(holders).
    """
    most = max(argument_bytes.values(), default=0)
    if most <= 0:
        return None
    holders = [node_id for node_id, size in argument_bytes.items() if size == most and ranking.key_of(node_id)]
    if local_node in holders:
        return local_node
    return min(holders, default=None)
