"""The arguments of a call, with a stand-in for the process that stores the large ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from manta_proto.worker.v1 import worker_pb2
from ray._runtime.objects.object_table import ObjectTable
from ray._runtime.process.system_config import DEFAULT
from ray._runtime.tasks import arguments
from ray._runtime.values import serialization
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.serialization import DEFAULT_INLINE_LIMIT, Serialized

OWNER = (b"n" * 28, b"w" * 28)


class Storing:
    """What encode and fill need of a process."""

    tuning = DEFAULT

    def __init__(self) -> None:
        self.objects = ObjectTable()
        self.address = OWNER
        self.put: list[Serialized] = []
        self.arena = self
        self.flushed = 0

    def flush(self) -> None:
        self.flushed += 1

    def put_serialized(self, serialized: Serialized) -> ObjectRef:
        self.put.append(serialized)
        return a_ref(1000 + len(self.put))


def a_ref(number: int, owner: tuple[bytes, bytes] | None = OWNER) -> ObjectRef:
    return ObjectRef(number.to_bytes(28, "little"), owner)


@pytest.fixture
def process() -> Any:
    return Storing()


def encoded(process: Any, *args: Any, **kwargs: Any) -> arguments.Arguments:
    return arguments.encode(process, args, kwargs, "f")


def decoded(made: arguments.Arguments, resolved: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return arguments.decode(serialization.load_proto(made.value), resolved)


_PLAIN = st.integers() | st.text(max_size=5) | st.none()


def test_what_was_put_is_told_before_a_call_that_may_read_it(process: Any) -> None:
    encoded(process, 1, "b")
    assert process.flushed == 0
    encoded(process, a_ref(1))
    encoded(process, key=[a_ref(2)])
    assert process.flushed == 2


@given(
    st.lists(st.tuples(st.booleans(), _PLAIN), max_size=5),
    st.dictionaries(st.text("abc", min_size=1, max_size=2), st.tuples(st.booleans(), _PLAIN), max_size=4),
)
def test_every_argument_comes_back_in_its_place(
    args: list[tuple[bool, Any]], kwargs: dict[str, tuple[bool, Any]]
) -> None:
    """A ref among them is replaced by its value."""
    values: dict[bytes, Any] = {}

    def passed(is_ref: bool, value: Any) -> Any:
        if not is_ref:
            return value
        ref = a_ref(len(values))
        values[ref._id] = value
        return ref

    made = arguments.encode(
        Storing(),  # type: ignore[arg-type]
        tuple(passed(*arg) for arg in args),
        {name: passed(*arg) for name, arg in kwargs.items()},
        "f",
    )
    back = decoded(made, [values[ref._id] for ref in made.refs])
    assert back == (tuple(value for _, value in args), {name: value for name, (_, value) in kwargs.items()})


def test_nested_refs_stay_refs_and_are_held_too(process: Any) -> None:
    made = encoded(process, a_ref(1), [a_ref(2)], key=a_ref(3))
    assert [ref._id for ref in made.refs] == [a_ref(1)._id, a_ref(3)._id]
    assert [ref._id for ref in made.nested] == [a_ref(2)._id]
    assert made.held() == (a_ref(1)._id, a_ref(3)._id, a_ref(2)._id)
    args, kwargs = decoded(made, ["one", "three"])
    assert args[0] == "one" and kwargs == {"key": "three"} and args[1][0]._id == a_ref(2)._id


def test_one_ref_may_be_passed_twice(process: Any) -> None:
    made = encoded(process, a_ref(1), a_ref(1))
    assert decoded(made, ["a", "a"]) == (("a", "a"), {})
    assert made.held() == (a_ref(1)._id,) * 2


def test_large_values_go_to_the_store_and_small_ones_stay(process: Any) -> None:
    large = np.zeros(DEFAULT_INLINE_LIMIT, dtype=np.uint8)
    made = encoded(process, "small", large, key=large)
    assert len(process.put) == 2 and len(made.refs) == 2
    assert decoded(made, [1, 2]) == (("small", 1), {"key": 2})


def test_many_small_values_that_are_large_together_travel_inline(process: Any) -> None:
    args = tuple(bytes([number]) * (DEFAULT_INLINE_LIMIT // 4) for number in range(6))
    made = encoded(process, *args)
    assert not process.put and decoded(made, []) == (args, {})


def test_large_values_beside_refs_keep_their_places(process: Any) -> None:
    large = np.zeros(DEFAULT_INLINE_LIMIT, dtype=np.uint8)
    made = encoded(process, a_ref(1), large, "x")
    assert decoded(made, ["one", "stored"]) == (("one", "stored", "x"), {})


def test_ready_refs_are_filled_in_by_value_or_by_name(process: Any) -> None:
    inline, stored = a_ref(1), a_ref(2, None)
    process.objects.create(inline._id)
    process.objects.set_value(inline._id, serialization.serialize("v").to_proto())
    process.objects.create(stored._id)
    process.objects.set_stored(stored._id, 77, (b"node",))
    message = worker_pb2.Task()
    arguments.fill(process, message, [inline, stored])
    first, second = message.arguments
    assert serialization.load_proto(first.value) == "v" and not first.HasField("stored")
    assert (second.stored.size, list(second.stored.node_ids)) == (77, [b"node"])
    assert second.ref.object_id == stored._id and second.ref.owner.worker_id == OWNER[1]


def test_the_first_error_among_the_arguments_is_found(process: Any) -> None:
    fine, failed = a_ref(1), a_ref(2)
    for ref in (fine, failed):
        process.objects.create(ref._id)
    process.objects.set_value(fine._id, serialization.serialize(1).to_proto())
    assert arguments.first_error(process.objects, [fine, failed]) is None
    error = serialization.serialize_error(ValueError("no")).to_proto()
    process.objects.set_value(failed._id, error)
    assert arguments.first_error(process.objects, [fine, failed]) == error
