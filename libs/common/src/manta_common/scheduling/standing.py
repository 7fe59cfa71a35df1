"""Whether one node could take a request now, later or never, and what hinders it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from manta_common.resources import ResourceSet
from manta_common.scheduling.strategy import LabelConstraint
from manta_common.scheduling.view import NodeView


class Hindrance(Enum):
    NONE = auto()  # it could take the request now
    EXHAUSTED = auto()  # it has what is asked for, but not free
    HELD_BACK = auto()  # it drains, or nobody knows what it has free
    MISSING = auto()  # it has too little even when idle
    EXCLUDED = auto()  # a label rules it out


@dataclass(frozen=True, slots=True)
class Standing:
    """names: the label, or the resources, that are in the way."""

    hindrance: Hindrance
    names: tuple[str, ...] = ()

    @property
    def could_later(self) -> bool:
        return self.hindrance in (Hindrance.NONE, Hindrance.EXHAUSTED, Hindrance.HELD_BACK)


FREE = Standing(Hindrance.NONE)
_HELD_BACK = Standing(Hindrance.HELD_BACK)


def standing_of(node: NodeView, resources: ResourceSet, constraints: Sequence[LabelConstraint]) -> Standing:
    """cost: O(labels + resources of the request)."""
    for constraint in constraints:
        if not constraint.matches(node.labels):
            return Standing(Hindrance.EXCLUDED, (f"label {constraint}",))
    if not node.total.covers(resources):
        return Standing(Hindrance.MISSING, tuple(node.total.missing(resources)))
    if not node.schedulable:
        return _HELD_BACK
    if node.available.covers(resources):
        return FREE
    return Standing(Hindrance.EXHAUSTED, tuple(node.available.missing(resources)))
