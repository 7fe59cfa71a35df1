"""STRICT_PACK: all bundles on one node."""

from __future__ import annotations

from manta_common.scheduling.bundles.ordering import by_fullness, ranked
from manta_common.scheduling.bundles.request import GroupRequest, Plan, together
from manta_common.scheduling.index import ClusterIndex


def strict_pack(request: GroupRequest, index: ClusterIndex) -> Plan | None:
    """The fullest node that holds all; the one where other bundles of the group are, if there are any."""
    ranking = ranked(index, together(request.bundles), by_fullness)
    able = ranking.free
    if request.kept:
        able = sorted(key for node_id in set(request.kept) if (key := ranking.key_of(node_id)) is not None)
    if not able:
        return None
    best = able[0][2]
    target = request.soft_target
    if target is not None and any(target == node_id for node_id in request.kept or (target,)):
        best = target if ranking.key_of(target) is not None else best
    return (best,) * len(request.bundles)
