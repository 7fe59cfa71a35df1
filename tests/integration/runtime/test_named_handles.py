"""Handles by name: for how long they keep their actor, whichever thread has them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError

from tests.integration.conditions import wait_for

pytestmark = pytest.mark.usefixtures("session")
WAIT_S = 30.0
THREADS = 6


@ray.remote(num_cpus=0)
class Counter:
    def __init__(self) -> None:
        self.value = 0

    def add(self) -> int:
        self.value += 1
        return self.value


@ray.remote(num_cpus=0)
class Keeper:
    """Another process, which has a handle by name and no other."""

    def take(self, name: str) -> None:
        self.handle = ray.get_actor(name)

    def add(self) -> int:
        return int(ray.get(self.handle.add.remote()))


def is_named(name: str) -> bool:
    try:
        ray.get_actor(name)
    except ValueError:
        return False
    return True


def by_get_actor(name: str) -> Any:
    return ray.get_actor(name)


def by_get_if_exists(name: str) -> Any:
    return Counter.options(name=name, get_if_exists=True).remote()


@pytest.mark.parametrize("find", [by_get_actor, by_get_if_exists])
def test_in_the_creators_process_a_handle_by_name_keeps_the_actor(find: Callable[[str], Any]) -> None:
    name = find.__name__
    created = Counter.options(name=name).remote()
    found = find(name)
    copied = find(name)
    assert ray.get(created.add.remote(), timeout=WAIT_S) == 1
    del created
    assert ray.get(found.add.remote(), timeout=WAIT_S) == 2
    del found
    assert ray.get(copied.add.remote(), timeout=WAIT_S) == 3
    del copied
    wait_for(lambda: not is_named(name), "the last handle has gone, and the actor with it")


def test_elsewhere_it_does_not() -> None:
    keeper = Keeper.remote()
    created = Counter.options(name="far").remote()
    ray.get(keeper.take.remote("far"), timeout=WAIT_S)
    assert ray.get(keeper.add.remote(), timeout=WAIT_S) == 1
    del created
    wait_for(lambda: not is_named("far"), "its creator has no handle any more")
    with pytest.raises(ActorDiedError):
        ray.get(keeper.add.remote(), timeout=WAIT_S)


def test_threads_that_get_or_create_the_same_actor_share_it_until_the_last_lets_go() -> None:
    together = threading.Barrier(THREADS)
    last: list[Any] = []

    def use(number: int) -> int:
        together.wait(WAIT_S)
        handle = by_get_if_exists("shared")
        together.wait(WAIT_S)
        if number == 0:
            last.append(handle)
        return int(ray.get(handle.add.remote(), timeout=WAIT_S))

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(10):
            counts = sorted(pool.map(use, range(THREADS)))
            assert counts == list(range(1, THREADS + 1)), "one actor counted them all"
            assert ray.get(last[0].add.remote(), timeout=WAIT_S) == THREADS + 1
            last.clear()
            wait_for(lambda: not is_named("shared"), "the last handle has gone")
