"""Protobuf wire format by hand, where a message is put together from parts that are serialized already.

A serialized message is a sequence of fields, and concatenating two gives their merge: repeated fields are appended, of
others the last counts. So a task is serialized once, when it is submitted, and batches are joined from the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from manta_common.varint import varint
from manta_proto.worker.v1 import worker_pb2

_ATTEMPT: Final = worker_pb2.Task.DESCRIPTOR.fields_by_name["attempt"].number
_INCARNATION: Final = worker_pb2.Task.DESCRIPTOR.fields_by_name["incarnation"].number
_ITEMS_ARRIVED: Final = worker_pb2.Task.DESCRIPTOR.fields_by_name["items_arrived"].number

# What follows a task's id in the id of its first result.
FIRST_RETURN: Final = (1).to_bytes(4, "little")

# Indices of a generator's items begin here: 0 and 1 are the stream and the task's own result.
FIRST_ITEM: Final = 2

# Task.last_attempt, to be appended to a serialized Task. The field number takes two bytes.
LAST_ATTEMPT: Final = worker_pb2.Task(last_attempt=True).SerializeToString()


# Frames are not joined beyond this. The parts of one are far smaller: what a task or a reply holds inline is bounded.
JOIN_BYTES: Final = 32 * 1024 * 1024


def frames(header: bytes, parts: Sequence[bytes]) -> Sequence[bytes]:
    """Messages that begin with `header` and together have all parts, in their order, at most JOIN_BYTES or one part."""
    whole = b"".join((header, *parts))
    if len(whole) <= JOIN_BYTES:
        return (whole,)
    found: list[bytes] = []
    size, begin = 0, 0
    for end, part in enumerate(parts):
        size += len(part)
        if size > JOIN_BYTES and end > begin:
            found.append(b"".join((header, *parts[begin:end])))
            size, begin = len(part), end
    found.append(b"".join((header, *parts[begin:])))
    return found


def repeated_field(field: int, message: bytes) -> bytes:
    """One element of a repeated message field, field < 16."""
    size = len(message)
    if size < 0x80:
        return bytes((field << 3 | 2, size)) + message
    return bytes((field << 3 | 2,)) + varint(size) + message


def plain_task(template: bytes, task_id: bytes, stream: bytes) -> bytes:
    """A serialized Task: what all calls of a function share, its id, and as args a Value that is one pickle stream."""
    value = b"\x12" + varint(len(stream)) + stream
    return b"".join((template, b"\x0a\x18", task_id, b"\x1a", varint(len(value)), value))


def plain_return(object_id: bytes, stream: bytes) -> bytes:
    """One of TaskReply.returns whose value is but a pickle stream, as a serialized TaskReply that has nothing else."""
    value = b"\x12" + varint(len(stream)) + stream
    result = b"".join((b"\x0a\x1c", object_id, b"\x12", varint(len(value)), value))
    return b"".join((b"\x1a", varint(len(result)), result))


def plain_reply(task_id: bytes, stream: bytes, execution_us: int, attempt: int) -> bytes:
    """A serialized TaskReply of outcome DONE whose one result is but a pickle stream."""
    result = plain_return(task_id + FIRST_RETURN, stream)
    parts = [b"\x0a\x18", task_id, result, b"\x28", varint(execution_us)]
    if attempt:
        parts += (b"\x38", varint(attempt))
    return b"".join(parts)


def attempt_field(attempt: int) -> bytes:
    """Task.attempt, to be appended to a serialized Task."""
    return bytes((_ATTEMPT << 3,)) + varint(attempt)


def incarnation_field(incarnation: int) -> bytes:
    """Task.incarnation, to be appended to a serialized Task."""
    return bytes((_INCARNATION << 3,)) + varint(incarnation)


def items_arrived_field(arrived: int) -> bytes:
    """Task.items_arrived, to be appended to a serialized Task."""
    return varint(_ITEMS_ARRIVED << 3) + varint(arrived)


def item_id(task_id: bytes, index: int) -> bytes:
    """The object id of a generator's item, counted from 0."""
    return task_id + (index + FIRST_ITEM).to_bytes(4, "little")


def plain_item(stream: bytes) -> bytes:
    """A serialized Return that is but a pickle stream; its id is known by its place."""
    value = b"\x12" + varint(len(stream)) + stream
    return b"\x12" + varint(len(value)) + value
