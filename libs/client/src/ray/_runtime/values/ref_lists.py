"""Lists of refs, the commonest value with many: pickled as one string of ids instead of thousands of objects."""

from __future__ import annotations

import itertools
import operator
from typing import TYPE_CHECKING, Any, Final

from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.ref_pickling import ref_pickled, ref_unpickled, refs_met

if TYPE_CHECKING:
    from collections.abc import Sequence

    Owner = tuple[bytes, bytes]

# Fewer are as quick one by one.
_WORTH_IT: Final = 16
_owner_of = operator.attrgetter("_owner")


class RefList:
    """In the place of a list of refs while it is pickled; it is a list again when it is unpickled."""

    __slots__ = ("_refs",)

    def __init__(self, refs: Sequence[ObjectRef]) -> None:
        # As they are now: another thread may change the list between the steps below.
        self._refs = tuple(refs)

    def __reduce__(self) -> tuple[Any, ...]:
        refs, contained = self._refs, refs_met.contained
        if contained is not None:
            contained.extend(refs)
        else:
            for ref in refs:
                ref_pickled(ref)
        owners = [(owner, len(list(neighbours))) for owner, neighbours in itertools.groupby(refs, _owner_of)]
        return _rebuild_list, (b"".join([ref._id for ref in refs]), owners)


def is_ref_list(value: object) -> bool:
    """Whether the value is a list of nothing but refs, and of many."""
    return type(value) is list and len(value) >= _WORTH_IT and type(value[0]) is ObjectRef and _only_refs(value)


def _only_refs(values: list[object]) -> bool:
    return set(map(type, values)) == {ObjectRef}


def _rebuild_list(ids: bytes, owners: list[tuple[Owner | None, int]]) -> list[ObjectRef]:
    """raises: ValueError when there are not as many ids as refs."""
    size = ObjectRef.size()
    if len(ids) != size * sum(count for _, count in owners):
        raise ValueError(f"a list of refs has {len(ids)} bytes of ids for {sum(count for _, count in owners)} refs")
    refs: list[ObjectRef] = []
    new, end = ObjectRef.__new__, 0
    for owner, count in owners:
        start, end = end, end + count * size
        for at in range(start, end, size):
            # As ObjectRef.__init__ does, whose call would cost as much as all the rest.
            ref: ObjectRef = new(ObjectRef)
            ref._id = ids[at : at + size]
            ref._owner = owner
            ref._process = ref._awaited = None
            refs.append(ref)
    arrived = refs_met.arrived
    if arrived is not None:
        arrived += refs
    else:
        for ref in refs:
            ref_unpickled(ref)
    return refs
