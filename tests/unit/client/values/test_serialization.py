"""Values to bytes and back, in messages and as laid out in an arena."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray._runtime.values import serialization
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.ref_pickling import count_arrived, receiving
from ray._runtime.values.serialization import ERROR, PICKLE, RAW, Serialized, load, load_proto, read_layout, serialize

OWNER = (b"n" * 28, b"w" * 28)


def a_ref(number: int) -> ObjectRef:
    return ObjectRef(number.to_bytes(28, "little"), OWNER)


def copy(target: memoryview, source: memoryview) -> None:
    target[:] = source.cast("B")


def stored(value: Serialized) -> bytearray:
    area = bytearray(value.stored_size())
    value.write_to(memoryview(area), copy)
    return area


def load_stored(area: bytearray) -> Any:
    kind, stream, extents = read_layout(memoryview(area))
    return load(kind, stream, [memoryview(area)[offset : offset + length] for offset, length in extents])


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner),
    max_leaves=12,
)


@given(_VALUES)
def test_values_come_back_from_messages_and_from_arenas(value: object) -> None:
    assert load_proto(serialize(value).to_proto()) == value
    assert load_stored(stored(serialize(value))) == value


def test_bytes_travel_as_they_are() -> None:
    made = serialize(b"raw")
    assert (made.kind, made.data, made.size) == (RAW, b"raw", 3)
    assert load_stored(stored(made)) == b"raw"


@given(st.lists(st.integers(0, 3000), max_size=6))
def test_buffers_are_out_of_band_and_aligned(sizes: list[int]) -> None:
    arrays = [np.arange(size, dtype=np.int16) for size in sizes]
    made = serialize(arrays)
    _, _, extents = read_layout(memoryview(stored(made)))
    assert all(offset % serialization.ALIGNMENT == 0 for offset, _ in extents)
    assert sorted(length for _, length in extents) == sorted(buffer.nbytes for buffer in made.buffers)
    ends = [0, *(offset + length for offset, length in extents)]
    assert all(offset >= end for (offset, _), end in zip(extents, ends, strict=False)), "they overlap"
    for back, array in zip(load_stored(stored(made)), arrays, strict=True):
        assert np.array_equal(back, array)


def test_functions_and_classes_of_main_travel_by_value() -> None:
    def local(number: int) -> int:
        return number + 1

    assert load_proto(serialize(local).to_proto())(1) == 2
    assert load_proto(serialize({"deep": [lambda: 7]}).to_proto())["deep"][0]() == 7


def test_what_cannot_be_pickled_is_named_with_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"Could not serialize .*list.*inspect_serializability"):
        serialize([threading.Lock()])


def test_an_error_is_a_value_of_its_own_kind() -> None:
    value = serialization.serialize_error(KeyError("k")).to_proto()
    error = load_proto(value)
    assert value.kind == ERROR and isinstance(error, KeyError) and error.args == ("k",)


def test_refs_inside_are_named_in_the_order_met_and_once_per_try() -> None:
    """Plain pickle gives up at the lambda, and cloudpickle meets the same refs again."""
    made = serialize([a_ref(1), {"x": a_ref(2)}, lambda: 0])
    assert [ref._id for ref in made.contained] == [a_ref(1)._id, a_ref(2)._id]
    assert [ref.owner.worker_id for ref in made.to_proto().contained] == [OWNER[1]] * 2


def test_received_refs_are_counted_together_and_those_of_this_thread_only() -> None:
    value = serialize([a_ref(1), a_ref(2)]).to_proto()
    counted: list[list[ObjectRef]] = []
    with receiving(counted.append):
        other = threading.Thread(target=load_proto, args=(value,))
        other.start()
        other.join()
        received = load_proto(value)
        assert counted == []
    load_proto(value)
    assert [[ref._id for ref in refs] for refs in counted] == [[ref._id for ref in received]]


def test_a_ref_that_is_used_before_its_value_is_whole_is_counted_then_and_once() -> None:
    value = serialize([a_ref(1)]).to_proto()
    counted: list[bytes] = []

    def count(refs: list[ObjectRef]) -> None:
        counted.extend(ref._id for ref in refs)

    with receiving(count):
        load_proto(value)
        assert count_arrived()
        assert not count_arrived()
        assert counted == [a_ref(1)._id]
    assert counted == [a_ref(1)._id]


def test_refs_of_a_value_that_could_not_be_loaded_are_not_counted() -> None:
    value = serialize([a_ref(1)]).to_proto()
    counted: list[list[ObjectRef]] = []
    value.data = value.data[:-1]
    with pytest.raises(Exception, match=r"truncated|Ran out"), receiving(counted.append):
        load_proto(value)
    assert counted == []


def test_a_failed_serialization_leaves_the_outer_one_alone() -> None:
    class Nested:
        def __reduce__(self) -> Any:
            with pytest.raises(TypeError):
                serialize([a_ref(9), threading.Lock()])
            return (list, ())

    assert [ref._id for ref in serialize([Nested(), a_ref(1)]).contained] == [a_ref(1)._id]


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


@pytest.fixture
def custom() -> Iterator[None]:
    serialization.register_serializer(Point, serializer=lambda p: p.x, deserializer=lambda x: Point(x * 10))
    yield
    serialization.deregister_serializer(Point)


@pytest.mark.usefixtures("custom")
def test_a_registered_serializer_is_used_until_it_is_taken_back() -> None:
    assert load_proto(serialize([Point(2)]).to_proto())[0].x == 20
    serialization.deregister_serializer(Point)
    assert load_proto(serialize([Point(2)]).to_proto())[0].x == 2


@pytest.mark.parametrize("area", [b"", b"\0" * 15, b"\xff" * 16, b"\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"])
def test_ranges_that_hold_no_value_are_refused(area: bytes) -> None:
    with pytest.raises(ValueError, match="a stored value"):
        read_layout(memoryview(area))


def test_sizes_count_stream_and_buffers() -> None:
    made = serialize(np.zeros(1000))
    assert made.kind == PICKLE and made.size == len(made.data) + 8000
    assert made.stored_size() >= made.size
