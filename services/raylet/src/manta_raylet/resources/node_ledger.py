"""What is held on one node, out of its free resources or out of the bundles of placement groups."""

from __future__ import annotations

from collections.abc import Sequence

from manta_common.resources import ResourceSet
from manta_common.scheduling import PlacementGroup

from manta_raylet.resources.bundle import BundleBook
from manta_raylet.resources.ledger import Allocation, Ledger


class NodeLedger:
    """A request that names a placement group is served by its bundles only, any other by the rest of the node.

    Numbers of allocations are unique over both, so who gives one back need not know where it is from.
    """

    def __init__(self, total: ResourceSet, gpu_ids: Sequence[str] = ()) -> None:
        self.node = Ledger(total, gpu_ids)
        self.bundles = BundleBook(self.node)

    @property
    def total(self) -> ResourceSet:
        return self.node.total

    @property
    def gpu_ids(self) -> tuple[str, ...]:
        return self.node.gpu_ids

    @property
    def available(self) -> ResourceSet:
        """What is free outside of bundles; CPUs may be negative."""
        return self.node.available

    @property
    def held(self) -> ResourceSet:
        """What allocations and bundles hold, without what is lent outside of bundles."""
        return self.node.held

    @property
    def allocations(self) -> int:
        return self.node.allocations

    def feasible(self, request: ResourceSet) -> bool:
        """Whether this node could hold the request outside of bundles if it were idle."""
        return self.node.feasible(request)

    def can_allocate(self, request: ResourceSet, use: PlacementGroup | None = None) -> bool:
        if use is None:
            return self.node.can_allocate(request)
        return self.bundles.can_allocate(use.placement_group_id, use.bundle_index, request)

    def allocate(self, request: ResourceSet, use: PlacementGroup | None = None) -> Allocation | None:
        """Take the request, or None when it is not free now."""
        if use is None:
            return self.node.allocate(request)
        return self.bundles.allocate(use.placement_group_id, use.bundle_index, request)

    def free(self, number: int) -> None:
        """Give an allocation back. raises: KeyError when it is not held; a bug of the caller."""
        if self.bundles.holds(number):
            self.bundles.free(number)
        else:
            self.node.free(number)

    def lend(self, number: int) -> bool:
        """The holder waits: its CPUs may serve others, of its bundle if it is in one."""
        return self.bundles.lend(number) if self.bundles.holds(number) else self.node.lend(number)

    def take_back(self, number: int) -> bool:
        """The holder runs again, now, whatever is free."""
        return self.bundles.take_back_lent(number) if self.bundles.holds(number) else self.node.take_back(number)

    def has_lent(self, number: int) -> bool:
        return self.bundles.has_lent(number) if self.bundles.holds(number) else self.node.has_lent(number)

    def devices_of(self, allocation: Allocation) -> tuple[str, ...]:
        return self.node.devices_of(allocation)
