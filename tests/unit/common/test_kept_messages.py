"""Messages about what is over: bounded, and small."""

from __future__ import annotations

from manta_common.kept_messages import ENTRY_BYTES, KeptMessages
from manta_proto.common.v1 import common_pb2


def death(number: int, message: str = "") -> common_pb2.DeadWorker:
    cause = common_pb2.DeathCause(message=message, pid=number)
    return common_pb2.DeadWorker(address=common_pb2.WorkerAddress(worker_id=bytes([number]) * 4), cause=cause)


def kept(limit: int = 1_000, limit_bytes: int = 1 << 20) -> KeptMessages[int, common_pb2.DeadWorker]:
    return KeptMessages(common_pb2.DeadWorker.FromString, limit, limit_bytes)


def test_the_oldest_leave_beyond_a_number_of_entries() -> None:
    messages = kept(limit=2)
    assert [messages.add(number, death(number)) for number in (1, 2, 3)] == [[], [], [1]]
    assert list(messages) == [2, 3] and 1 not in messages and messages.get(1) is None
    assert list(messages.values()) == [death(2), death(3)]
    assert messages.get(3) == death(3)


def test_the_oldest_leave_beyond_a_number_of_bytes_but_never_the_newest() -> None:
    messages = kept(limit_bytes=3 * (ENTRY_BYTES + 200))
    for number in range(10):
        messages.add(number, death(number, "x" * 150))
    assert list(messages) == [7, 8, 9]
    assert messages.add(10, death(10, "x" * 10_000)) == [7, 8, 9]
    assert list(messages) == [10]
    messages.add(11, death(11))
    assert list(messages) == [11] and messages.bytes < ENTRY_BYTES + 50


def test_an_entry_that_is_kept_again_is_the_newest_and_counts_once() -> None:
    messages = kept()
    for number in (1, 2, 1):
        messages.add(number, death(number))
    assert list(messages) == [2, 1]
    assert messages.bytes == 2 * (ENTRY_BYTES + len(death(1).SerializeToString()))


def test_what_is_handed_out_is_the_callers_own() -> None:
    messages = kept()
    messages.add(1, death(1))
    found = messages.get(1)
    assert found is not None
    found.cause.message = "changed"
    assert messages.get(1) == death(1)


def test_the_newest_that_hold_some_bytes_come_first() -> None:
    messages = kept()
    for number in (1, 2, 3):
        messages.add(number, death(number, "odd" if number % 2 else "even"))
    assert [found.cause.pid for found in messages.newest()] == [3, 2, 1]
    assert [found.cause.pid for found in messages.newest(b"odd")] == [3, 1]
