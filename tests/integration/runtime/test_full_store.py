"""An arena that is full of what nobody can reach: references in cycles, in whichever process of the node they are."""

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import ray

from tests.integration.runtime.conftest import MIB

SIZE = 20 * MIB


@pytest.fixture(scope="module", autouse=True)
def small_store() -> Iterator[None]:
    ray.init(num_cpus=2, object_store_memory=200 * MIB, log_to_driver=False)
    yield
    ray.shutdown()


class Cycle:
    """It lives until the collector finds it."""

    def __init__(self, held: Any) -> None:
        self.held = held
        self.itself = self


@ray.remote(num_cpus=0)
class Hoarder:
    def __init__(self) -> None:
        gc.disable()

    def put(self, count: int) -> None:
        for _ in range(count):
            Cycle(ray.put(np.zeros(SIZE, dtype="uint8")))

    def take(self, refs: list[Any]) -> None:
        Cycle(refs)

    def view(self, refs: list[Any]) -> None:
        Cycle(ray.get(refs))

    def put_until_full(self, count: int) -> int:
        kept = [ray.put(np.zeros(SIZE, dtype="uint8")) for _ in range(count)]
        return len(kept)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_garbage_of_this_process_makes_room(no_collector: None) -> None:
    for _ in range(25):
        Cycle(ray.put(np.zeros(SIZE, dtype="uint8")))


@pytest.mark.parametrize("how", ["put", "take", "view"])
def test_garbage_of_another_process_makes_room(how: str) -> None:
    """take: it borrows what is ours, so that the room comes once we have heard of it. view: it has read it too."""
    hoarder = Hoarder.remote()
    for _ in range(3):
        if how == "put":
            ray.get(hoarder.put.remote(8), timeout=60)
        else:
            refs = [ray.put(np.zeros(SIZE, dtype="uint8")) for _ in range(8)]
            ray.get(getattr(hoarder, how).remote(refs), timeout=60)
            del refs
        kept = [ray.put(np.zeros(SIZE, dtype="uint8")) for _ in range(8)]
        del kept


def test_garbage_of_the_driver_makes_room_for_a_worker(no_collector: None) -> None:
    hoarder = Hoarder.remote()
    for _ in range(8):
        Cycle(ray.put(np.zeros(SIZE, dtype="uint8")))
    assert ray.get(hoarder.put_until_full.remote(8), timeout=60) == 8


def test_what_is_no_garbage_stays_and_the_store_is_full() -> None:
    hoarder = Hoarder.remote()
    kept = [ray.put(np.full(SIZE, number, dtype="uint8")) for number in range(8)]
    with pytest.raises(ray.exceptions.ObjectStoreFullError):
        ray.put(np.zeros(3 * SIZE, dtype="uint8"))
    with pytest.raises(ray.exceptions.ObjectStoreFullError):
        ray.get(hoarder.put_until_full.remote(8), timeout=60)
    assert [int(array[-1]) for array in ray.get(kept, timeout=60)] == list(range(8))
