"""A program as a user with a strict type checker writes it; test_typing.py has mypy check it."""

from collections.abc import Generator
from typing import assert_type

import ray
from ray.actor import ActorClass, ActorHandle


@ray.remote
def double(number: int) -> int:
    return 2 * number


@ray.remote
def count(limit: int) -> Generator[int, None, None]:
    yield from range(limit)


class Plain:
    def __init__(self, start: int = 0) -> None:
        self.value = start


Counter = ray.remote(Plain)


async def program() -> None:
    reference = double.remote(1)
    assert_type(reference, ray.ObjectRef[int])
    assert_type(ray.get(reference), int)
    assert_type(ray.get([double.remote(n) for n in range(3)]), list[int])
    assert_type(await reference, int)
    assert_type(ray.get(ray.put("text")), str)
    assert_type(ray.wait([reference]), tuple[list[ray.ObjectRef[int]], list[ray.ObjectRef[int]]])
    assert_type(count.remote(3), ray.ObjectRefGenerator)
    assert_type(Counter, ActorClass[Plain])
    assert_type(Counter.remote(1), ActorHandle[Plain])
    assert_type(Counter.options(num_cpus=0).remote(), ActorHandle[Plain])
