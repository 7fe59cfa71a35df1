"""The bundles of placement groups that this node holds: prepared, committed, returned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from manta_common.ids import PlacementGroupId
from manta_common.resources import ResourceSet

from manta_raylet.resources.ledger import Allocation, Ledger

BundleKey = tuple[PlacementGroupId, int]


class BundlePhase(Enum):
    PREPARED = auto()  # reserved; nobody may use it yet
    COMMITTED = auto()  # leases and actors of its group may use it
    CLOSING = auto()  # returned; reserved until the last process that used it is gone


@dataclass(slots=True)
class Bundle:
    """One reservation. attempt: of the group; ledger: what the users of the bundle hold and what is left."""

    key: BundleKey
    attempt: int
    reserved: Allocation
    ledger: Ledger
    phase: BundlePhase = field(default=BundlePhase.PREPARED)

    @property
    def idle(self) -> bool:
        return not self.ledger.allocations


class BundleBook:
    """Reserves out of the node's ledger. Every order may come again, and late; the attempt tells them apart.

    Attempts rise with the leader's epoch, so an order of a deposed leader is older than what is held and is void.
    """

    def __init__(self, node: Ledger) -> None:
        self._node = node
        self._bundles: dict[BundleKey, Bundle] = {}
        self._by_group: dict[PlacementGroupId, dict[int, Bundle]] = {}
        # Where the allocations of users are: of closing bundles too.
        self._bundle_of: dict[int, Bundle] = {}
        self._closing: dict[int, Bundle] = {}  # by the number of the reservation
        self.version = 0  # rises with each change in what users of bundles hold

    def __len__(self) -> int:
        return len(self._bundles)

    def __iter__(self) -> Iterator[Bundle]:
        """All that are held, those that close left out."""
        return iter(self._bundles.values())

    def get(self, key: BundleKey) -> Bundle | None:
        return self._bundles.get(key)

    def of_group(self, group_id: PlacementGroupId) -> list[Bundle]:
        """Those that may be used."""
        found = self._by_group.get(group_id, {})
        return [bundle for bundle in found.values() if bundle.phase is BundlePhase.COMMITTED]

    def prepare(self, key: BundleKey, attempt: int, resources: ResourceSet) -> str | None:
        """Reserve. returns: None when it is held by this attempt now, or why it cannot be.

        The caller has given back what an earlier attempt held, with take_back().
        """
        held = self._bundles.get(key)
        if held is not None:
            return None if held.attempt == attempt else f"attempt {held.attempt} holds it, which is later"
        reserved = self._node.allocate(resources)
        if reserved is None:
            return f"not free here: {self._node.available.missing(resources) or 'its GPUs are free in parts only'}"
        bundle = Bundle(key, attempt, reserved, Ledger.inside(self._node, reserved))
        self._bundles[key] = bundle
        self._by_group.setdefault(key[0], {})[key[1]] = bundle
        return None

    def commit(self, key: BundleKey, attempt: int) -> bool:
        """From now on it may be used. returns: False when this attempt does not hold it."""
        bundle = self._bundles.get(key)
        if bundle is None or bundle.attempt != attempt:
            return False
        bundle.phase = BundlePhase.COMMITTED
        return True

    def take_back(self, key: BundleKey, attempt: int) -> Bundle | None:
        """End the reservation of this attempt or an earlier one; its users are to be ended by the caller.

        returns: the bundle, or None when no such is held. What its users hold stays reserved until they are gone.
        """
        bundle = self._bundles.get(key)
        if bundle is None or bundle.attempt > attempt:
            return None
        del self._bundles[key]
        of_group = self._by_group[key[0]]
        del of_group[key[1]]
        if not of_group:
            del self._by_group[key[0]]
        bundle.phase = BundlePhase.CLOSING
        self._closing[bundle.reserved.number] = bundle
        self._close_if_idle(bundle)
        return bundle

    # ---- users

    def allocate(self, group_id: PlacementGroupId, bundle_index: int, request: ResourceSet) -> Allocation | None:
        """Take the request out of one committed bundle. bundle_index: -1 for any, the emptiest first."""
        for bundle in self._candidates(group_id, bundle_index):
            allocation = bundle.ledger.allocate(request)
            if allocation is not None:
                self._bundle_of[allocation.number] = bundle
                self.version += 1
                return allocation
        return None

    def can_allocate(self, group_id: PlacementGroupId, bundle_index: int, request: ResourceSet) -> bool:
        return any(bundle.ledger.can_allocate(request) for bundle in self._candidates(group_id, bundle_index))

    def holds(self, number: int) -> bool:
        """Whether the allocation is in a bundle."""
        return number in self._bundle_of

    def has_lent(self, number: int) -> bool:
        return self._bundle_of[number].ledger.has_lent(number)

    def lend(self, number: int) -> bool:
        """As Ledger.lend: what a user of a bundle lends, other users of that bundle get."""
        self.version += 1
        return self._bundle_of[number].ledger.lend(number)

    def take_back_lent(self, number: int) -> bool:
        """As Ledger.take_back."""
        self.version += 1
        return self._bundle_of[number].ledger.take_back(number)

    def free(self, number: int) -> None:
        """Give a user's allocation back. raises: KeyError when it is in no bundle."""
        bundle = self._bundle_of.pop(number)
        bundle.ledger.free(number)
        self.version += 1
        if bundle.phase is BundlePhase.CLOSING:
            self._close_if_idle(bundle)

    def _candidates(self, group_id: PlacementGroupId, bundle_index: int) -> list[Bundle]:
        bundles = [bundle for bundle in self.of_group(group_id) if bundle_index in (-1, bundle.key[1])]
        return sorted(bundles, key=lambda bundle: (bundle.ledger.allocations, bundle.key[1]))

    def _close_if_idle(self, bundle: Bundle) -> None:
        if bundle.idle:
            del self._closing[bundle.reserved.number]
            self._node.free(bundle.reserved.number)
