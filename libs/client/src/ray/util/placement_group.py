"""Placement groups: bundles of resources that are reserved together, all or none."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ray._ids import PlacementGroupID

if TYPE_CHECKING:
    from manta_proto.common.v1 import common_pb2
    from manta_proto.gcs.v1 import placement_group_pb2

    from ray._runtime.process.placement_groups import PlacementGroups

# Upstream marks tasks of a group by a resource of this name.
_RESERVED: Final = "bundle"
VALID_STRATEGIES: Final = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


class PlacementGroup:
    """A handle of a placement group. id: its PlacementGroupID; bundle_cache: its bundles, where they are known."""

    def __init__(self, id: PlacementGroupID, bundle_cache: list[dict[str, float]] | None = None) -> None:
        self.id = id
        self.bundle_cache = bundle_cache
        self._unrecorded = False  # made here, and the cluster has not said yet that it knows the group

    @staticmethod
    def empty() -> PlacementGroup:
        """The group that stands for none."""
        return PlacementGroup(PlacementGroupID.nil())

    @property
    def is_empty(self) -> bool:
        return self.id.is_nil()

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """The bundles, each name -> units. raises: ValueError when the cluster does not know the group any more."""
        if self.bundle_cache is None:
            info = None if self.is_empty else _groups().info(self.id.binary())
            if info is None and not self.is_empty:
                raise ValueError(f"the cluster does not know {self!r}; it was removed long ago")
            self.bundle_cache = _bundles_of(info) if info is not None else []
        return self.bundle_cache

    @property
    def bundle_count(self) -> int:
        return len(self.bundle_specs)

    def ready(self) -> Any:
        """A reference to this group that is there once every bundle is reserved.

        Getting it raises TaskPlacementGroupRemoved when the group is removed before that.
        """
        if self.is_empty:
            return _groups().ready_now(self)
        return _groups().ready(self.id.binary(), self)

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Wait until every bundle is reserved. timeout_seconds: below 0 for ever.

        returns: whether they are. raises: RaySystemError when the group was removed.
        """
        if self.is_empty:
            return False
        return _groups().wait(self.id.binary(), timeout_seconds if timeout_seconds >= 0 else None)

    def _recorded(self) -> None:
        """Before others are told of the group: the cluster has to know it. raises: RaySystemError."""
        if self._unrecorded:
            _groups().recorded(self.id.binary())
            self._unrecorded = False

    def __reduce__(self) -> tuple[Any, ...]:
        self._recorded()
        return PlacementGroup, (self.id, self.bundle_cache)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"PlacementGroup({self.id.hex()})"


def placement_group(
    bundles: list[dict[str, float]],
    strategy: str | None = "PACK",
    name: str = "",
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: Any = None,
) -> PlacementGroup:
    """Reserve bundles of resources, all or none; returns at once, ready() and wait() tell when they are reserved.

    strategy: PACK, SPREAD, STRICT_PACK or STRICT_SPREAD; None is PACK.
    name: unique in the namespace while the group lives.
    lifetime: None for that of the job, or of the detached actor, that makes it; "detached" until it is removed.
    bundle_label_selector: one dict a bundle, label -> value or operator, that the bundle's node must meet.
    raises: ValueError, TypeError for what no cluster could reserve; RaySystemError when the name is taken, or a bundle
    names the resource "bundle", which is the system's.
    """
    strategy = "PACK" if strategy is None else strategy
    validate_placement_group(
        bundles, strategy, lifetime, _soft_target_node_id, bundle_label_selector, topology_strategy
    )
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, not {type(name).__name__}: {name!r}")
    if lifetime == "detached" and not name:
        text = "a detached placement group without a name can be found by its id only; give it a name"
        warnings.warn(text, UserWarning, stacklevel=2)
    from manta_proto.gcs.v1 import placement_group_pb2

    from ray._runtime.process.placement_groups import bundle_specs

    kept = [{resource: float(amount) for resource, amount in bundle.items() if amount} for bundle in bundles]
    spec = placement_group_pb2.PlacementGroupSpec(
        name=name,
        strategy=strategy,
        bundles=bundle_specs(kept, [_labels(selector) for selector in bundle_label_selector or ()]),
        detached=lifetime == "detached",
        soft_target_node_id=bytes.fromhex(_soft_target_node_id or ""),
    )
    group = PlacementGroup(PlacementGroupID(_groups().create(spec)), kept)
    group._unrecorded = True
    return group


def validate_placement_group(
    bundles: list[dict[str, float]],
    strategy: str = "PACK",
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: Any = None,
) -> bool:
    """raises: ValueError, TypeError naming the argument, RaySystemError for a reserved name. returns: True."""
    if not isinstance(bundles, list):
        raise ValueError(f"bundles must be a list of dicts, not {type(bundles).__name__}: {bundles!r}")
    if not bundles:
        raise ValueError("bundles must not be empty: a placement group has at least one bundle")
    for index, bundle in enumerate(bundles):
        _check_bundle(index, bundle)
    if strategy not in VALID_STRATEGIES:
        supported = ", ".join(VALID_STRATEGIES)
        raise ValueError(f"Invalid placement group strategy {strategy}. Supported strategies are: {supported}.")
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
        raise ValueError(f"bundle {index} must be a dict of resource -> amount, not {bundle!r}")
    for name, amount in bundle.items():
        if not isinstance(name, str):
            raise ValueError(f"bundle {index} must have resource names that are strings, not {name!r}")
        if isinstance(amount, bool) or not isinstance(amount, (int, float)):
            raise ValueError(f"bundle {index} must have amounts that are numbers, not {amount!r} for {name!r}")
        if not 0 <= amount < float("inf"):
            raise ValueError(f"bundle {index} must have finite amounts >= 0, not {amount!r} for {name!r}")
    if _RESERVED in bundle:
        from ray.exceptions import RaySystemError

        raise RaySystemError(f"{_RESERVED} is a system reserved resource, which is not allowed in a placement group")
    if not any(bundle.values()):
        raise ValueError(f"bundle {index} asks for nothing: {dict(bundle)!r}")
    gpus = bundle.get("GPU", 0)
    if gpus > 1 and gpus != int(gpus):
        raise ValueError(f"bundle {index} must have whole GPUs above 1, not {gpus!r}")


def _check_selectors(bundles: Sequence[Any], selectors: Any) -> None:
    if not isinstance(selectors, list):
        raise ValueError(f"bundle_label_selector must be a list of dicts, not {selectors!r}")
    if len(selectors) != len(bundles):
        raise ValueError(f"bundle_label_selector must have one dict per bundle: {len(bundles)}, not {len(selectors)}")
    for selector in selectors:
        if not isinstance(selector, Mapping) or not all(
            isinstance(key, str) and isinstance(value, str) for key, value in selector.items()
        ):
            raise TypeError(f"bundle_label_selector must have dicts of strings, not {selector!r}")
        _labels(selector)


def check_placement_group_index(placement_group: PlacementGroup, bundle_index: int) -> None:
    """raises: ValueError when the group has no bundle of this index; -1 is any."""
    if isinstance(bundle_index, bool) or not isinstance(bundle_index, int):
        raise TypeError(f"the bundle index must be an int, not {bundle_index!r}")
    if placement_group.is_empty:
        if bundle_index != -1:
            raise ValueError(f"a bundle index ({bundle_index}) needs a placement group")
        return
    count = placement_group.bundle_count
    if not -1 <= bundle_index < count:
        raise ValueError(
            f"placement group bundle index {bundle_index} is invalid: the group has the bundles 0 to {count - 1}; "
            "-1 is any of them"
        )


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Give the bundles back and end what runs in them; does not wait for it."""
    _check_group(placement_group)
    if not placement_group.is_empty:
        _groups().remove(placement_group.id.binary())


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """The living group of this name: in this namespace, else in any other where only one has it.

    raises: ValueError when there is none.
    """
    if not placement_group_name:
        raise ValueError("Please supply a non-empty value to get_placement_group: the name must not be empty")
    info = _groups().named(placement_group_name)
    return PlacementGroup(PlacementGroupID(info.spec.placement_group_id), _bundles_of(info))


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """States and bundles of one group ({} for one that is not known), or of all by their hex ids."""
    if placement_group is None:
        return {info.spec.placement_group_id.hex(): _row(info) for info in _groups().all()}
    _check_group(placement_group)
    info = None if placement_group.is_empty else _groups().info(placement_group.id.binary())
    return {} if info is None else _row(info)


def get_current_placement_group() -> PlacementGroup | None:
    """The group that the running task or actor is in; None outside one."""
    from ray._runtime import current

    connected = current.runtime()
    if connected.is_driver:
        return None
    group = connected.context().get("placement_group_id")
    return PlacementGroup(PlacementGroupID(group)) if group else None


def _row(info: placement_group_pb2.PlacementGroupInfo) -> dict[str, Any]:
    """One group in upstream's form."""
    from manta_proto.gcs.v1 import placement_group_pb2

    spec, status = info.spec, info.status
    progress = placement_group_pb2.PlacementGroupStatus.SchedulingState.Name(status.scheduling_state)
    return {
        "placement_group_id": spec.placement_group_id.hex(),
        "name": spec.name,
        "bundles": dict(enumerate(_bundles_of(info))),
        "bundles_to_node_id": {index: bundle.node_id.hex() for index, bundle in enumerate(status.bundles)},
        "strategy": placement_group_pb2.PlacementGroupSpec.Strategy.Name(spec.strategy),
        "state": placement_group_pb2.PlacementGroupState.Name(status.state).removeprefix("PG_"),
        "stats": {
            "end_to_end_creation_latency_ms": _milliseconds(status.requested_at, status.created_at),
            "scheduling_latency_ms": _milliseconds(status.attempted_at, status.created_at),
            "scheduling_attempt": status.attempts,
            "highest_retry_delay_ms": 0.0,
            "scheduling_state": progress,
        },
    }


def _milliseconds(start: float, end: float) -> float:
    """0 for what has not ended, or began anew since."""
    return max(0.0, round((end - start) * 1000, 3)) if start and end else 0.0


def _bundles_of(info: placement_group_pb2.PlacementGroupInfo) -> list[dict[str, float]]:
    from manta_common.resources import ResourceSet

    found = [ResourceSet.from_proto(bundle.resources).to_floats() for bundle in info.spec.bundles]
    return [dict(sorted(bundle.items())) for bundle in found]


def _labels(selector: Mapping[str, str]) -> list[common_pb2.LabelConstraint]:
    """raises: ValueError for text that is no condition."""
    from manta_proto.common.v1 import common_pb2

    from ray._option_values import parse_label

    found = []
    for key, text in selector.items():
        operator, values = parse_label(key, text)
        found.append(common_pb2.LabelConstraint(key=key, operator=operator, values=values))
    return found


def _groups() -> PlacementGroups:
    from ray._runtime import current

    return current.runtime().placement_groups


def _check_group(group: Any) -> None:
    if not isinstance(group, PlacementGroup):
        raise TypeError(f"expected a PlacementGroup, not {type(group).__name__}: {group!r}")
