"""Hand-made wire format, read back by protobuf."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manta_proto.worker.v1 import worker_pb2
from ray._runtime.values.wire import (
    FIRST_RETURN,
    attempt_field,
    incarnation_field,
    item_id,
    items_arrived_field,
    plain_item,
    plain_reply,
    plain_return,
    repeated_field,
)

_TASKS = worker_pb2.Tasks.DESCRIPTOR.fields_by_name["tasks"].number


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_of_repeated_attempts_the_last_counts(first: int, second: int) -> None:
    task = worker_pb2.Task(task_id=b"t", method="m").SerializeToString()
    parsed = worker_pb2.Task.FromString(task + attempt_field(first) + incarnation_field(first) + attempt_field(second))
    assert (parsed.task_id, parsed.method) == (b"t", "m")
    assert (parsed.attempt, parsed.incarnation) == (second, first)


@given(st.lists(st.integers(0, 70_000), max_size=8))
def test_a_batch_is_the_concatenation_of_its_parts(sizes: list[int]) -> None:
    tasks = [worker_pb2.Task(task_id=b"x" * size) for size in sizes]
    header = worker_pb2.Tasks(lease_id=b"l").SerializeToString()
    parts = [repeated_field(_TASKS, task.SerializeToString()) for task in tasks]
    batch = worker_pb2.Tasks.FromString(header + b"".join(parts))
    assert batch.lease_id == b"l" and list(batch.tasks) == tasks


def test_fields_by_hand_are_those_of_the_protocol() -> None:
    assert _TASKS < 16, "repeated_field writes one byte of tag"
    assert worker_pb2.Replies.DESCRIPTOR.fields_by_name["replies"].number == 1, "the executor writes it as 1"


@pytest.mark.parametrize("stream", [b"", b"x" * 127, b"x" * 128, b"x" * 70_000])
def test_plain_results_are_what_protobuf_reads(stream: bytes) -> None:
    task_id = b"t" * 24
    whole = worker_pb2.TaskReply.FromString(plain_reply(task_id, stream, 7, 2))
    (result,) = whole.returns
    assert (whole.task_id, whole.execution_us, whole.attempt) == (task_id, 7, 2)
    assert (result.object_id, result.value.data) == (task_id + FIRST_RETURN, stream)
    whole.MergeFromString(plain_return(b"o" * 28, stream))
    assert [(one.object_id, one.value.data) for one in whole.returns][1:] == [(b"o" * 28, stream)]


@pytest.mark.parametrize("stream", [b"", b"x" * 127, b"x" * 128, b"x" * 70_000])
def test_a_plain_item_is_what_protobuf_reads(stream: bytes) -> None:
    message = worker_pb2.Return.FromString(plain_item(stream))
    assert message.value.data == stream
    assert not message.object_id


@pytest.mark.parametrize("arrived", [0, 1, 300])
def test_items_that_arrived_are_appended_to_a_task(arrived: int) -> None:
    encoded = worker_pb2.Task(name="f").SerializeToString() + items_arrived_field(arrived)
    assert worker_pb2.Task.FromString(encoded) == worker_pb2.Task(name="f", items_arrived=arrived)


def test_ids_of_items_come_behind_the_task_s_own_result() -> None:
    task_id = b"t" * 24
    ids = [item_id(task_id, index) for index in range(3)]
    assert len({task_id + FIRST_RETURN, task_id + bytes(4), *ids}) == 5
    assert ids[0] == task_id + (2).to_bytes(4, "little")
