"""Classes whose hooks raise: the error is that of the call which used them, and worker and actor live on."""

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import ray

pytestmark = pytest.mark.usefixtures("session")


class Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("its hook")


class Guarded:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("its hook")


class Disguised:
    @property
    def __class__(self) -> Any:
        raise RuntimeError("its hook")

    @__class__.setter
    def __class__(self, value: Any) -> None: ...


class Silent:
    """Pickled like any other; what is raised here says that somebody asked."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("its hook")

    def __bool__(self) -> bool:
        raise RuntimeError("its hook")

    def __len__(self) -> int:
        raise RuntimeError("its hook")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"its hook: {name}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise RuntimeError("its hook")

    __hash__ = None  # type: ignore[assignment]


class Maker:
    attribute = Silent()

    def make(self, cls: Any) -> Any:
        return cls()

    def items(self, cls: Any) -> Iterator[Any]:
        yield cls()

    def take(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        return len(args), len(kwargs)

    def pid(self) -> int:
        return os.getpid()


class AsyncMaker(Maker):
    async def make_async(self, cls: Any) -> Any:
        return cls()

    async def items_async(self, cls: Any) -> AsyncIterator[Any]:
        yield cls()


@ray.remote(max_retries=0)
def make(cls: Any) -> Any:
    return cls()


@ray.remote(max_retries=0)
def items(cls: Any) -> Iterator[Any]:
    yield cls()


@ray.remote(max_retries=0)
def take(*args: Any, **kwargs: Any) -> tuple[int, int]:
    return len(args), len(kwargs)


def test_a_result_whose_hooks_raise_is_an_error_of_its_call() -> None:
    plain, on_loop = ray.remote(num_cpus=0)(Maker).remote(), ray.remote(num_cpus=0)(AsyncMaker).remote()
    pids = ray.get([plain.pid.remote(), on_loop.pid.remote()], timeout=30)
    for cls in (Unpicklable, Guarded, Disguised):
        refs = [call.remote(cls) for call in (make, plain.make, on_loop.make, on_loop.make_async)]
        generators = [call.remote(cls) for call in (items, plain.items, on_loop.items, on_loop.items_async)]
        for ref in [*refs, *map(next, generators)]:
            with pytest.raises(RuntimeError, match="its hook"):
                ray.get(ref, timeout=30)
    assert ray.get([plain.pid.remote(), on_loop.pid.remote()], timeout=30) == pids


def test_values_are_asked_nothing_on_their_way() -> None:
    actor = ray.remote(num_cpus=0)(AsyncMaker).remote()
    refs = [call.remote(Silent) for call in (make, actor.make, actor.make_async)]
    generators = [call.remote(Silent) for call in (items, actor.items, actor.items_async)]
    values = ray.get([*refs, *map(next, generators), ray.put(Silent())], timeout=30)
    assert all(type(value).__name__ == "Silent" for value in values)
    for call in (take, actor.take):
        assert ray.get(call.remote(Silent(), ray.put(Silent()), key=Silent()), timeout=30) == (2, 1)


def test_an_argument_is_named_even_if_its_repr_raises() -> None:
    class Nameless:
        def __repr__(self) -> str:
            raise RuntimeError("its hook")

        def __reduce__(self) -> Any:
            raise TypeError("not to be pickled")

    with pytest.raises(TypeError, match=r"Could not serialize the argument <Nameless whose repr\(\) raises"):
        take.remote(Nameless())
