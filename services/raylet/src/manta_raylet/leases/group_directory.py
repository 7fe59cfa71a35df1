"""The placement groups that requests on this node name: where their bundles are, as the GCS tells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from manta_common.ids import NodeId, PlacementGroupId
from manta_common.resources import ResourceSet
from manta_common.scheduling.bundle_use import BundleView
from manta_proto.gcs.v1 import placement_group_pb2 as pb


@dataclass(frozen=True, slots=True)
class GroupListing:
    """What the GCS said of a group last, less what this raylet has sent there since."""

    removed: bool
    bundles: tuple[BundleView, ...]


class GroupDirectory:
    """Bounded by the requests: a group that none names any more is dropped, and the GCS told so."""

    def __init__(self) -> None:
        self._listings: dict[PlacementGroupId, GroupListing | None] = {}
        self._added: list[PlacementGroupId] = []
        self._dropped: list[PlacementGroupId] = []

    def find(self, group_id: PlacementGroupId) -> GroupListing | None:
        """What is known of a group; from the first time on it is kept up to date. None: nothing yet."""
        if group_id not in self._listings:
            self._listings[group_id] = None
            self._added.append(group_id)
        return self._listings[group_id]

    def watched(self) -> list[PlacementGroupId]:
        """For a GCS that we attach to: all of them."""
        return list(self._listings)

    def news(self, status: pb.PlacementGroupStatus) -> None:
        """The GCS tells of a group."""
        group_id = PlacementGroupId(status.placement_group_id)
        if group_id in self._listings:
            removed = status.state == pb.PG_REMOVED
            self._listings[group_id] = GroupListing(removed, tuple(_views(status.bundles)))

    def sent_to(self, group_id: PlacementGroupId, index: int, resources: ResourceSet) -> None:
        """One unit goes to that bundle: until news arrive, its resources count as taken."""
        listing = self._listings.get(group_id)
        if listing is not None:
            bundles = tuple(
                replace(b, available=b.available - resources) if b.index == index else b for b in listing.bundles
            )
            self._listings[group_id] = replace(listing, bundles=bundles)

    def retain(self, named: Iterable[PlacementGroupId]) -> None:
        """Only these are named by requests."""
        kept = set(named)
        for group_id in [group_id for group_id in self._listings if group_id not in kept]:
            del self._listings[group_id]
            self._dropped.append(group_id)

    def take_watch(self) -> pb.WatchPlacementGroups | None:
        """What the GCS is to be told of what we watch, if there is anything new."""
        if not self._added and not self._dropped:
            return None
        message = pb.WatchPlacementGroups(add=self._added, drop=self._dropped)
        self._added, self._dropped = [], []
        return message


def _views(bundles: Sequence[pb.BundlePlacement]) -> Iterable[BundleView]:
    for index, bundle in enumerate(bundles):
        yield BundleView(
            index=index,
            node_id=NodeId(bundle.node_id) if bundle.node_id else None,
            total=ResourceSet.from_proto(bundle.resources),
            available=ResourceSet.from_proto(bundle.available),
        )
