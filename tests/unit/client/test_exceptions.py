"""The tree of errors: each survives pickling; remote errors come back as what the user raised."""

from __future__ import annotations

import copy
import inspect
import pickle
import threading
from typing import Any

import pytest
from manta_proto.common.v1 import common_pb2
from ray import exceptions
from ray.exceptions import ActorDiedError, RayError, RayTaskError

# Arguments for constructors that need any.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "RayTaskError": ("f", "ray::f()\nValueError: x", ValueError("x")),
    "ActorUnavailableError": ("the network is down", b"a" * 16),
    "ObjectReconstructionFailedError": ("ab" * 28, "PUT", None, b"owner", "here.py:1"),
    "RpcError": ("no answer", 14),
    "TaskCancelledError": (b"t" * 24,),
    "RayActorError": ("ab" * 16, "it died", True, True),
}

CLASSES = [
    kind
    for name, kind in sorted(vars(exceptions).items())
    if inspect.isclass(kind) and issubclass(kind, RayError) and not name.startswith("_")
]


def _make(kind: type[RayError]) -> RayError:
    if kind.__name__ in ARGUMENTS:
        return kind(*ARGUMENTS[kind.__name__])
    if kind.__init__ in (Exception.__init__, OSError.__init__):
        return kind("some text")
    needed = [
        parameter
        for parameter in list(inspect.signature(kind.__init__).parameters.values())[1:]
        if parameter.default is inspect.Parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    return kind(*(f"some {parameter.name}" for parameter in needed))


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("way", ["pickle", "to_bytes", "copy"])
def test_every_error_survives_the_way_to_another_process(kind: type[RayError], way: str) -> None:
    error = _make(kind)
    restored: Any
    if way == "pickle":
        restored = pickle.loads(pickle.dumps(error))
    elif way == "to_bytes":
        restored = RayError.from_bytes(error.to_bytes())
    else:
        restored = copy.copy(error)
    assert type(restored) is kind
    assert str(restored) == str(error)
    assert repr(restored.args) == repr(error.args)
    fields = {name: value for name, value in vars(error).items() if not isinstance(value, BaseException)}
    assert {name: vars(restored)[name] for name in fields} == fields


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_says_something_and_is_in_the_tree(kind: type[RayError]) -> None:
    assert kind.__doc__
    assert kind.__name__ in (exceptions.__doc__ or "")
    if kind not in (RayError, exceptions.AsyncioActorExit, exceptions.GetTimeoutError):
        assert str(_make(kind)) or not _make(kind).args


def test_the_errors_that_programs_catch_by_builtin_classes_are_those() -> None:
    assert issubclass(exceptions.GetTimeoutError, TimeoutError)
    assert issubclass(exceptions.ActorAlreadyExistsError, ValueError)
    assert issubclass(exceptions.ActorHandleNotFoundError, ValueError)
    assert issubclass(exceptions.ReferenceCountingAssertionError, AssertionError)
    for lost in ("OwnerDiedError", "ObjectFreedError", "ObjectFetchTimedOutError", "ObjectReconstructionFailedError"):
        assert issubclass(getattr(exceptions, lost), exceptions.ObjectLostError)


class OddConstructor(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")
        self.a, self.b = a, b

    @property
    def total(self) -> int:
        return self.a + self.b


class KeywordOnly(ValueError):
    __slots__ = ("x",)

    def __init__(self, *, x: int) -> None:
        self.x = x


class HoldsLock(Exception):
    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.lock = threading.Lock()
        self.why = why


class OwnNew(Exception):
    def __new__(cls, code: int) -> OwnNew:
        return super().__new__(cls, code)

    def __init__(self, code: int) -> None:
        super().__init__()


class RefusesText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class RefusesSubclasses(Exception):
    def __init_subclass__(cls) -> None:
        raise RuntimeError("final")


class RefusesAttributes(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        raise RuntimeError("frozen")


ODD = [
    ValueError("plain"),
    OddConstructor(1, 2),
    KeywordOnly(x=3),
    HoldsLock("why"),
    OwnNew(3),
    RefusesText(),
    RefusesAttributes("x"),
    FileNotFoundError(2, "No such file", "name"),
    KeyError("key"),
    UnicodeDecodeError("utf8", b"x", 0, 1, "bad"),
    StopIteration(4),
    SystemExit(3),
    ExceptionGroup("group", [ValueError(1), KeyError(2)]),
    exceptions.ObjectLostError("ab" * 28),
    exceptions.GetTimeoutError("late"),
]


def _task_error(cause: BaseException) -> RayTaskError:
    try:
        raise cause
    except BaseException as error:
        return RayTaskError.from_exception("f", error, pid=12, ip="10.0.0.1")


@pytest.mark.parametrize("cause", ODD, ids=lambda cause: type(cause).__name__)
def test_a_remote_error_is_also_what_the_user_raised(cause: BaseException) -> None:
    for error in (
        _task_error(cause).as_instanceof_cause(),
        pickle.loads(pickle.dumps(_task_error(cause))).as_instanceof_cause(),
        pickle.loads(pickle.dumps(_task_error(cause).as_instanceof_cause())),
        RayError.from_bytes(_task_error(cause).as_instanceof_cause().to_bytes()),
    ):
        assert isinstance(error, RayTaskError)
        assert isinstance(error, type(cause))
        assert type(error.cause) is type(cause)
        assert error.args == (error.cause,)
        assert "ray::f() (pid=12, ip=10.0.0.1)" in str(error)
        assert "test_exceptions.py" in str(error)
        with pytest.raises(type(cause)):
            raise error


def test_attributes_of_the_cause_are_there_wherever_its_class_keeps_them() -> None:
    odd: Any = _task_error(OddConstructor(1, 2)).as_instanceof_cause()
    assert (odd.a, odd.b, odd.total) == (1, 2, 3)
    slotted: Any = _task_error(KeywordOnly(x=3)).as_instanceof_cause()
    assert slotted.x == 3
    missing: Any = _task_error(FileNotFoundError(2, "No such file", "name")).as_instanceof_cause()
    assert (missing.errno, missing.strerror, missing.filename) == (2, "No such file", "name")
    undecodable: Any = _task_error(UnicodeDecodeError("utf8", b"x", 0, 1, "bad")).as_instanceof_cause()
    assert (undecodable.object, undecodable.start, undecodable.reason) == (b"x", 0, "bad")
    held: Any = pickle.loads(pickle.dumps(_task_error(HoldsLock("why")).as_instanceof_cause()))
    assert held.why == "why"
    assert "lock" in held.lock
    with pytest.raises(AttributeError):
        _ = odd.nothing


def test_a_class_that_refuses_subclasses_gives_the_plain_error() -> None:
    error = _task_error(ValueError("x"))
    error.cause = RefusesSubclasses("x")
    with pytest.raises(TypeError, match="RuntimeError: final"):
        error.make_dual_exception_instance()
    assert error.as_instanceof_cause() is error


def test_an_error_whose_class_is_gone_keeps_its_text() -> None:
    namespace: dict[str, Any] = {}
    exec("class Gone(Exception): pass", {"__name__": "gone_module"}, namespace)

    class Unpicklable(Exception):
        def __reduce_ex__(self, protocol: Any) -> Any:
            raise RuntimeError("never")

    # By reference to a module that does not exist when it is read.
    import sys
    import types

    module = types.ModuleType("gone_module")
    module.Gone = namespace["Gone"]  # type: ignore[attr-defined]
    sys.modules["gone_module"] = module
    try:
        data = pickle.dumps(_task_error(module.Gone("what happened")))
    finally:
        del sys.modules["gone_module"]
    restored = pickle.loads(data)
    assert isinstance(restored.cause, exceptions.UnserializableException)
    assert "Gone: what happened" in str(restored.cause)
    assert "what happened" in str(restored)
    # Its parts are enough where its own way of pickling fails.
    assert type(pickle.loads(pickle.dumps(_task_error(Unpicklable("x")))).cause).__name__ == "Unpicklable"


def test_an_error_of_an_inner_task_keeps_the_first_cause_and_both_tracebacks() -> None:
    inner = _task_error(ValueError("first")).as_instanceof_cause()
    try:
        raise inner
    except RayTaskError as raised:
        outer = RayTaskError.from_exception("outer", raised, pid=13, ip="10.0.0.2")
    assert type(outer.cause) is ValueError
    assert "ray::outer() (pid=13" in str(outer)
    assert "ray::f() (pid=12" in str(outer)


def test_a_chain_of_causes_is_in_the_text() -> None:
    try:
        try:
            raise KeyError("low")
        except KeyError as low:
            raise ValueError("high") from low
    except ValueError as high:
        text = str(RayTaskError.from_exception("f", high, pid=1, ip="x"))
    assert "KeyError: 'low'" in text
    assert "direct cause" in text
    assert "ValueError: high" in text


def test_an_actor_that_died_in_its_constructor_says_so() -> None:
    error = ActorDiedError.from_task_error(_task_error(ValueError("bad argument")))
    assert error.actor_init_failed
    assert "bad argument" in str(error)
    assert pickle.loads(pickle.dumps(error)).actor_init_failed


@pytest.mark.parametrize("kind", common_pb2.DeathCause.Kind.values())
def test_every_cause_of_death_has_words(kind: common_pb2.DeathCause.Kind.ValueType) -> None:
    cause = common_pb2.DeathCause(
        kind=kind, message="because", exit_code=-9, pid=5, node_id=b"n" * 28, last_log_lines=["last words"]
    )
    error = ActorDiedError(cause, actor_id="ab" * 16, class_name="Counter", name="c")
    text = str(error)
    assert "because" in text
    assert "signal 9" in text
    assert "last words" in text
    assert "Counter" in text
    assert f"cause {kind}" not in text
    assert str(pickle.loads(pickle.dumps(error))) == text
