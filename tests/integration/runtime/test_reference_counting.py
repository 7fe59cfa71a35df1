"""Objects go when nobody refers to them any more, and not before; seen by what the arena holds."""

import gc
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray._runtime.current import runtime

from tests.integration.conditions import wait_for
from tests.integration.runtime.conftest import MIB

pytestmark = pytest.mark.usefixtures("session")


def described() -> Any:
    return runtime().arena.describe()  # type: ignore[attr-defined]


def used() -> int:
    reply = described()
    return int(reply.used + reply.extents)


@pytest.fixture(autouse=True)
def _nothing_stays() -> Any:
    before = used()
    yield
    gc.collect()
    wait_for(lambda: used() <= before, f"used bytes come back to {before}, not {used()}")


def large(value: int = 1) -> Any:
    return np.full(MIB, value, dtype="uint8")


@ray.remote
def make(value: int = 1) -> Any:
    return large(value)


@ray.remote
def first_byte(array: Any) -> int:
    return int(array[0])


def test_a_dropped_object_is_freed() -> None:
    before = used()
    ref = ray.put(large())
    assert used() >= before + MIB
    del ref
    wait_for(lambda: used() <= before, "it is freed")


def test_a_result_that_nobody_waited_for_is_freed() -> None:
    make.remote()


def test_an_object_lives_while_a_task_needs_it(tmp_path: Path) -> None:
    @ray.remote
    def later(path: str, refs: list[Any]) -> int:
        deadline = time.monotonic() + 30
        while not os.path.exists(path) and time.monotonic() < deadline:
            time.sleep(0.005)
        return int(ray.get(refs[0])[0])

    ref = ray.put(large(9))
    result = later.remote(str(tmp_path / "go"), [ref])
    del ref
    for _ in range(100):
        ray.put(large(1))
    (tmp_path / "go").touch()
    assert ray.get(result, timeout=20) == 9


def test_an_argument_lives_until_its_waiting_task_has_run() -> None:
    ref = ray.put(large(8))
    chain = [first_byte.remote(ref) for _ in range(50)]
    del ref
    assert ray.get(chain) == [8] * 50


def test_a_borrower_keeps_an_object_alive_and_its_drop_frees_it() -> None:
    @ray.remote
    class Keeper:
        def __init__(self) -> None:
            self.kept: list[Any] = []

        def keep(self, refs: list[Any]) -> None:
            self.kept = refs

        def read(self) -> int:
            return int(ray.get(self.kept[0])[0])

        def drop(self) -> None:
            self.kept = []

    keeper = Keeper.remote()
    before = used()
    ref = ray.put(large(6))
    ray.get(keeper.keep.remote([ref]))
    del ref
    for _ in range(100):
        ray.put(large(1))
    assert ray.get(keeper.read.remote()) == 6
    ray.get(keeper.drop.remote())
    wait_for(lambda: used() <= before, "the last borrower has dropped it")


def test_a_borrower_that_dies_keeps_nothing() -> None:
    @ray.remote
    class Keeper:
        def keep(self, refs: list[Any]) -> None:
            self.kept = refs

    keeper = Keeper.remote()
    before = used()
    ref = ray.put(large(6))
    ray.get(keeper.keep.remote([ref]))
    del ref
    ray.kill(keeper)
    wait_for(lambda: used() <= before, "the dead borrower does not count")


def test_an_object_passed_on_by_a_borrower_lives() -> None:
    @ray.remote
    class Keeper:
        def __init__(self) -> None:
            self.came = threading.Event()

        def keep(self, refs: list[Any]) -> None:
            self.kept = refs
            self.came.set()

        def read(self) -> int:
            self.came.wait()  # it comes from another caller
            return int(ray.get(self.kept[0])[0])

    @ray.remote
    def pass_on(keeper: Any, refs: list[Any]) -> None:
        keeper.keep.remote(refs)

    keeper = Keeper.options(max_concurrency=2).remote()
    ref = ray.put(large(5))
    ray.get(pass_on.remote(keeper, [ref]))
    del ref
    for _ in range(100):
        ray.put(large(1))
    assert ray.get(keeper.read.remote()) == 5


def test_an_object_lives_within_another_that_contains_its_reference() -> None:
    before = used()
    outer = ray.put([ray.put(large(4))])
    for _ in range(100):
        ray.put(large(1))
    inner = ray.get(outer)[0]
    assert first_byte.remote(inner) is not None
    assert ray.get(inner)[0] == 4
    del outer
    assert ray.get(first_byte.remote(inner)) == 4
    del inner
    wait_for(lambda: used() <= before, "both are gone")


def test_objects_of_a_task_that_it_returned_live_with_their_container() -> None:
    @ray.remote
    def give() -> Any:
        return [ray.put(large(number)) for number in range(5)]

    refs = ray.get(give.remote())
    for _ in range(100):
        ray.put(large(1))
    assert [int(array[0]) for array in ray.get(refs)] == [0, 1, 2, 3, 4]


def test_what_a_task_put_and_did_not_return_is_freed() -> None:
    @ray.remote
    def litter() -> int:
        refs = [ray.put(large(number)) for number in range(5)]
        return len(refs)

    assert ray.get([litter.remote() for _ in range(10)]) == [5] * 10


def test_a_failing_task_does_not_keep_its_arguments() -> None:
    @ray.remote
    def fail(array: Any, refs: list[Any]) -> None:
        raise ValueError("x")

    ref = ray.put(large())
    with pytest.raises(ValueError, match="x"):
        ray.get(fail.remote(ref, [ref]))


def test_a_call_that_is_refused_does_not_keep_its_arguments() -> None:
    import threading

    ref = ray.put(large())
    with pytest.raises(TypeError):
        first_byte.remote([ref, threading.Lock()])


def test_references_that_travel_in_a_circle_are_freed_with_the_actor() -> None:
    @ray.remote
    class Node:
        def hold(self, others: list[Any]) -> None:
            self.others = others

        def give(self) -> Any:
            return [ray.put(large())]

    a, b = Node.remote(), Node.remote()
    ray.get([a.hold.remote([b.give.remote()]), b.hold.remote([a.give.remote()])])
    ray.kill(a)
    ray.kill(b)


def test_twenty_thousand_results_of_a_mebibyte_dropped_at_once_leave_nothing() -> None:
    before = described()
    for _ in range(40):
        refs = [make.remote() for _ in range(500)]
        del refs
    done = make.remote(3)
    assert ray.get(done, timeout=110)[0] == 3
    del done
    wait_for(lambda: used() <= before.used, f"used bytes come back to {before.used}, not {used()}", 60)
    after = described()
    assert (after.objects_count, after.pins_count) == (before.objects_count, before.pins_count)
