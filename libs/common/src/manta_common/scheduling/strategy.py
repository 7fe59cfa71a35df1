"""Scheduling strategies as values, read from their messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from manta_proto.common.v1 import common_pb2

from manta_common.ids import NODE_ID_SIZE, PLACEMENT_GROUP_ID_SIZE, NodeId, PlacementGroupId


class LabelOperator(Enum):
    IN = "in"
    NOT_IN = "!in"
    EXISTS = "exists"
    DOES_NOT_EXIST = "!exists"


_OPERATORS: Mapping[int, LabelOperator] = {
    common_pb2.LabelConstraint.IN: LabelOperator.IN,
    common_pb2.LabelConstraint.NOT_IN: LabelOperator.NOT_IN,
    common_pb2.LabelConstraint.EXISTS: LabelOperator.EXISTS,
    common_pb2.LabelConstraint.DOES_NOT_EXIST: LabelOperator.DOES_NOT_EXIST,
}


@dataclass(frozen=True, slots=True)
class LabelConstraint:
    """What one label of a node must be."""

    key: str
    operator: LabelOperator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """A node without the label meets NOT_IN, as upstream has it."""
        match self.operator:
            case LabelOperator.IN:
                return labels.get(self.key) in self.values
            case LabelOperator.NOT_IN:
                return labels.get(self.key) not in self.values
            case LabelOperator.EXISTS:
                return self.key in labels
            case LabelOperator.DOES_NOT_EXIST:
                return self.key not in labels

    def __str__(self) -> str:
        return f"{self.key} {self.operator.value} {','.join(self.values)}".rstrip()

    @classmethod
    def from_proto(cls, message: common_pb2.LabelConstraint) -> LabelConstraint:
        """raises: ValueError for an operator that this version does not know."""
        operator = _OPERATORS.get(message.operator)
        if operator is None:
            raise ValueError(f"label {message.key!r}: unknown operator {message.operator}")
        return cls(message.key, operator, tuple(message.values))


@dataclass(frozen=True, slots=True)
class Default:
    """Hybrid: near at hand while nodes are less than half used, then the least used."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Evenly over the nodes that have room."""


@dataclass(frozen=True, slots=True)
class NodeAffinity:
    """That node; with `soft` another one if it is gone or could never hold the request.

    While it could, but is busy, the request waits; or a soft one looks elsewhere, or it fails.
    """

    node_id: NodeId
    soft: bool
    spill_on_unavailable: bool = False
    fail_on_unavailable: bool = False


@dataclass(frozen=True, slots=True)
class NodeLabels:
    """Nodes that meet all of `hard`, those that also meet all of `soft` first."""

    hard: tuple[LabelConstraint, ...] = ()
    soft: tuple[LabelConstraint, ...] = ()


@dataclass(frozen=True, slots=True)
class PlacementGroup:
    """A bundle of a placement group; index -1: any of them."""

    placement_group_id: PlacementGroupId
    bundle_index: int = -1
    capture_child_tasks: bool = False


Strategy = Default | Spread | NodeAffinity | NodeLabels | PlacementGroup


def strategy_from_proto(message: common_pb2.SchedulingStrategy) -> Strategy:
    """raises: ValueError naming what is malformed; an absent strategy is Default."""
    match message.WhichOneof("kind"):
        case "node_affinity":
            affinity = message.node_affinity
            if len(affinity.node_id) != NODE_ID_SIZE:
                raise ValueError(f"node affinity: node id {affinity.node_id.hex()!r} must have {NODE_ID_SIZE} bytes")
            return NodeAffinity(
                NodeId(affinity.node_id), affinity.soft, affinity.spill_on_unavailable, affinity.fail_on_unavailable
            )
        case "node_labels":
            labels = message.node_labels
            return NodeLabels(
                tuple(LabelConstraint.from_proto(item) for item in labels.hard),
                tuple(LabelConstraint.from_proto(item) for item in labels.soft),
            )
        case "placement_group":
            use = message.placement_group
            if len(use.placement_group_id) != PLACEMENT_GROUP_ID_SIZE or use.bundle_index < -1:
                raise ValueError(
                    f"placement group: id {use.placement_group_id.hex()!r} must have {PLACEMENT_GROUP_ID_SIZE} bytes "
                    f"and bundle index {use.bundle_index} be -1 or more"
                )
            return PlacementGroup(PlacementGroupId(use.placement_group_id), use.bundle_index, use.capture_child_tasks)
        case _:
            if message.simple == common_pb2.SchedulingStrategy.SPREAD:
                return Spread()
            return Default()


def label_selector_from_proto(message: common_pb2.SchedulingStrategy) -> tuple[LabelConstraint, ...]:
    """The labels that hold beside any strategy. raises: ValueError."""
    return tuple(LabelConstraint.from_proto(item) for item in message.label_selector)
