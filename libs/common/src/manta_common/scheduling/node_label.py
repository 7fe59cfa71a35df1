"""Node labels: soft constraints choose among the nodes that met the hard ones."""

from __future__ import annotations

from manta_common.resources import ResourceSet
from manta_common.scheduling.index import ClusterIndex
from manta_common.scheduling.ranking import Order, Ranking, Shape
from manta_common.scheduling.strategy import LabelConstraint


def rank_by_labels(
    index: ClusterIndex,
    resources: ResourceSet,
    hard: tuple[LabelConstraint, ...],
    soft: tuple[LabelConstraint, ...],
    order: Order,
) -> Ranking:
    """The nodes that meet all of both, or all of `hard` when none that meets both has room."""
    if soft:
        preferred = index.ranking(Shape(resources, (*hard, *soft), order))
        if preferred.free:
            return preferred
    return index.ranking(Shape(resources, hard, order))
