"""STRICT_SPREAD: each bundle on a node of its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from manta_common.ids import NodeId
from manta_common.scheduling.bundles.ordering import by_emptiness, hardest_first, ranked
from manta_common.scheduling.bundles.request import BundleRequest, GroupRequest, Plan
from manta_common.scheduling.index import ClusterIndex


def strict_spread(request: GroupRequest, index: ClusterIndex) -> Plan | None:
    """A matching of bundles and nodes, so that a plan is found whenever there is one.

    Each kind of B bundles looks at the B nodes that are least used: who can choose among B is never left without one.
    source: augmenting paths (Kuhn 1955); nodes are tried least used first, so the first choice is also the best one
    where bundles are alike.
    """
    bundles = request.bundles
    kept = set(request.kept)
    if len(index) < len(bundles):
        return None
    choices: dict[BundleRequest, list[NodeId]] = {}
    for bundle in dict.fromkeys(bundles):
        free = (key[2] for key in ranked(index, bundle, by_emptiness).free if key[2] not in kept)
        choices[bundle] = list(islice(free, len(bundles)))
    holder: dict[NodeId, int] = {}
    for number in hardest_first(request, index):
        if not _augment(number, [choices[bundle] for bundle in bundles], holder):
            return None
    plan = {number: node_id for node_id, number in holder.items()}
    return tuple(plan[number] for number in range(len(bundles)))


def _augment(start: int, choices: Sequence[Sequence[NodeId]], holder: dict[NodeId, int]) -> bool:
    """Give bundle `start` a node, moving others along one path if need be. Breadth first, so the stack stays flat."""
    reached: dict[NodeId, int] = {}  # node -> the bundle from which it was reached
    line = [start]
    for bundle in line:
        for node_id in choices[bundle]:
            if node_id in reached:
                continue
            reached[node_id] = bundle
            if node_id in holder:
                line.append(holder[node_id])
                continue
            free: NodeId | None = node_id
            while free is not None:
                mover = reached[free]
                before = next((n for n, b in holder.items() if b == mover), None)
                holder[free] = mover
                free = before
            return True
    return False
