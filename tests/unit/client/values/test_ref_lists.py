"""Lists of refs: the same list arrives, all of its refs are met, and nothing else takes their way."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable

import pytest
from ray import ObjectRef
from ray._runtime.values import serialization
from ray._runtime.values.ref_lists import RefList, _rebuild_list, is_ref_list
from ray._runtime.values.ref_pickling import receiving, refs_met

ALICE, BOB = (b"n" * 28, b"a" * 28), (b"n" * 28, b"b" * 28)


def refs(*owners: tuple[bytes, bytes] | None) -> list[ObjectRef]:
    return [ObjectRef(os.urandom(28), owner) for owner in owners]


def test_refs_of_several_owners_arrive_in_order_and_are_counted_together() -> None:
    sent = refs(*[ALICE] * 20, *[BOB] * 3, None, *[ALICE] * 5)
    serialized = serialization.serialize(sent)
    assert serialized.contained == sent
    assert len(serialized.data) < 28 * len(sent) + 250
    counted: list[ObjectRef] = []
    with receiving(counted.extend):
        arrived = serialization.load(serialized.kind, serialized.data, [])
        assert not counted
    assert type(arrived) is list and arrived == sent == counted
    assert [ref._owner for ref in arrived] == [ref._owner for ref in sent]


def test_a_list_with_anything_else_in_it_is_pickled_as_it_is() -> None:
    class Mine(ObjectRef[int]):
        __slots__ = ()

    many = refs(*[ALICE] * 20)
    for value in ([*many, 1], (*many,), many[:3], [Mine(os.urandom(28)), *many], {"refs": many}):
        assert not is_ref_list(value)
    assert is_ref_list(many)
    nested = serialization.serialize({"refs": many})
    assert nested.contained == many


def test_what_is_no_list_of_refs_is_refused() -> None:
    with pytest.raises(ValueError, match="28 bytes of ids for 2 refs"):
        _rebuild_list(b"x" * 28, [(ALICE, 2)])


def test_refs_pickled_outside_of_calls_are_met_one_by_one() -> None:
    sent = refs(*[ALICE] * 20)
    assert pickle.loads(pickle.dumps(RefList(sent))) == sent


def test_a_list_that_another_thread_changes_meanwhile_is_pickled_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = refs(*[ALICE] * 20)
    before = sent.copy()

    class Contained(list[ObjectRef]):
        def extend(self, met: Iterable[ObjectRef]) -> None:
            super().extend(met)
            sent.append(ObjectRef(os.urandom(28), ALICE))

    contained = Contained()
    monkeypatch.setattr(refs_met, "contained", contained)
    data = pickle.dumps(RefList(sent))
    assert pickle.loads(data) == contained == before
