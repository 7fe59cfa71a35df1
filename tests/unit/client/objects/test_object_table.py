"""What a process knows of objects' values, and who waits for them."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
from manta_proto.common.v1 import common_pb2
from ray._runtime.objects.object_table import ObjectState, ObjectTable

X = b"x" * 28
OWNER = (b"node", b"worker")
VALUE = common_pb2.Value(data=b"v")


def nobody(object_id: bytes) -> None:
    raise AssertionError("the table calls no waiter itself")


def test_a_waiter_is_handed_out_once_when_the_value_comes() -> None:
    table = ObjectTable()
    table.create(X)
    assert not table.when_ready(X, nobody)
    assert table.set_value(X, VALUE) == [nobody]
    assert table.set_value(X, VALUE) == []
    assert table.when_ready(X, nobody)


def test_a_stored_object_is_ready_too_and_names_its_nodes() -> None:
    table = ObjectTable()
    entry = table.create(X)
    table.when_ready(X, nobody)
    assert table.set_stored(X, 7, (b"n1", b"n2")) == [nobody]
    assert (entry.state, entry.size, entry.nodes) == (ObjectState.STORED, 7, (b"n1", b"n2"))
    assert table.drop_nodes(X, {b"n1"}) == (b"n2",)
    assert table.drop_nodes(X, {b"n2"}) == ()


def test_only_stored_objects_have_nodes_to_lose() -> None:
    table = ObjectTable()
    assert table.drop_nodes(X, {b"n"}) is None
    table.create(X)
    assert table.drop_nodes(X, {b"n"}) is None


def test_one_waiter_may_wait_twice_and_is_forgotten_once_at_a_time() -> None:
    table = ObjectTable()
    table.create(X)
    table.when_ready(X, nobody)
    table.when_ready(X, nobody)
    table.forget_waiter(X, nobody)
    assert table.set_value(X, VALUE) == [nobody]
    table.forget_waiter(X, nobody)
    table.forget_waiter(b"?", nobody)


def test_values_of_freed_objects_are_left_alone() -> None:
    table = ObjectTable()
    table.create(X)
    assert table.remove(X) is not None
    assert table.set_value(X, VALUE) == table.set_stored(X, 1, ()) == []
    assert X not in table and len(table) == 0 and table.remove(X) is None


def test_a_borrow_keeps_the_entry_that_is_there() -> None:
    table = ObjectTable()
    entry = table.borrow(X, OWNER)
    assert entry.owner == OWNER and table.borrow(X, (b"other", b"w")) is entry
    assert list(table) == [(X, entry)]


def test_an_answer_ends_the_asking() -> None:
    table = ObjectTable()
    entry = table.borrow(X, OWNER)
    entry.asked = True
    table.set_value(X, VALUE)
    assert not entry.asked and entry.value == VALUE


def test_an_object_whose_last_copy_is_lost_is_waited_for_again() -> None:
    table = ObjectTable()
    entry = table.create(X)
    table.set_stored(X, 7, (b"n1",))
    assert table.stored_at(b"n1") == [X] and table.stored_at(b"n2") == []
    table.forget_copies(X)
    assert (entry.state, entry.nodes, entry.generation) == (ObjectState.PENDING, (), 1)
    assert not table.when_ready(X, nobody) and table.stored_at(b"n1") == []
    assert table.set_stored(X, 7, (b"n2",)) == [nobody]
    assert entry.generation == 1


def test_only_our_own_objects_are_ours_to_make_again() -> None:
    table = ObjectTable()
    table.borrow(X, OWNER)
    table.set_stored(X, 7, (b"n1",))
    assert table.stored_at(b"n1") == []


def test_a_resting_borrow_keeps_its_name_and_nothing_that_takes_room() -> None:
    table = ObjectTable()
    table.borrow(X, OWNER)
    table.rest([X])
    assert X in table
    table.set_value(X, common_pb2.Value())
    table.rest([X])
    assert X not in table


@pytest.mark.parametrize("stored", [False, True])
def test_a_thread_that_looks_without_the_lock_finds_a_ready_object_whole(stored: bool) -> None:
    table = ObjectTable()
    entry = table.create(X)
    seen: list[tuple[ObjectState, Any]] = []

    def between_lines(frame: FrameType, _event: str, _argument: Any) -> Any:
        if frame.f_code in (ObjectTable.set_value.__code__, ObjectTable.set_stored.__code__):
            seen.append((entry.state, entry.nodes if stored else entry.value))
        return between_lines

    before = sys.gettrace()
    sys.settrace(between_lines)
    try:
        if stored:
            table.set_stored(X, 7, (b"n1",))
        else:
            table.set_value(X, VALUE)
    finally:
        sys.settrace(before)
    ready = [what for state, what in seen if state is not ObjectState.PENDING]
    assert len(seen) > 3 and ready and all(ready)
