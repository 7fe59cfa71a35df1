"""Where a lease request that names a placement group goes: to a bundle here, or to the node of another one."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from manta_common.ids import NodeId
from manta_common.scheduling import PlacementGroup
from manta_common.scheduling.bundle_use import BundleRefusal, BundleView, choose_bundle

from manta_raylet.kernel.lease import LeaseRequest
from manta_raylet.leases.group_directory import GroupDirectory, GroupListing
from manta_raylet.leases.lease_placement import Elsewhere, GroupGone, Here, Placement, Unschedulable, Waits, may_go_on
from manta_raylet.leases.node_table import NodeTable
from manta_raylet.resources.node_ledger import NodeLedger


class GroupSpillback:
    """Bundles here are served from the ledger; what the others have left is what the GCS told last."""

    def __init__(
        self, node_id: NodeId, ledger: NodeLedger, nodes: NodeTable, groups: GroupDirectory, rng: Random
    ) -> None:
        self._node_id, self._ledger, self._nodes, self._groups, self._rng = node_id, ledger, nodes, groups, rng

    def place(self, request: LeaseRequest, use: PlacementGroup, waited_s: float, *, draining: bool) -> Placement:
        """Where one unit should go now. waited_s: how long it has been here. cost: O(bundles of the group)."""
        if not draining and self._ledger.can_allocate(request.resources, use):
            return Here()
        mine = any(
            bundle.ledger.total.covers(request.resources)
            for bundle in self._ledger.bundles.of_group(use.placement_group_id)
            if use.bundle_index in (-1, bundle.key[1])
        )
        listing = self._groups.find(use.placement_group_id)
        if listing is None:
            return Waits(f"waiting: the GCS is asked where placement group {use.placement_group_id.hex()} is", mine)
        if listing.removed:
            return GroupGone(f"placement group {use.placement_group_id.hex()} was removed")
        views = self._views(listing)
        answer = choose_bundle(request.resources, use.bundle_index, views)
        if isinstance(answer, BundleRefusal):
            if answer.final:
                return Unschedulable(f"placement group {use.placement_group_id.hex()}: {answer.reason}")
            return self._queue_somewhere(request, use, views, mine and not draining, answer.reason, waited_s)
        if not may_go_on(request, waited_s):
            return Waits(f"waiting: sent on {request.hops} times already", mine)
        return self._send(answer, request, use)

    def _views(self, listing: GroupListing) -> list[BundleView]:
        """All bundles; those here count as full, for the ledger has just said that they are."""
        return [
            replace(view, available=view.available - view.total)
            if view.node_id == self._node_id
            else replace(view, usable=view.node_id is not None and self._nodes.is_living(view.node_id))
            for view in listing.bundles
        ]

    def _queue_somewhere(
        self,
        request: LeaseRequest,
        use: PlacementGroup,
        views: list[BundleView],
        mine: bool,
        why: str,
        waited_s: float,
    ) -> Placement:
        """No bundle has room. It waits here, unless no bundle here can ever serve it and one elsewhere can."""
        able = [
            view
            for view in views
            if view.usable
            and view.node_id not in (None, self._node_id)
            and use.bundle_index in (-1, view.index)
            and view.total.covers(request.resources)
        ]
        if able and not mine and may_go_on(request, waited_s):
            return self._send(self._rng.choice(able), request, use)
        return Waits(why, mine)

    def _send(self, bundle: BundleView, request: LeaseRequest, use: PlacementGroup) -> Elsewhere:
        assert bundle.node_id is not None, "units are sent to bundles that have a node"
        self._groups.sent_to(use.placement_group_id, bundle.index, request.resources)
        return Elsewhere(bundle.node_id, self._nodes.address(bundle.node_id))
