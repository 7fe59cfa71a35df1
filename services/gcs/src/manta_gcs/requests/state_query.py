"""Filters of state queries, as the protocol has them."""

from __future__ import annotations

from collections.abc import Iterable

from manta_common.state_filter import StateFilter
from manta_proto.gcs.v1 import task_pb2

from manta_gcs.kernel.refusal import INVALID, RequestRefused


def filters_of(wanted: Iterable[task_pb2.StateFilter], columns: Iterable[str]) -> list[StateFilter]:
    """raises: RequestRefused naming a column that no filter can be for."""
    filters = [StateFilter(each.column, each.value, each.unequal) for each in wanted]
    for condition in filters:
        if condition.column not in columns:
            known = ", ".join(sorted(columns))
            raise RequestRefused(INVALID, f"no filter can be for the column {condition.column!r}; use one of {known}")
    return filters
