"""Placing the bundles of a placement group: PACK, SPREAD, STRICT_PACK and STRICT_SPREAD.

The policies filter and rank nodes by the same index as those of tasks and actors, so that a bundle is refused for the
same reasons, told in the same words, and costs as little on a large cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from manta_common.scheduling.bundles.pack import pack
from manta_common.scheduling.bundles.refusal import why_not
from manta_common.scheduling.bundles.request import (
    BundleRequest,
    BundleStrategy,
    GroupRequest,
    Plan,
    describe_bundles,
)
from manta_common.scheduling.bundles.spread import spread
from manta_common.scheduling.bundles.strict_pack import strict_pack
from manta_common.scheduling.bundles.strict_spread import strict_spread
from manta_common.scheduling.index import ClusterIndex
from manta_common.scheduling.view import ClusterView, Infeasible, Refusal

__all__ = [
    "BundleRequest",
    "BundleStrategy",
    "GroupRequest",
    "Plan",
    "describe_bundles",
    "place_bundles",
    "plan_bundles",
]

_POLICIES: Final[Mapping[BundleStrategy, Callable[[GroupRequest, ClusterIndex], Plan | None]]] = {
    BundleStrategy.PACK: pack,
    BundleStrategy.SPREAD: spread,
    BundleStrategy.STRICT_PACK: strict_pack,
    BundleStrategy.STRICT_SPREAD: strict_spread,
}


def place_bundles(request: GroupRequest, view: ClusterView) -> Plan | Refusal | Infeasible:
    """A node for each bundle, all of them free now, or why there is none.

    returns: plan[i] for bundles[i]; a Refusal when the idle cluster would do, an Infeasible when it would not.
    raises: ValueError without bundles; a bug of the caller, for the client refuses empty groups.
    cost: when `view` is a ClusterIndex O(B B + c log n) for B bundles and c of the n nodes changed since the last
    group of this kind, and O(B n) more for bundles of several kinds that no one node holds together; else O(n log n).
    """
    index = ClusterIndex.of(view)
    plan = plan_bundles(request, index)
    if plan is not None:
        return plan
    feasible = _POLICIES[request.strategy](request, index.idle()) is not None
    return why_not(request, index if feasible else index.idle(), feasible=feasible)


def plan_bundles(request: GroupRequest, view: ClusterView) -> Plan | None:
    """As place_bundles, for callers that do not ask why."""
    if not request.bundles:
        raise ValueError("a group without bundles cannot be placed")
    return _POLICIES[request.strategy](request, ClusterIndex.of(view))
