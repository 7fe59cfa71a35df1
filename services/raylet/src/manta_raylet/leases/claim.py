"""What the GCS would place on this node, if tasks left room for it: actors and bundles that wait."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from manta_common.ids import WORKER_ID_SIZE, JobId, WorkerId
from manta_common.resources import ResourceSet
from manta_common.scheduling import PlacementGroup, strategy_from_proto
from manta_proto.gcs.v1 import gcs_pb2

from manta_raylet.kernel.lease import ClientId, LeaseRequest
from manta_raylet.leases.lease_queue import Entry
from manta_raylet.leases.starvation_guard import holds

# In the place of a client; no process has this id.
_GCS: Final[ClientId] = WorkerId(bytes(WORKER_ID_SIZE))
_NO_JOB: Final = JobId(bytes(4))


class Claims:
    """Tasks would take everything that is given back, and what the GCS places would never find room.

    What is claimed is kept from leases for a quarter of the time, as HoldBack does for requests of this node; it stays
    free meanwhile, so that the GCS hears of it and gives the order that takes it.
    """

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._kept = ResourceSet()
        self._kept_in: list[PlacementGroup] = []

    def __len__(self) -> int:
        return len(self._entries)

    def replace(self, claims: Iterable[gcs_pb2.Claim], at: float) -> None:
        """All that is claimed from now on. raises: ValueError for a strategy that is malformed."""
        before, self._entries = self._entries, {}
        for claim in claims:
            known = before.get(claim.id)
            self._entries[claim.id] = known if known is not None else _entry(claim, at)

    def entries(self) -> list[Entry]:
        """As requests that wait, for those who are told that others do."""
        return list(self._entries.values())

    def choose(self, at: float) -> None:
        """Before a round of service: what is kept in it."""
        self._kept, self._kept_in = ResourceSet(), []
        for entry in self._entries.values():
            if entry.refused_since is None or not holds(at - entry.refused_since):
                continue
            if entry.request.group is None:
                self._kept = self._kept + entry.request.resources
            else:
                self._kept_in.append(entry.request.group)

    def keeps_from(self, request: LeaseRequest, available: ResourceSet) -> bool:
        """Whether the request must not be served now. available: free on this node outside of bundles."""
        if request.group is None:
            wanted = request.resources
            return any(
                available.get(name) < amount + wanted.get(name)
                for name, amount in self._kept.items()
                if wanted.get(name)
            )
        return any(
            kept.placement_group_id == request.group.placement_group_id
            and request.group.bundle_index in (-1, kept.bundle_index)
            for kept in self._kept_in
        )


def _entry(claim: gcs_pb2.Claim, at: float) -> Entry:
    strategy = strategy_from_proto(claim.strategy)
    request = LeaseRequest(
        client=_GCS,
        request_id=claim.id,
        job_id=_NO_JOB,
        resources=ResourceSet.from_proto(claim.resources),
        strategy=claim.strategy,
        name="what the GCS places",
        group=strategy if isinstance(strategy, PlacementGroup) else None,
    )
    return Entry(request, request.key, 1, since=at, refused_since=at)
