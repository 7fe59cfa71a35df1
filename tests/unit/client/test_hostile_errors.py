"""Exceptions whose classes run code of their own wherever one may: what they were comes through, and nothing breaks."""

from __future__ import annotations

import concurrent.futures
import pickle
import traceback
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from manta_proto.worker.v1 import worker_pb2
from ray import _bare_error
from ray._runtime.execution.execution import Execution, Failure, run
from ray._runtime.execution.return_values import pack_error
from ray._runtime.values import serialization
from ray._runtime.values.gc_pause import held_back
from ray._runtime.values.ref_pickling import receiving
from ray._runtime.values.system_errors import as_raised
from ray.exceptions import RayTaskError


def refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
    # No Exception: code that means to be safe may catch no more than that.
    raise SystemExit("a hook of the user's class ran")


@dataclass(frozen=True)
class Frozen(Exception):
    why: str


@dataclass
class Unhashable(Exception):
    why: str


class NoAttributes(Exception):
    __getattribute__ = refuse
    __setattr__ = refuse


class Liar(Exception):
    __class__ = property(refuse)  # type: ignore[assignment]


class Untrue(Exception):
    __bool__ = refuse


class Empty(Exception):
    def __len__(self) -> int:
        return 0


class NoText(Exception):
    __str__ = __repr__ = refuse


class NoEquals(Exception):
    __eq__ = __hash__ = refuse  # type: ignore[assignment]


class NoPickle(Exception):
    __reduce__ = __reduce_ex__ = __getstate__ = refuse


class Properties(Exception):
    args = property(refuse)
    __traceback__ = property(refuse)  # type: ignore[assignment]
    __cause__ = property(refuse)  # type: ignore[assignment]
    __context__ = property(refuse)  # type: ignore[assignment]
    __notes__ = property(refuse)  # type: ignore[assignment]


class Meta(type):
    # Not __subclasscheck__, which the interpreter itself asks when such an error is raised.
    __instancecheck__ = refuse
    __eq__ = __bool__ = __call__ = refuse  # type: ignore[assignment]
    __hash__ = type.__hash__


class OfMeta(Exception, metaclass=Meta):
    pass


class HostileExit(SystemExit):
    __getattr__ = refuse
    code = property(refuse)  # type: ignore[assignment]


def an_execution() -> Execution:
    process: Any = SimpleNamespace(
        address=(b"n" * 28, b"w" * 28),
        ip_address="127.0.0.1",
        is_fork=False,
        executor=SimpleNamespace(actor=None),
        output_name=lambda _actor, _name: None,
    )
    batch, task = worker_pb2.Tasks(), worker_pb2.Task(task_id=b"t" * 24, num_returns=1, name="f")
    return Execution(process, None, batch, task)  # type: ignore[arg-type]


def raised_by_a_task(error: BaseException) -> tuple[Execution, RayTaskError]:
    def user_code() -> NoReturn:
        raise error

    execution = an_execution()
    with pytest.raises(Failure) as caught:
        run(execution, user_code, (), {})
    told = caught.value.value
    assert isinstance(told, RayTaskError)
    return execution, told


KINDS = {
    type.__dict__["__name__"].__get__(kind): kind
    for kind in (Frozen, Unhashable, NoAttributes, Liar, Untrue, Empty, NoText, NoEquals, NoPickle, Properties, OfMeta)
}


def broken_on_the_way_of(kind: type[BaseException]) -> str:
    """What of an error of this kind does not come through. pytest must not see the error: it would ask its class."""
    error = type.__call__(kind, "limit")
    execution, told = raised_by_a_task(error)
    arrived = as_raised(serialization.load_proto(pack_error(execution, told).to_proto()))
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    future.set_exception(arrived)
    got = None
    try:
        future.result(0)
    except BaseException as result:
        got = result
    checks = {
        "it ended the worker": not execution.exits and not execution.cancelled,
        "its frames are kept": _bare_error.traceback_of(error) is None,
        "its text": "ray::f() (" in str(told) and _bare_error.class_name(error) in str(told),
        "the class of what is raised": _bare_error.is_base(kind, of=type(arrived)) and type(arrived) is not kind,
        "the cause": type(object.__getattribute__(arrived, "__dict__")["cause"]) is kind,
        "a future of it": got is arrived,
    }
    return ", ".join(name for name, holds in checks.items() if not holds)


@pytest.mark.parametrize("name", KINDS)
def test_it_reaches_the_caller_as_what_it_was(name: str) -> None:
    try:
        broken = broken_on_the_way_of(KINDS[name])
    except BaseException as hook:
        broken = "".join(traceback.format_tb(hook.__traceback__))
    assert broken == ""


class RaisesWhenRead:
    def __reduce__(self) -> Any:
        return _refused, ()


def _refused() -> NoReturn:
    raise Frozen("when it is read")


def test_an_error_of_the_unpickling_is_told_as_what_it_is() -> None:
    value = serialization.serialize(RaisesWhenRead()).to_proto()
    with pytest.raises(Frozen), held_back(), receiving(lambda _refs: None):
        serialization.load_proto(value)


def test_an_exit_ends_the_worker_whatever_its_class_does() -> None:
    execution, _ = raised_by_a_task(HostileExit(3))
    assert execution.exit_code == 3 and "sys.exit(3) was called" in execution.exits

    class Code:
        __repr__ = refuse

    execution, _ = raised_by_a_task(SystemExit(Code()))
    assert execution.exit_code == 1 and "sys.exit(<Code>) was called" in execution.exits


def test_members_of_a_group_travel_each_as_it_can() -> None:
    group = ExceptionGroup("several", [NoPickle("a"), ValueError("b"), ExceptionGroup("inner", [Frozen("c")])])
    execution, told = raised_by_a_task(group)
    arrived = as_raised(serialization.load_proto(pack_error(execution, told).to_proto()))
    assert isinstance(arrived, ExceptionGroup)
    first, second, inner = arrived.exceptions
    assert (type(first), type(second)) == (NoPickle, ValueError)
    assert isinstance(inner, ExceptionGroup) and inner.exceptions[0] == Frozen("c")
    matching, _ = arrived.split(ValueError)
    assert matching is not None and matching.exceptions == (second,)


def test_the_frames_of_a_group_s_members_are_dropped() -> None:
    members = []
    for number in range(2):
        try:
            raise ValueError(number)
        except ValueError as error:
            members.append(error)
    raised_by_a_task(ExceptionGroup("several", members))
    assert [member.__traceback__ for member in members] == [None, None]


def test_a_class_that_cannot_be_subclassed_is_said_to_be_so(caplog: pytest.LogCaptureFixture) -> None:
    class Final(Exception):
        def __init_subclass__(cls) -> None:
            raise TypeError("not this one")

    _, told = raised_by_a_task(Final("reason"))
    assert as_raised(told) is told and isinstance(told.cause, Final)
    (record,) = caplog.records
    assert "Final" in record.getMessage() and "can't be subclassed" in record.getMessage()
    assert "raised as RayTaskError only" in record.getMessage() and "not this one" in record.getMessage()


def test_the_error_itself_can_be_pickled_again() -> None:
    _, told = raised_by_a_task(Frozen("limit"))
    arrived = pickle.loads(pickle.dumps(as_raised(told)))
    assert isinstance(arrived, Frozen) and arrived.why == "limit"
