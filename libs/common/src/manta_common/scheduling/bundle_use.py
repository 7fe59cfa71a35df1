"""Which bundle of a placement group takes a task or an actor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from manta_common.ids import NodeId
from manta_common.resources import ResourceSet


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleView:
    """A reserved bundle as those see it who want to run in it. node_id: None while it has no node."""

    index: int
    node_id: NodeId | None
    total: ResourceSet
    available: ResourceSet
    usable: bool = True  # False while its node is out of touch, or drains


@dataclass(frozen=True, slots=True)
class BundleRefusal:
    """No bundle can take the request now; final: none ever could."""

    reason: str
    final: bool = False


def choose_bundle(
    resources: ResourceSet,
    bundle_index: int,
    bundles: Sequence[BundleView],
    prefer: NodeId | None = None,
    held: ResourceSet | None = None,
) -> BundleView | BundleRefusal:
    """A bundle with room for the request. bundle_index: -1 for any. prefer: a node to take among equals.

    held: what the request goes on to hold, if that is less; a bundle with room for it will do when none has more.

    A request that fits no bundle even when idle is final: bundles never grow. cost: O(bundles).
    """
    named = [bundle for bundle in bundles if bundle_index in (-1, bundle.index)]
    if not named:
        return BundleRefusal(f"the group has {len(bundles)} bundles, none of index {bundle_index}", final=True)
    able = [bundle for bundle in named if bundle.total.covers(resources)]
    if not able:
        return BundleRefusal("the request is larger than any bundle that it may use", final=True)
    usable = [b for b in able if b.node_id is not None and b.usable]
    free = [b for b in usable if b.available.covers(resources)]
    if not free and held is not None:
        free = [b for b in usable if b.available.covers(held)]
    if free:
        # The emptiest takes it, so that work spreads over the group.
        return min(free, key=lambda b: (b.node_id != prefer, _used_share(b, resources), b.index))
    placed = [bundle for bundle in able if bundle.node_id is not None]
    if not placed:
        return BundleRefusal("waiting: the bundles that could hold it have no node")
    if not any(bundle.usable for bundle in placed):
        return BundleRefusal("waiting: the nodes of its bundles are out of touch, or drain")
    return BundleRefusal(f"waiting: of {len(placed)} bundles that could hold it none has room")


def _used_share(bundle: BundleView, resources: ResourceSet) -> float:
    names = [name for name in resources if bundle.total.get(name)]
    return max(((bundle.total.get(n) - bundle.available.get(n)) / bundle.total.get(n) for n in names), default=0.0)
