"""Where a task or actor may or should run: the values of the option `scheduling_strategy`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from ray._ids import NodeID

if TYPE_CHECKING:
    from manta_proto.common.v1 import common_pb2

    from ray.util.placement_group import PlacementGroup


class PlacementGroupSchedulingStrategy:
    """Run inside a placement group's reservation.

    placement_group: None means: in none, also where the parent's group captures its children. "default" means: as if no
    strategy were given, in the parent's group if that captures its children.
    placement_group_bundle_index: -1 for any bundle. placement_group_capture_child_tasks: children go there too.
    """

    def __init__(
        self,
        placement_group: PlacementGroup | Literal["default"] | None,
        placement_group_bundle_index: int = -1,
        placement_group_capture_child_tasks: bool | None = None,
    ) -> None:
        """raises: TypeError for what is no placement group."""
        from ray.util.placement_group import PlacementGroup

        if not (placement_group is None or placement_group == "default" or isinstance(placement_group, PlacementGroup)):
            raise TypeError(f"placement_group must be a PlacementGroup, 'default' or None, not {placement_group!r}")
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks

    def fill(self, message: common_pb2.SchedulingStrategy) -> bool:
        """Write this into `message`; returns whether child tasks are captured."""
        group = self.placement_group
        from ray.util.placement_group import PlacementGroup, check_placement_group_index

        if not isinstance(group, PlacementGroup):
            group = PlacementGroup.empty()
        check_placement_group_index(group, self.placement_group_bundle_index)
        if group.is_empty:
            message.simple = type(message).DEFAULT
            return False
        group._recorded()
        use = message.placement_group
        use.placement_group_id = group.id.binary()
        use.bundle_index = self.placement_group_bundle_index
        use.capture_child_tasks = bool(self.placement_group_capture_child_tasks)
        return use.capture_child_tasks

    def captures_by_default(self) -> bool:
        """Of "default": whether child tasks are captured. raises: ValueError for an index, which needs a group."""
        from ray.util.placement_group import PlacementGroup, check_placement_group_index

        check_placement_group_index(PlacementGroup.empty(), self.placement_group_bundle_index)
        return bool(self.placement_group_capture_child_tasks)

    def check_fits(self, resources: Mapping[str, float]) -> None:
        """raises: ValueError when no bundle that may be used could ever hold the resources."""
        group, index = self.placement_group, self.placement_group_bundle_index
        assert group is not None and group != "default", "the strategy names a group"
        bundles = group.bundle_specs if index < 0 else [group.bundle_specs[index]]
        wanted = {name: amount for name, amount in resources.items() if amount}
        if not any(all(bundle.get(name, 0) >= amount for name, amount in wanted.items()) for bundle in bundles):
            which = f"bundle {index}" if index >= 0 else "any of its bundles"
            raise ValueError(
                f"The resource request {wanted} cannot fit into {which} of the placement group: {bundles}. Ask for "
                "less, or make a group with a larger bundle."
            )


class NodeAffinitySchedulingStrategy:
    """Run on one node.

    node_id: its hex id. soft: elsewhere if that node is gone or lacks the resources. While it is merely busy the task
    or actor waits for it, unless _spill_on_unavailable (soft only: go elsewhere) or _fail_on_unavailable (hard only).
    """

    def __init__(
        self,
        node_id: str | NodeID,
        soft: bool,
        _spill_on_unavailable: bool = False,
        _fail_on_unavailable: bool = False,
    ) -> None:
        try:
            parsed = node_id if isinstance(node_id, NodeID) else NodeID.from_hex(node_id)
        except (TypeError, ValueError) as error:
            raise ValueError(f"node_id must be a node's id of {2 * NodeID.SIZE} hex digits, not {node_id!r}") from error
        if not isinstance(soft, bool):
            raise TypeError(f"soft must be True or False, not {soft!r}")
        if _spill_on_unavailable and not soft:
            raise ValueError("_spill_on_unavailable needs soft=True: a hard affinity allows no other node")
        if _fail_on_unavailable and soft:
            raise ValueError("_fail_on_unavailable needs soft=False: a soft affinity has other nodes to go to")
        self.node_id = parsed.hex()
        self.soft = soft
        self._spill_on_unavailable = _spill_on_unavailable
        self._fail_on_unavailable = _fail_on_unavailable

    def fill(self, message: common_pb2.SchedulingStrategy) -> bool:
        message.node_affinity.node_id = bytes.fromhex(self.node_id)
        message.node_affinity.soft = self.soft
        message.node_affinity.spill_on_unavailable = self._spill_on_unavailable
        message.node_affinity.fail_on_unavailable = self._fail_on_unavailable
        return False


class _LabelMatch:
    """One condition on a node's label."""

    operator: Literal["IN", "NOT_IN", "EXISTS", "DOES_NOT_EXIST"]
    values: tuple[str, ...] = ()


class In(_LabelMatch):
    """The label has one of the values."""

    operator = "IN"

    def __init__(self, *values: str) -> None:
        self.values = _label_values("In", values)


class NotIn(_LabelMatch):
    """The label is absent or has none of the values."""

    operator = "NOT_IN"

    def __init__(self, *values: str) -> None:
        self.values = _label_values("NotIn", values)


class Exists(_LabelMatch):
    """The node has the label."""

    operator = "EXISTS"


class DoesNotExist(_LabelMatch):
    """The node has not the label."""

    operator = "DOES_NOT_EXIST"


def _label_values(name: str, values: tuple[Any, ...]) -> tuple[str, ...]:
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"{name}() takes strings, not {type(value).__name__}: {value!r}")
    if not values:
        raise ValueError(f"{name}() needs at least one value")
    return values


class NodeLabelSchedulingStrategy:
    """Run on a node with these labels. hard: must match; soft: preferred. Each a dict of label -> In, NotIn, ..."""

    def __init__(
        self, hard: Mapping[str, _LabelMatch] | None, *, soft: Mapping[str, _LabelMatch] | None = None
    ) -> None:
        self.hard = _label_matches("hard", hard)
        self.soft = _label_matches("soft", soft)
        if not self.hard and not self.soft:
            raise ValueError("NodeLabelSchedulingStrategy needs at least one condition in hard or soft")

    def fill(self, message: common_pb2.SchedulingStrategy) -> bool:
        from manta_proto.common.v1 import common_pb2

        for matches, target in ((self.hard, message.node_labels.hard), (self.soft, message.node_labels.soft)):
            for key, match in matches.items():
                operator = common_pb2.LabelConstraint.Operator.Value(match.operator)
                target.add(key=key, operator=operator, values=match.values)
        return False


def _label_matches(name: str, matches: Mapping[str, _LabelMatch] | None) -> dict[str, _LabelMatch]:
    if matches is None:
        return {}
    if not isinstance(matches, Mapping):
        raise ValueError(f"{name} must be a dict of label -> condition, not {type(matches).__name__}: {matches!r}")
    for key, match in matches.items():
        if not isinstance(key, str):
            raise ValueError(f"{name} must have labels that are strings, not {key!r}")
        if not isinstance(match, _LabelMatch):
            raise ValueError(f"{name}[{key!r}] must be In, NotIn, Exists or DoesNotExist, not {match!r}")
    return dict(matches)


KINDS: Final = (PlacementGroupSchedulingStrategy, NodeAffinitySchedulingStrategy, NodeLabelSchedulingStrategy)

SchedulingStrategyT = (
    None
    | Literal["DEFAULT", "SPREAD"]
    | PlacementGroupSchedulingStrategy
    | NodeAffinitySchedulingStrategy
    | NodeLabelSchedulingStrategy
)
