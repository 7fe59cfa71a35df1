"""What a placement group asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from manta_common.ids import NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling.demand_notice import shape_text
from manta_common.scheduling.strategy import LabelConstraint


class BundleStrategy(Enum):
    PACK = "PACK"  # on as few nodes as possible
    SPREAD = "SPREAD"  # on as many nodes as possible
    STRICT_PACK = "STRICT_PACK"  # on one node
    STRICT_SPREAD = "STRICT_SPREAD"  # each on a node of its own


@dataclass(frozen=True, slots=True)
class BundleRequest:
    """What one bundle reserves, and what the labels of its node must be."""

    resources: ResourceSet
    label_selector: tuple[LabelConstraint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRequest:
    """Bundles that want nodes, all of them at once.

    kept: the nodes where other bundles of the group are, one entry a bundle. soft_target: for STRICT_PACK, the node
    to take when it has room.
    """

    bundles: tuple[BundleRequest, ...]
    strategy: BundleStrategy
    kept: tuple[NodeId, ...] = ()
    soft_target: NodeId | None = None

    def describe(self) -> str:
        """As `ray status` shows it: {'CPU': 1.0} * 2, {'GPU': 1.0} * 1 (PACK)."""
        return describe_bundles((bundle.resources for bundle in self.bundles), self.strategy.name)


Plan = tuple[NodeId, ...]


def describe_bundles(bundles: Iterable[ResourceSet], strategy: str) -> str:
    """Bundles of one shape are counted together."""
    counts = Counter(map(shape_text, bundles))
    return f"{', '.join(f'{shape} * {count}' for shape, count in counts.items())} ({strategy})"


def together(bundles: Sequence[BundleRequest]) -> BundleRequest:
    """What one node must offer to hold all of them."""
    if len(bundles) == 1:
        return bundles[0]
    kinds = Counter(bundles)
    amounts: dict[str, int] = {}
    for bundle, count in kinds.items():
        for name, amount in bundle.resources.items():
            amounts[name] = amounts.get(name, 0) + count * amount
    labels = dict.fromkeys(constraint for bundle in kinds for constraint in bundle.label_selector)
    return BundleRequest(ResourceSet(amounts), tuple(labels))
