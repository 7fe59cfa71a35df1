"""Remote functions: what reaches the runtime, and what is refused at the call."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterator
from typing import Any

import cloudpickle
import pytest
import ray
from ray._argument_check import ArgumentCheck
from ray.remote_function import RemoteFunction

from tests.unit.client.recording_runtime import RecordingRuntime, recording


@pytest.fixture
def runtime() -> Iterator[RecordingRuntime]:
    with recording() as made:
        yield made


def test_a_call_reaches_the_runtime_with_its_arguments_and_options(runtime: RecordingRuntime) -> None:
    @ray.remote(num_cpus=2, num_returns=3)
    def f(a: int, b: int = 1) -> None: ...

    ref = f.remote(1, b=2)
    assert isinstance(ref, ray.ObjectRef)
    (task,) = runtime.tasks
    assert (task.args, task.kwargs) == ((1,), {"b": 2})
    assert (task.options.resources, task.options.num_returns) == ({"CPU": 2}, 3)
    assert task.function.function is f._function
    assert task.function.name.endswith("f")


def test_a_parameter_may_have_any_name(runtime: RecordingRuntime) -> None:
    @ray.remote
    def f(self: int, args: int, kwargs: int, options: int, function: int) -> int:
        return self + args + kwargs + options + function

    names = {"self": 1, "args": 2, "kwargs": 3, "options": 4, "function": 5}
    f.remote(**names)
    f.options(num_cpus=2).remote(**names)
    assert [task.kwargs for task in runtime.tasks] == [names, names]


def test_options_change_one_call_and_share_the_pickled_function(runtime: RecordingRuntime) -> None:
    @ray.remote(num_cpus=2, max_calls=3)
    def f() -> None: ...

    f.options(num_gpus=1, name="other").remote()
    f.remote()
    f.options(num_cpus=None).remote()
    changed, plain, back = runtime.tasks
    assert changed.options.resources == {"CPU": 2, "GPU": 1}
    assert (changed.options.name, changed.options.max_calls) == ("other", 3)
    assert plain.options.resources == {"CPU": 2}
    assert back.options.resources == {"CPU": 1}
    assert changed.function is plain.function


def test_options_are_resolved_once_for_all_calls(runtime: RecordingRuntime) -> None:
    @ray.remote
    def f() -> None: ...

    f.remote()
    f.remote()
    first, second = runtime.tasks
    assert first.options is second.options


def test_bad_options_are_refused_where_they_are_written() -> None:
    with pytest.raises(ValueError, match="num_cpu"):

        @ray.remote(num_cpu=1)
        def f() -> None: ...

    @ray.remote
    def g() -> None: ...

    with pytest.raises(TypeError, match="num_cpus"):
        g.options(num_cpus="1")


def test_a_remote_function_cannot_be_called_directly() -> None:
    @ray.remote
    def f() -> None: ...

    with pytest.raises(TypeError, match=r"f\.remote"):
        f()


def test_a_coroutine_function_is_refused() -> None:
    with pytest.raises(ValueError, match="'async def' should not be used for remote tasks"):

        @ray.remote
        async def f() -> None: ...


@pytest.mark.parametrize("target", [3, "f", object(), None], ids=["int", "str", "object", "None"])
def test_only_functions_and_classes_can_be_remote(target: Any) -> None:
    with pytest.raises(TypeError, match="function or a class"):
        ray.remote(target)


def test_the_decorator_takes_keyword_options_only() -> None:
    with pytest.raises(TypeError, match="keyword options"):
        ray.remote()
    with pytest.raises(TypeError, match="keyword options"):
        ray.remote(1, 2)  # type: ignore[call-overload]


def test_a_remote_function_keeps_its_name_doc_and_signature() -> None:
    @ray.remote
    def f(a: int, *, b: str = "x") -> float:
        """What it does."""
        return 0.0

    assert isinstance(f, RemoteFunction)
    assert (f.__name__, f.__doc__) == ("f", "What it does.")
    assert list(inspect.signature(f).parameters) == ["a", "b"]
    assert f.__wrapped__ is f._function


def test_generators_stream(runtime: RecordingRuntime) -> None:
    @ray.remote
    def f() -> Iterator[int]:
        yield 1

    f.remote()
    assert runtime.tasks[0].options.num_returns == -1


def test_bind_says_that_it_is_not_there() -> None:
    @ray.remote
    def f() -> None: ...

    with pytest.raises(NotImplementedError, match="remote"):
        f.bind()


def test_a_remote_function_that_names_itself_survives_pickling(runtime: RecordingRuntime) -> None:
    source = "import ray\n@ray.remote(num_cpus=3)\ndef f(n, *, step=1):\n    return f.remote(n - step)\n"
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(source, scope)
    for pickled in (scope["f"], scope["f"]._function):
        restored = pickle.loads(cloudpickle.dumps(pickled))
        function = restored._function if isinstance(restored, RemoteFunction) else restored
        function(5)
        assert runtime.tasks[-1].args == (4,)
        assert runtime.tasks[-1].options.resources == {"CPU": 3}


def test_builtin_functions_can_be_remote(runtime: RecordingRuntime) -> None:
    ray.remote(len).remote([1])
    assert runtime.tasks[0].args == ([1],)
    with pytest.raises(TypeError):
        ray.remote(len).remote()


def _positional(a: Any, b: Any) -> None: ...
def _defaults(a: Any, b: Any = 1) -> None: ...
def _varargs(a: Any, *rest: Any) -> None: ...
def _keyword_only(a: Any, *, b: Any, c: Any = 1) -> None: ...
def _everything(a: Any, /, b: Any = 1, *rest: Any, c: Any, **more: Any) -> None: ...
def _positional_only(a: Any, b: Any = 1, /) -> None: ...
def _nothing() -> None: ...


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (args, kwargs)
    for args in ((), (1,), (1, 2), (1, 2, 3))
    for kwargs in ({}, {"a": 1}, {"b": 1}, {"c": 1}, {"b": 1, "c": 1}, {"d": 1}, {"a": 1, "b": 1})
]


@pytest.mark.parametrize(
    "function", [_positional, _defaults, _varargs, _keyword_only, _everything, _positional_only, _nothing]
)
def test_arguments_are_refused_exactly_where_python_would_refuse_them(function: Any) -> None:
    check = ArgumentCheck.of(function)
    travelled = pickle.loads(pickle.dumps(check))
    for args, kwargs in CALLS:
        try:
            inspect.signature(function).bind(*args, **kwargs)
            fits = True
        except TypeError:
            fits = False
        for one in (check, travelled):
            if fits:
                one(args, kwargs)
            else:
                with pytest.raises(TypeError):
                    one(args, kwargs)
        # The short cut of the callers never lets a bad call pass.
        if not kwargs and check.least <= len(args) <= check.most:
            assert fits


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "missing a required argument: .*'a'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"a": 2}, "multiple values for argument 'a'"),
        ((1,), {"z": 2}, "unexpected keyword argument 'z'"),
    ],
)
def test_the_refusal_of_arguments_names_them(
    runtime: RecordingRuntime, args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    @ray.remote
    def f(a: int, b: int = 1) -> None: ...

    with pytest.raises(TypeError, match=words):
        f.remote(*args, **kwargs)
    assert runtime.tasks == []
