"""Node labels: soft constraints choose among the nodes that met the hard ones."""

from __future__ import annotations

from collections.abc import Sequence

from manta.common.scheduling.strategy import LabelConstraint
from manta.common.scheduling.view import NodeView


def prefer_labels(free: Sequence[NodeView], soft: Sequence[LabelConstraint]) -> Sequence[NodeView]:
    """The nodes that meet all of `soft`, or all of `free` when none does."""
    preferred = [node for node in free if all(constraint.matches(node.labels) for constraint in soft)]
    return preferred or free
