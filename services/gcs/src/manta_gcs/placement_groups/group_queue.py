"""The placement groups that want nodes: who lost bundles comes first, then the oldest; alike ones wait as one."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from manta_common.ids import PlacementGroupId
from manta_common.scheduling.bundles import GroupRequest
from manta_proto.gcs.v1 import placement_group_pb2 as pb

from manta_gcs.placement_groups.placement_group import PlacementGroup, Progress, Rank


class Line:
    """Groups that want the same, by rank.

    progress, reason: why the first of them was not placed the last time. since: when (Moment.steady) it was refused
    first; told: whether the log says that it waits.
    """

    __slots__ = ("_heap", "_ranks", "progress", "reason", "request", "since", "told")

    def __init__(self, request: GroupRequest) -> None:
        self.request = request
        self.progress: Progress = pb.PlacementGroupStatus.QUEUED
        self.reason = ""
        self.since: float | None = None
        self.told = False
        self._heap: list[tuple[Rank, PlacementGroupId]] = []
        self._ranks: dict[PlacementGroupId, Rank] = {}

    def __len__(self) -> int:
        return len(self._ranks)

    def __iter__(self) -> Iterator[PlacementGroupId]:
        return iter(self._ranks)

    def put(self, group_id: PlacementGroupId, rank: Rank) -> None:
        self._ranks[group_id] = rank
        heapq.heappush(self._heap, (rank, group_id))

    def discard(self, group_id: PlacementGroupId) -> None:
        self._ranks.pop(group_id, None)
        if len(self._heap) > 2 * len(self._ranks) + 16:  # most of it are groups that left
            self._heap = [(rank, waiting) for waiting, rank in self._ranks.items()]
            heapq.heapify(self._heap)

    def first(self) -> tuple[Rank, PlacementGroupId]:
        """raises: IndexError when nobody waits."""
        while self._ranks.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # left, or waits at another place by now
        return self._heap[0]


class GroupQueue:
    """Each group once. Costs depend on the number of distinct requests, not of groups."""

    def __init__(self) -> None:
        self._lines: dict[GroupRequest, Line] = {}
        self._line_of: dict[PlacementGroupId, Line] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._line_of)

    def __iter__(self) -> Iterator[Line]:
        """All lines, in no order."""
        return iter(self._lines.values())

    def __contains__(self, group_id: PlacementGroupId) -> bool:
        return group_id in self._line_of

    def put_new(self, group: PlacementGroup) -> None:
        """One that was never created, by its age."""
        group.rank = (1, group.order)
        self.put_back(group)

    def put_lost(self, group: PlacementGroup) -> None:
        """One that lost bundles: ahead of all new ones, behind those that lost theirs before."""
        self._arrivals += 1
        group.rank = (0, self._arrivals)
        self.put_back(group)

    def put_back(self, group: PlacementGroup) -> None:
        """One whose attempt failed, at its old place."""
        self.discard(group)
        request = group.wanted()
        line = self._lines.get(request)
        if line is None:
            line = self._lines[request] = Line(request)
        line.put(group.id, group.rank)
        self._line_of[group.id] = line

    def discard(self, group: PlacementGroup) -> None:
        line = self._line_of.pop(group.id, None)
        if line is not None:
            line.discard(group.id)
            if not line:
                del self._lines[line.request]

    def line_of(self, group: PlacementGroup) -> Line | None:
        return self._line_of.get(group.id)

    def lines(self) -> list[Line]:
        """By the rank of who is first."""
        return sorted(self._lines.values(), key=lambda line: line.first())
