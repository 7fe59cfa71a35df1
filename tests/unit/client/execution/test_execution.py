"""Results and errors of one run into its reply, with a stand-in for the process."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from manta_proto.worker.v1 import worker_pb2
from ray._runtime.execution import return_values as module
from ray._runtime.execution.execution import Execution, Failure, clear_frames
from ray._runtime.execution.return_values import pack_returns, store_all
from ray._runtime.process.system_config import DEFAULT
from ray._runtime.values import serialization
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.serialization import DEFAULT_INLINE_LIMIT, ERROR
from ray.exceptions import RayTaskError

ME, CALLER = (b"n" * 28, b"w" * 28), (b"m" * 28, b"c" * 28)
TASK = b"t" * 24


def an_execution(num_returns: int) -> Execution:
    process: Any = SimpleNamespace(
        address=ME,
        node_id=ME[0],
        ip_address="127.0.0.1",
        executor=SimpleNamespace(actor=None),
        tuning=DEFAULT,
    )
    batch = worker_pb2.Tasks()
    batch.caller.node_id, batch.caller.worker_id = CALLER
    task = worker_pb2.Task(task_id=TASK, num_returns=num_returns, name="f")
    return Execution(process, None, batch, task)  # type: ignore[arg-type]


def packed(num_returns: int, result: Any) -> tuple[worker_pb2.TaskReply, dict[bytes, list[tuple[bytes, bytes]]]]:
    reply, large, execution = worker_pb2.TaskReply(), list[Any](), an_execution(num_returns)
    contained = pack_returns(execution, reply, result, large)
    store_all(execution, large)
    return reply, contained


def raised(num_returns: int, error: Any) -> tuple[worker_pb2.TaskReply, dict[bytes, list[tuple[bytes, bytes]]]]:
    reply = worker_pb2.TaskReply(outcome=worker_pb2.TaskReply.RAISED)
    return reply, pack_returns(an_execution(num_returns), reply, error, [])


def values(reply: worker_pb2.TaskReply) -> list[Any]:
    return [serialization.load_proto(result.value) for result in reply.returns]


def a_ref(number: int, owner: tuple[bytes, bytes] | None) -> ObjectRef:
    return ObjectRef(number.to_bytes(28, "little"), owner)


def test_one_result_is_one_object() -> None:
    reply, contained = packed(1, [1, 2])
    assert values(reply) == [[1, 2]] and not contained
    assert reply.returns[0].object_id == TASK + b"\1\0\0\0"


def test_several_results_are_taken_apart() -> None:
    reply, _ = packed(3, iter("abc"))
    assert values(reply) == ["a", "b", "c"]
    assert [result.object_id[24:] for result in reply.returns] == [b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0"]


def test_no_result_is_asked_for_and_none_is_sent() -> None:
    reply, contained = packed(0, "ignored")
    assert not reply.returns and not contained


@pytest.mark.parametrize(
    ("result", "kind", "says"),
    [("ab", ValueError, "Task returned 2 objects"), (7, TypeError, "returned int, not a sequence")],
)
def test_a_wrong_number_of_results_fails_the_task(result: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(Failure) as caught:
        packed(3, result)
    error = caught.value.value
    assert isinstance(error, RayTaskError) and isinstance(error.cause, kind)
    assert "num_returns=3" in str(error.cause) and says in str(error.cause)


def test_an_unpicklable_result_fails_the_task() -> None:
    with pytest.raises(Failure) as caught:
        packed(1, threading.Lock())
    assert isinstance(caught.value.value, RayTaskError) and isinstance(caught.value.value.cause, TypeError)


def test_a_large_result_is_stored_for_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bytes, tuple[bytes, bytes]]] = []

    def store(_process: Any, object_id: bytes, serialized: Any, owner: tuple[bytes, bytes]) -> int:
        seen.append((object_id, owner))
        return int(serialized.stored_size())

    monkeypatch.setattr(module, "store", store)
    inner = a_ref(5, None)
    reply, contained = packed(1, [np.zeros(DEFAULT_INLINE_LIMIT, dtype=np.uint8), inner])
    result = reply.returns[0]
    assert seen == [(result.object_id, CALLER)]
    assert list(result.stored.node_ids) == [ME[0]] and result.stored.size > DEFAULT_INLINE_LIMIT
    assert [ref.object_id for ref in result.contained] == [inner._id]
    assert contained == {result.object_id: [(inner._id, ME[1])]}


def test_refs_in_results_are_told_with_their_owners() -> None:
    mine, other = a_ref(1, None), a_ref(2, (b"o" * 28, b"p" * 28))
    reply, contained = packed(2, [[mine], {"k": other}])
    first, second = (result.object_id for result in reply.returns)
    assert contained == {first: [(mine._id, ME[1])], second: [(other._id, b"p" * 28)]}


def test_an_error_stands_for_every_result() -> None:
    reply, contained = raised(2, RayTaskError("f", "traceback", ValueError("no"), pid=1, ip=""))
    assert [result.value.kind for result in reply.returns] == [ERROR, ERROR] and not contained
    assert all(isinstance(error.cause, ValueError) for error in values(reply))


class Carrier(Exception):
    def __init__(self, ref: ObjectRef) -> None:
        super().__init__(ref)


def test_refs_in_an_error_are_told_for_each_result_that_it_stands_for() -> None:
    mine = a_ref(1, None)
    reply, contained = raised(2, RayTaskError("f", "traceback", Carrier(mine), pid=1, ip=""))
    assert contained == {result.object_id: [(mine._id, ME[1])] for result in reply.returns}


class Unpicklable(RayTaskError):
    def __reduce__(self) -> Any:
        raise TypeError("not this one")


def test_an_error_that_cannot_be_pickled_keeps_its_traceback() -> None:
    reply, _ = raised(1, Unpicklable("f", "the traceback", ValueError("no"), pid=1, ip=""))
    (back,) = values(reply)
    assert "the traceback" in str(back) and "cannot be pickled" in str(back.cause)


def test_an_enormous_error_is_told_by_its_text() -> None:
    reply, _ = raised(1, RayTaskError("f", "the traceback", ValueError("x" * 20 * DEFAULT_INLINE_LIMIT), pid=1, ip=""))
    (back,) = values(reply)
    assert reply.ByteSize() < 3 * DEFAULT_INLINE_LIMIT and "bytes when pickled" in str(back.cause)


def test_a_failure_tells_the_users_frames_and_drops_them() -> None:
    execution = an_execution(1)
    try:
        raise KeyError("missing")
    except KeyError as error:
        failure = execution.failure(error)
    told = failure.value
    assert isinstance(told, RayTaskError) and isinstance(told.cause, KeyError)
    assert told.cause.__traceback__ is None
    assert "test_execution.py" in str(told) and "execution.py" in str(told)


def test_a_failure_of_a_dependency_keeps_its_cause() -> None:
    inner = RayTaskError("g", "inner traceback", ValueError("first"), pid=1, ip="")
    told = an_execution(1).failure(inner).value
    assert isinstance(told, RayTaskError) and isinstance(told.cause, ValueError)


def test_tracebacks_are_cleared_in_cycles_of_causes_too() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    clear_frames(first)
    assert first.__traceback__ is None
