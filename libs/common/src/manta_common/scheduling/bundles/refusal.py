"""Why the bundles of a group find no nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from manta_common.scheduling.bundles.ordering import by_fullness, ranked
from manta_common.scheduling.bundles.request import BundleStrategy, GroupRequest
from manta_common.scheduling.index import ClusterIndex
from manta_common.scheduling.view import Infeasible, Refusal

_TOGETHER: Final[Mapping[BundleStrategy, str]] = {
    BundleStrategy.PACK: "the other bundles of the group",
    BundleStrategy.SPREAD: "the other bundles of the group",
    BundleStrategy.STRICT_PACK: "STRICT_PACK, which wants all bundles on one node",
    BundleStrategy.STRICT_SPREAD: "STRICT_SPREAD, which wants a node for each bundle",
}


def why_not(request: GroupRequest, index: ClusterIndex, *, feasible: bool) -> Refusal | Infeasible:
    """What is in the way of each bundle that finds no node even alone; else that the others are.

    index: the nodes as they are when the idle cluster would do (feasible), else as if they were idle.
    """
    filtered: dict[str, int] = {}
    short: dict[str, int] = {}
    for bundle in dict.fromkeys(request.bundles):
        ranking = ranked(index, bundle, by_fullness)
        if ranking.free:
            continue
        refusal = ranking.refusal()
        _note(filtered, refusal.filtered)
        _note(short, refusal.exhausted if isinstance(refusal, Refusal) else refusal.missing)
    if not filtered and not short and index:
        filtered = {_TOGETHER[request.strategy]: len(index)}
    if feasible:
        return Refusal(nodes_seen=len(index), filtered=filtered, exhausted=short)
    return Infeasible(nodes_seen=len(index), filtered=filtered, missing=short)


def _note(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = max(counts.get(name, 0), count)
