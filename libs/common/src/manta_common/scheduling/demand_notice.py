"""What a driver is told of demands that nobody can meet, or that wait for long: once for each shape of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from manta_common.ids import JobId
from manta_common.resources import ResourceSet

# A node that is about to join has so long before anyone is alarmed.
INFEASIBLE_AFTER_S: Final = 5.0
WAITS_AFTER_S: Final = 30.0
# Shapes of one job that its driver is told of; a program that makes up ever new ones is not echoed for ever.
TOLD_LIMIT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingDemand:
    """what: "tasks", "actors" or "placement groups". shape: as `ray status` shows it.

    since: when (seconds) it began to wait without any of it being served.
    """

    job_id: JobId
    what: str
    shape: str
    infeasible: bool
    reason: str
    since: float

    @property
    def due(self) -> float:
        return self.since + (INFEASIBLE_AFTER_S if self.infeasible else WAITS_AFTER_S)


@dataclass(frozen=True, slots=True)
class DemandNotice:
    """key: equal for notices of several nodes about the same; a driver shows one of them."""

    job_id: JobId
    key: str
    text: str


class DemandNotices:
    """Bounded by TOLD_LIMIT for each job that has not ended."""

    def __init__(self) -> None:
        self._told: dict[JobId, set[str]] = {}
        self.next_at: float | None = None  # when something of what was seen last is due

    def take(self, waiting: Iterable[WaitingDemand], at: float) -> list[DemandNotice]:
        """All that waits now. returns: what its jobs are told now. cost: O(waiting)."""
        self.next_at = None
        notices: list[DemandNotice] = []
        for demand in waiting:
            key = f"{demand.what} {demand.shape} {'infeasible' if demand.infeasible else 'waits'}"
            told = self._told.get(demand.job_id, set())
            if key in told or len(told) >= TOLD_LIMIT:
                continue
            if at < demand.due:
                self.next_at = demand.due if self.next_at is None else min(self.next_at, demand.due)
                continue
            self._told.setdefault(demand.job_id, told).add(key)
            notices.append(DemandNotice(demand.job_id, key, _text(demand, at)))
        return notices

    def forget(self, job_id: JobId) -> None:
        """The job has ended."""
        self._told.pop(job_id, None)


def shape_text(resources: ResourceSet) -> str:
    """A demand as people know it: {'CPU': 1.0, 'GPU': 0.5}."""
    return str(dict(sorted(resources.to_floats().items())))


def _text(demand: WaitingDemand, at: float) -> str:
    if demand.infeasible:
        says = f"no node of the cluster can hold {demand.shape}, and {demand.what} of this job wait for one that can"
    else:
        says = f"{demand.what} of this job have waited {at - demand.since:.0f} s for {demand.shape}"
    return (
        f"Warning: {says} ({demand.reason}). `ray status` shows what waits and why; RAY_SCHEDULER_EVENTS=0 turns "
        "these messages off."
    )
