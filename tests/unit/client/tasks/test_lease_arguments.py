"""Which arguments a raylet is told of ahead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from manta_proto.worker.v1 import worker_pb2
from ray._runtime.tasks.lease_arguments import TASKS, large_arguments


def task(*names: bytes, small: int = 0) -> Any:
    message = worker_pb2.Task()
    for name in names:
        argument = message.arguments.add()
        argument.stored.size = 1 << 20
        argument.stored.node_ids.append(b"n" * 28)
        argument.ref.object_id = name * 28
        argument.ref.owner.worker_id = b"w" * 28
    for _ in range(small):
        message.arguments.add().value.data = b"small"
    return SimpleNamespace(message=message.SerializeToString(), held=names)


def named(*tasks: Any) -> list[bytes]:
    return [argument.object_id[:1] for argument in large_arguments(cast(Any, tasks))]


def test_each_large_argument_is_named_once_the_oldest_tasks_first() -> None:
    assert named(task(b"b", b"a", small=2), task(b"a", b"c"), task(small=3)) == [b"b", b"a", b"c"]
    (first, *_) = large_arguments(cast(Any, [task(b"a")]))
    assert (first.size, list(first.node_ids), first.owner.worker_id) == (1 << 20, [b"n" * 28], b"w" * 28)


def test_only_the_oldest_tasks_count() -> None:
    assert named(*(task(bytes([number])) for number in range(100))) == [bytes([number]) for number in range(TASKS)]
    assert len(named(task(*(bytes([number]) for number in range(200))))) == 64
