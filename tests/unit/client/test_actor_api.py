"""Actor classes, handles and methods: what reaches the runtime, and what is refused at the call."""

from __future__ import annotations

import gc
import pickle
from collections.abc import AsyncIterator, Iterator
from typing import Any

import cloudpickle
import pytest
import ray
from ray.actor import (
    SYSTEM_METHODS,
    ActorClass,
    ActorClassInheritanceException,
    ActorHandle,
    CheckedMethod,
    _make_handle,
)

from tests.unit.client.recording_runtime import RecordingRuntime, recording


@pytest.fixture
def runtime() -> Iterator[RecordingRuntime]:
    with recording() as made:
        yield made


@ray.remote
class Counter:
    """Counts."""

    START = 5

    def __init__(self, start: int = 0, *, step: int = 1) -> None:
        self.value = start
        self.step = step

    def increment(self, by: int = 1) -> int:
        self.value += by
        return self.value

    @ray.method(num_returns=2, concurrency_group="io")
    def pair(self) -> tuple[int, int]:
        return 1, 2

    @staticmethod
    def add(a: int, b: int) -> int:
        return a + b

    @classmethod
    def make(cls, a: int) -> int:
        return a

    def stream(self) -> Iterator[int]:
        yield 1


@ray.remote
class AsyncActor:
    async def run(self) -> int:
        return 1

    async def stream(self) -> AsyncIterator[int]:
        yield 1


def test_an_actor_is_made_with_its_arguments_and_options(runtime: RecordingRuntime) -> None:
    handle = Counter.options(name="c", max_restarts=2, num_cpus=1).remote(3, step=2)
    (created,) = runtime.created
    assert (created.args, created.kwargs) == ((3,), {"step": 2})
    assert (created.options.name, created.options.max_restarts) == ("c", 2)
    assert created.options.lifetime_resources == {"CPU": 1}
    assert created.cls.name == "Counter"
    assert created.cls.cls is Counter.__wrapped__
    assert not created.cls.is_async
    assert isinstance(handle, ActorHandle)
    assert repr(handle) == f"Actor(Counter, {handle._actor_id.hex()})"


def test_options_leave_the_class_itself_as_it_was(runtime: RecordingRuntime) -> None:
    Counter.options(max_restarts=2).options(name="c").remote()
    Counter.remote()
    changed, plain = runtime.created
    assert (changed.options.max_restarts, changed.options.name) == (2, "c")
    assert (plain.options.max_restarts, plain.options.name) == (0, "")
    assert changed.cls is plain.cls


def test_methods_are_known_with_their_metadata(runtime: RecordingRuntime) -> None:
    Counter.remote()
    methods = runtime.created[0].cls.methods
    assert {"increment", "pair", "add", "make", "stream", "__init__"} <= set(methods)
    assert "START" not in methods
    assert (methods["pair"].num_returns, methods["pair"].concurrency_group) == (2, "io")
    assert methods["increment"].num_returns == 1
    assert methods["stream"].is_generator and methods["stream"].num_returns == -1
    AsyncActor.remote()
    async_class = runtime.created[1].cls
    assert async_class.is_async
    assert async_class.methods["run"].is_async
    assert async_class.methods["stream"].is_generator


def test_a_call_reaches_the_runtime(runtime: RecordingRuntime) -> None:
    handle = Counter.remote()
    ref = handle.increment.remote(by=4)
    assert isinstance(ref, ray.ObjectRef)
    handle.pair.options(num_returns=1, name="p", max_task_retries=3).remote()
    handle.add.remote(1, 2)
    first, second, third = runtime.calls
    assert (first.actor_id, first.method.name, first.kwargs, first.options) == (
        handle._actor_id,
        "increment",
        {"by": 4},
        {},
    )
    assert second.options == {"num_returns": 1, "name": "p", "max_task_retries": 3}
    assert third.args == (1, 2)


def test_a_parameter_may_have_any_name(runtime: RecordingRuntime) -> None:
    class Odd:
        def __init__(me, self: int, cls: int) -> None: ...

        def method(me, self: int, args: int, kwargs: int, info: int) -> None: ...

    handle: Any = ray.remote(Odd).remote(self=1, cls=2)
    names = {"self": 1, "args": 2, "kwargs": 3, "info": 4}
    handle.method.remote(**names)
    handle.method.options(num_returns=2).remote(**names)
    assert [call.kwargs for call in runtime.calls] == [names, names]


def test_class_attributes_are_not_asked_what_they_are(runtime: RecordingRuntime) -> None:
    class Guarded:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    class Holder:
        guarded = Guarded()

        def method(self) -> None: ...

    handle: Any = ray.remote(Holder).remote()
    handle.method.remote()
    assert [call.method.name for call in runtime.calls] == ["method"]


def test_every_actor_has_the_system_methods(runtime: RecordingRuntime) -> None:
    handle = Counter.remote()
    handle.__ray_ready__.remote()
    handle.__ray_call__.remote(lambda self, x: x, 1)
    handle.__ray_terminate__.remote()
    assert [call.method.name for call in runtime.calls] == ["__ray_ready__", "__ray_call__", "__ray_terminate__"]
    plain = Counter.__wrapped__(7)
    assert SYSTEM_METHODS["__ray_ready__"](plain) is True
    assert SYSTEM_METHODS["__ray_call__"](plain, lambda self, x: self.value + x, 1) == 8


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Counter(), r"Counter\.remote"),
        (lambda: Counter.remote(1, 2), "too many positional"),
        (lambda: Counter.remote(stepp=2), "stepp"),
        (lambda: AsyncActor.remote(1), "too many positional"),
        (lambda: Counter.remote().increment(), r"increment\.remote"),
        (lambda: Counter.remote().increment.remote(1, 2), "too many positional"),
        (lambda: Counter.remote().add.remote(1), "missing a required argument"),
        (lambda: Counter.remote().make.remote(), "missing a required argument"),
        (lambda: ActorHandle(), "by hand"),
        (lambda: ActorClass("A", (), {}), "ray.remote"),
        (lambda: ray.method(3), "keyword options"),
        (lambda: Counter.options(max_restarts="1"), "max_restarts"),
    ],
)
def test_misuse_is_refused_at_the_call(runtime: RecordingRuntime, call: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call()
    assert runtime.calls == []


def test_an_unknown_method_or_option_is_refused_by_name(runtime: RecordingRuntime) -> None:
    handle = Counter.remote()
    with pytest.raises(AttributeError, match="no method 'decrement'"):
        _ = handle.decrement
    with pytest.raises(ValueError, match="num_cpus"):
        handle.increment.options(num_cpus=1)
    with pytest.raises(ValueError, match="speed"):
        ray.method(speed=3)


def test_bind_says_that_it_is_not_there(runtime: RecordingRuntime) -> None:
    for bind in (Counter.bind, Counter.remote().increment.bind):
        with pytest.raises(NotImplementedError, match="remote"):
            bind()


def test_an_actor_class_cannot_be_inherited_from() -> None:
    with pytest.raises(ActorClassInheritanceException, match="'Derived' cannot inherit from 'Counter'"):

        class Derived(Counter):  # type: ignore[misc, valid-type]
            pass


def test_actor_classes_inherit_from_plain_ones(runtime: RecordingRuntime) -> None:
    @ray.remote
    class Doubling(Counter.__ray_actor_class__):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(10)

        def double(self) -> int:
            return 2 * self.increment(0)

        pair = None  # hides the method

    assert issubclass(Doubling.__wrapped__, Counter.__wrapped__)
    assert Doubling.__wrapped__().double() == 20
    Doubling.remote().increment.remote()
    methods = runtime.created[0].cls.methods
    assert {"double", "increment"} <= set(methods)
    assert "pair" not in methods


def test_class_attributes_are_reached_through_the_actor_class() -> None:
    assert Counter.START == 5
    assert Counter.add(1, 2) == 3
    assert Counter.__doc__ == "Counts."
    assert Counter.__name__ == "Counter"


def test_handles_are_counted_from_first_to_last(runtime: RecordingRuntime) -> None:
    handle = Counter.remote()
    actor_id = handle._actor_id
    assert runtime.handles[actor_id] == 1
    method = handle.increment
    del handle
    gc.collect()
    assert runtime.handles[actor_id] == 1, "a method keeps its handle"
    method.remote()
    del method
    gc.collect()
    assert runtime.handles[actor_id] == 0


def test_a_handle_goes_away_without_the_cycle_collector(runtime: RecordingRuntime) -> None:
    gc.disable()
    try:
        handle = Counter.remote()
        actor_id = handle._actor_id
        handle.increment.remote()
        del handle
        assert runtime.handles[actor_id] == 0
    finally:
        gc.enable()


def test_an_actors_handle_to_itself_is_not_counted(runtime: RecordingRuntime) -> None:
    handle = _make_handle(runtime, b"a" * 16, "A", {}, weak=True)  # type: ignore[arg-type]
    del handle
    assert runtime.handles == {b"a" * 16: 0}


def test_a_pickled_handle_is_a_handle_of_the_same_actor(runtime: RecordingRuntime) -> None:
    handle = Counter.remote()
    other = pickle.loads(pickle.dumps(handle))
    assert other is not handle
    assert other == handle
    assert len({other, handle}) == 1
    assert runtime.handles[handle._actor_id] == 2
    other.increment.remote()
    assert runtime.calls[0].actor_id == handle._actor_id
    assert handle != Counter.remote()


def test_what_a_handle_knows_of_methods_survives_pickling(runtime: RecordingRuntime) -> None:
    Counter.remote()
    methods = pickle.loads(pickle.dumps(dict(runtime.created[0].cls.methods)))
    assert isinstance(methods["increment"], CheckedMethod)
    handle = _make_handle(runtime, b"a" * 16, "Counter", methods)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="too many"):
        handle.increment.remote(1, 2)


def test_an_actor_class_that_names_itself_survives_pickling(runtime: RecordingRuntime) -> None:
    source = (
        "import ray\n@ray.remote(num_cpus=3)\nclass A:\n    def __init__(self, x): pass\n"
        "    def m(self): return A.remote(1)\n"
    )
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(source, scope)
    for pickled in (scope["A"], scope["A"].__wrapped__):
        restored = pickle.loads(cloudpickle.dumps(pickled))
        plain = restored.__wrapped__ if isinstance(restored, ActorClass) else restored
        plain(1).m()
        assert runtime.created[-1].options.lifetime_resources == {"CPU": 3}
        assert runtime.created[-1].args == (1,)


def test_exit_actor_is_refused_outside_an_actor() -> None:
    from ray.actor import exit_actor

    with pytest.raises(TypeError, match="actor"):
        exit_actor()
    with recording(), pytest.raises(TypeError):
        exit_actor()


def test_ray_method_without_options_changes_nothing() -> None:
    class Plain:
        @ray.method
        def bare(self) -> int:
            return 1

        @ray.method()
        def called(self) -> int:
            return 2

    assert (Plain().bare(), Plain().called()) == (1, 2)
    ray.remote(Plain)
