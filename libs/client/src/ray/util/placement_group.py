"""Placement groups: bundles of resources reserved together. Checked here; reserving them is not there yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from ray._ids import PlacementGroupID

VALID_STRATEGIES: Final = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


class PlacementGroup:
    """A handle of a placement group. id: its PlacementGroupID; bundle_cache: its bundles, where they are known."""

    def __init__(self, id: PlacementGroupID, bundle_cache: list[dict[str, float]] | None = None) -> None:
        self.id = id
        self.bundle_cache = bundle_cache

    @staticmethod
    def empty() -> PlacementGroup:
        """The group that stands for none."""
        return PlacementGroup(PlacementGroupID.nil())

    @property
    def is_empty(self) -> bool:
        return self.id.is_nil()

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """The bundles, each name -> units."""
        if self.bundle_cache is None:
            _not_there_yet("reading a group's bundles")
        return self.bundle_cache

    @property
    def bundle_count(self) -> int:
        return len(self.bundle_specs)

    def ready(self) -> Any:
        """A reference that is there once every bundle is reserved."""
        _not_there_yet("waiting for a group")

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Wait until every bundle is reserved. returns: whether they are."""
        _not_there_yet("waiting for a group")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"PlacementGroup({self.id.hex()})"


def placement_group(
    bundles: list[dict[str, float]],
    strategy: str = "PACK",
    name: str = "",
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: Any = None,
) -> PlacementGroup:
    """Reserve bundles of resources, all or none.

    raises: ValueError, TypeError for what no cluster could reserve; RaySystemError as long as this is not there.
    """
    validate_placement_group(
        bundles, strategy, lifetime, _soft_target_node_id, bundle_label_selector, topology_strategy
    )
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, not {type(name).__name__}: {name!r}")
    _not_there_yet("placement_group()")


def validate_placement_group(
    bundles: list[dict[str, float]],
    strategy: str = "PACK",
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: Any = None,
) -> bool:
    """raises: ValueError, TypeError naming the argument. returns: True."""
    if not isinstance(bundles, list):
        raise TypeError(f"bundles must be a list of dicts, not {type(bundles).__name__}: {bundles!r}")
    if not bundles:
        raise ValueError("bundles must not be empty: a placement group has at least one bundle")
    for index, bundle in enumerate(bundles):
        _check_bundle(index, bundle)
    if strategy not in VALID_STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(VALID_STRATEGIES)}, not {strategy!r}")
    if lifetime not in (None, "detached"):
        raise ValueError(f"lifetime must be None or 'detached', not {lifetime!r}")
    if _soft_target_node_id is not None:
        if strategy != "STRICT_PACK":
            raise ValueError("_soft_target_node_id goes with the strategy STRICT_PACK only")
        if not isinstance(_soft_target_node_id, str):
            raise TypeError(f"_soft_target_node_id must be a hex string, not {_soft_target_node_id!r}")
    if bundle_label_selector is not None:
        _check_selectors(bundles, bundle_label_selector)
    if topology_strategy is not None:
        raise ValueError("topology_strategy is not supported")
    return True


def _check_bundle(index: int, bundle: Any) -> None:
    if not isinstance(bundle, Mapping):
        raise TypeError(f"bundle {index} must be a dict of resource -> amount, not {bundle!r}")
    for name, amount in bundle.items():
        if not isinstance(name, str):
            raise TypeError(f"bundle {index} must have resource names that are strings, not {name!r}")
        if isinstance(amount, bool) or not isinstance(amount, (int, float)):
            raise TypeError(f"bundle {index} must have amounts that are numbers, not {amount!r} for {name!r}")
        if not 0 <= amount < float("inf"):
            raise ValueError(f"bundle {index} must have finite amounts >= 0, not {amount!r} for {name!r}")
    if not any(bundle.values()):
        raise ValueError(f"bundle {index} asks for nothing: {dict(bundle)!r}")


def _check_selectors(bundles: Sequence[Any], selectors: Any) -> None:
    if not isinstance(selectors, list):
        raise TypeError(f"bundle_label_selector must be a list of dicts, not {selectors!r}")
    if len(selectors) != len(bundles):
        raise ValueError(f"bundle_label_selector must have one dict per bundle: {len(bundles)}, not {len(selectors)}")
    for selector in selectors:
        if not isinstance(selector, Mapping) or not all(
            isinstance(key, str) and isinstance(value, str) for key, value in selector.items()
        ):
            raise TypeError(f"bundle_label_selector must have dicts of strings, not {selector!r}")


def check_placement_group_index(placement_group: PlacementGroup, bundle_index: int) -> None:
    """raises: ValueError when the group has no bundle of this index; -1 is any."""
    if isinstance(bundle_index, bool) or not isinstance(bundle_index, int):
        raise TypeError(f"the bundle index must be an int, not {bundle_index!r}")
    if placement_group.is_empty:
        if bundle_index != -1:
            raise ValueError(f"a bundle index ({bundle_index}) needs a placement group")
        return
    if bundle_index < -1:
        raise ValueError(f"the bundle index must be >= 0, or -1 for any bundle, not {bundle_index}")
    cache = placement_group.bundle_cache
    if cache is not None and bundle_index >= len(cache):
        raise ValueError(f"the placement group has the bundles 0..{len(cache) - 1}, and none of index {bundle_index}")


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Give the bundles back and end what runs in them."""
    _check_group(placement_group)
    _not_there_yet("remove_placement_group()")


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """The group of this name. raises: ValueError when there is none."""
    if not placement_group_name:
        raise ValueError("the name of a placement group must not be empty")
    _not_there_yet("get_placement_group()")


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """States and bundles of one group, or of all by their hex ids."""
    if placement_group is not None:
        _check_group(placement_group)
    _not_there_yet("placement_group_table()")


def get_current_placement_group() -> PlacementGroup | None:
    """The group that the running task or actor is in; None outside one."""
    from ray._runtime import current

    connected = current.runtime()
    if connected.is_driver:
        return None
    group = connected.context().get("placement_group_id")
    return PlacementGroup(PlacementGroupID(group)) if group else None


def _check_group(group: Any) -> None:
    if not isinstance(group, PlacementGroup):
        raise TypeError(f"expected a PlacementGroup, not {type(group).__name__}: {group!r}")


def _not_there_yet(what: str) -> NoReturn:
    from ray.exceptions import RaySystemError

    raise RaySystemError(f"{what} is not supported yet: placement groups come with a later version")
