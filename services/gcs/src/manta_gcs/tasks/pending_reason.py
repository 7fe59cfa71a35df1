"""Why tasks have no node yet, from what raylets say of the demands that wait there."""

from __future__ import annotations

from collections.abc import Iterable

from manta_common.resources import ResourceSet
from manta_proto.gcs.v1 import gcs_pb2, task_pb2


class PendingReasons:
    """By job, resources and whether a placement group is wanted: raylets know demands, not tasks.

    Where tasks of one such kind wait for several reasons, each of them may have any, and is shown all. A demand of
    another strategy with the same resources counts as the same kind.
    """

    def __init__(self, demands: Iterable[gcs_pb2.ResourceDemand]) -> None:
        self._reasons: dict[tuple[bytes, ResourceSet, bool], dict[str, None]] = {}
        for demand in demands:
            if demand.reason:
                key = (demand.job_id, ResourceSet.from_proto(demand.resources), demand.in_placement_groups > 0)
                self._reasons.setdefault(key, {})[demand.reason] = None

    def of(self, kind: task_pb2.TaskKind) -> str:
        """Empty when no raylet says that it waits. cost: O(resources)."""
        if not self._reasons:
            return ""
        key = (kind.job_id, ResourceSet.from_proto(kind.resources), bool(kind.placement_group_id))
        return "; ".join(self._reasons.get(key, ()))
