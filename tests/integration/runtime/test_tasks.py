"""Calls of remote functions: what they take, what they return, how definitions travel."""

import functools
import os
import threading
import time
from typing import Any

import numpy as np
import pytest
import ray

pytestmark = pytest.mark.usefixtures("session")


@ray.remote
def echo(value: Any) -> Any:
    return value


@ray.remote
def add(*values: int) -> int:
    return sum(values)


@ray.remote
def arguments(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@ray.remote
def split(count: int) -> Any:
    return tuple(range(count))


def test_a_call_returns_a_reference_to_what_the_function_returns() -> None:
    ref = add.remote(1, 2)
    assert isinstance(ref, ray.ObjectRef)
    assert ray.get(ref) == 3
    assert ray.get(ref) == 3


def test_a_task_runs_in_another_process_that_sees_the_driver_s_folder() -> None:
    @ray.remote
    def where() -> tuple[int, str]:
        return os.getpid(), os.getcwd()

    pid, folder = ray.get(where.remote())
    assert pid != os.getpid()
    assert folder == os.getcwd()


def test_positional_and_keyword_arguments_arrive_as_given() -> None:
    assert ray.get(arguments.remote()) == ((), {})
    assert ray.get(arguments.remote(1, "b", None, key=[1], other={"x": 2})) == (
        (1, "b", None),
        {"key": [1], "other": {"x": 2}},
    )


def test_references_as_keyword_arguments_are_resolved_too() -> None:
    args, kwargs = ray.get(arguments.remote(ray.put(1), key=ray.put("v"), same=echo.remote(2)))
    assert (args, kwargs) == ((1,), {"key": "v", "same": 2})


def test_defaults_of_parameters_hold() -> None:
    @ray.remote
    def greet(name: str, greeting: str = "hello") -> str:
        return f"{greeting} {name}"

    assert ray.get(greet.remote("a")) == "hello a"
    assert ray.get(greet.remote("a", greeting="bye")) == "bye a"


@pytest.mark.parametrize("count", [2, 3, 17])
def test_several_returns_give_one_reference_each(count: int) -> None:
    refs = split.options(num_returns=count).remote(count)
    assert len(refs) == count
    assert ray.get(refs) == list(range(count))


def test_num_returns_one_gives_the_whole_tuple() -> None:
    assert ray.get(split.remote(3)) == (0, 1, 2)


def test_num_returns_zero_gives_nothing_and_still_runs(tmp_path: Any) -> None:
    path = tmp_path / "ran"

    @ray.remote(num_returns=0)
    def leave_a_trace() -> None:
        path.write_text("yes")

    assert leave_a_trace.remote() is None
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
        ray.get(echo.remote(0))
    assert path.read_text() == "yes"


def test_a_wrong_number_of_returns_is_a_value_error_of_each_reference() -> None:
    refs = split.options(num_returns=2).remote(3)
    for ref in refs:
        with pytest.raises(ValueError, match=r"2"):
            ray.get(ref)


def test_a_result_that_is_no_sequence_is_a_type_error_for_several_returns() -> None:
    refs = echo.options(num_returns=2).remote(5)
    with pytest.raises(TypeError, match="returned int"):
        ray.get(refs)


def test_options_change_a_copy_only() -> None:
    two = split.options(num_returns=2)
    assert isinstance(split.remote(2), ray.ObjectRef)
    assert len(two.remote(2)) == 2
    assert isinstance(split.remote(2), ray.ObjectRef)


def test_decorator_arguments_are_defaults_that_options_override() -> None:
    @ray.remote(num_returns=2, num_cpus=0.5)
    def pair() -> tuple[int, int]:
        return 1, 2

    assert ray.get(pair.remote()) == [1, 2]
    assert ray.get(pair.options(num_returns=1).remote()) == (1, 2)


def test_a_reference_in_a_container_stays_a_reference() -> None:
    inner = ray.put("inner")

    @ray.remote
    def kinds(values: list[Any], mapping: dict[str, Any]) -> Any:
        return (
            [type(value).__name__ for value in values],
            type(mapping["key"]).__name__,
            ray.get([*values, mapping["key"]]),
        )

    assert ray.get(kinds.remote([inner], {"key": inner})) == (["ObjectRef"], "ObjectRef", ["inner", "inner"])


def test_a_reference_can_be_a_result_and_outlives_its_task() -> None:
    @ray.remote
    def give() -> list[Any]:
        return [ray.put("of the worker"), ray.put(np.arange(100_000))]

    small, large = ray.get(give.remote())
    assert ray.get(small) == "of the worker"
    assert ray.get(large).sum() == np.arange(100_000).sum()


def test_a_top_level_result_that_is_a_reference_needs_two_gets() -> None:
    @ray.remote
    def give() -> Any:
        return ray.put(7)

    inner = ray.get(give.remote())
    assert isinstance(inner, ray.ObjectRef)
    assert ray.get(inner) == 7


def test_the_same_reference_twice_is_resolved_twice() -> None:
    ref = ray.put([1])
    assert ray.get(arguments.remote(ref, ref, key=ref)) == (([1], [1]), {"key": [1]})


def test_a_diamond_of_tasks_is_computed_once_each() -> None:
    @ray.remote
    def count(number: int, *parents: int) -> int:
        return number + sum(parents)

    top = count.remote(1)
    left, right = count.remote(10, top), count.remote(100, top)
    bottom = count.remote(1000, left, right)
    assert ray.get(bottom) == 1000 + 11 + 101


def test_a_tree_of_sums_gives_the_sum() -> None:
    refs = [echo.remote(number) for number in range(64)]
    while len(refs) > 1:
        refs = [add.remote(a, b) for a, b in zip(refs[::2], refs[1::2], strict=True)]
    assert ray.get(refs[0]) == sum(range(64))


def test_a_long_chain_of_dependent_tasks_runs() -> None:
    ref = echo.remote(0)
    for _ in range(300):
        ref = add.remote(ref, 1)
    assert ray.get(ref) == 300


def test_tasks_submit_tasks() -> None:
    @ray.remote
    def fibonacci(number: int) -> int:
        if number < 2:
            return number
        return sum(ray.get([fibonacci.remote(number - 1), fibonacci.remote(number - 2)]))

    assert ray.get(fibonacci.remote(7), timeout=60) == 13


def test_a_task_passes_on_a_reference_that_it_did_not_make() -> None:
    @ray.remote
    def relay(refs: list[Any], depth: int) -> Any:
        if depth == 0:
            return ray.get(refs[0])
        return ray.get(relay.remote(refs, depth - 1))

    assert ray.get(relay.remote([ray.put("payload")], 4)) == "payload"


def test_a_task_returns_the_result_of_a_task_that_it_did_not_wait_for() -> None:
    @ray.remote
    def start() -> list[Any]:
        return [echo.remote("later")]

    assert ray.get(ray.get(start.remote())[0]) == "later"


def test_lambdas_partials_of_closures_and_nested_functions_travel() -> None:
    offset = 5
    assert ray.get(ray.remote(lambda value: value + offset).remote(1)) == 6

    def outer(factor: int) -> Any:
        def inner(value: int) -> int:
            return value * factor

        return inner

    assert ray.get(ray.remote(outer(3)).remote(4)) == 12

    bound = functools.partial(outer(2), 21)
    assert ray.get(echo.remote(bound))() == 42


def test_a_function_calls_another_remote_function_from_its_closure() -> None:
    @ray.remote
    def inner(value: int) -> int:
        return value + 1

    @ray.remote
    def outer(value: int) -> Any:
        return ray.get(inner.remote(value)) * 2

    assert ray.get(outer.remote(4)) == 10


def test_a_redefined_function_is_the_new_one() -> None:
    results = []
    for version in range(3):

        @ray.remote
        def versioned(version: int = version) -> int:
            return version

        results.append(versioned.remote())
    assert ray.get(results) == [0, 1, 2]


def test_a_global_changed_between_definitions_is_seen_by_the_later_one() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__", "ray": ray}
    exec("factor = 1\n@ray.remote\ndef scaled(x):\n    return x * factor\n", namespace)
    first = namespace["scaled"].remote(10)
    exec("factor = 2\n@ray.remote\ndef scaled(x):\n    return x * factor\n", namespace)
    assert ray.get([first, namespace["scaled"].remote(10)]) == [10, 20]


def test_instances_of_local_classes_travel_both_ways() -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    @ray.remote
    def move(point: Point) -> Point:
        return Point(point.x + 1)

    moved = ray.get(move.remote(Point(1)))
    assert isinstance(moved, Point)
    assert moved.x == 2


def test_a_remote_function_keeps_its_name_and_documentation() -> None:
    @ray.remote
    def documented() -> None:
        """What it does."""

    assert documented.__name__ == "documented"
    assert documented.__doc__ == "What it does."


def test_arguments_are_copies_of_what_they_were_at_the_call() -> None:
    values = [1, 2, 3]
    ref = echo.remote(values)
    values.append(4)
    assert ray.get(ref) == [1, 2, 3]


@pytest.mark.parametrize("size", [0, 1, 99_000, 102_400, 110_000, 1_000_000, 20_000_000])
def test_arguments_and_results_of_every_size_arrive_whole(size: int) -> None:
    payload = os.urandom(size)
    assert ray.get(echo.remote(payload)) == payload


def test_two_thousand_calls_at_once_come_back_in_their_order() -> None:
    assert ray.get([echo.remote(number) for number in range(2000)]) == list(range(2000))


def test_calls_from_many_threads_do_not_mix_up() -> None:
    results: dict[int, list[int]] = {}

    def call(base: int) -> None:
        results[base] = ray.get([echo.remote(base + number) for number in range(100)])

    threads = [threading.Thread(target=call, args=(base * 1000,)) for base in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {base * 1000: [base * 1000 + number for number in range(100)] for base in range(8)}


@ray.remote(num_cpus=0)
class Barrier:
    """Whoever comes waits until four are there, so that they can only end together."""

    def __init__(self) -> None:
        self.arrived = 0

    def arrive(self) -> None:
        self.arrived += 1

    def count(self) -> int:
        return self.arrived


def meets(barrier: Any) -> bool:
    """In a task; false when the others did not come in 20 s."""
    ray.get(barrier.arrive.remote())
    deadline = time.monotonic() + 20
    while ray.get(barrier.count.remote()) < 4:
        if time.monotonic() > deadline:
            return False
    return True


def test_tasks_run_side_by_side() -> None:
    @ray.remote
    def meet(barrier: Any) -> bool:
        return meets(barrier)

    barrier = Barrier.remote()
    assert ray.get([meet.remote(barrier) for _ in range(4)]) == [True] * 4


def test_two_forked_workers_draw_different_random_numbers() -> None:
    @ray.remote
    def draw(barrier: Any) -> tuple[int, float, float, bytes]:
        import random

        assert meets(barrier)  # so that each of four runs in a worker of its own
        return os.getpid(), random.random(), float(np.random.random()), os.urandom(4)

    barrier = Barrier.remote()
    drawn = ray.get([draw.remote(barrier) for _ in range(4)])
    assert len({pid for pid, *_ in drawn}) == 4
    for numbers in list(zip(*drawn, strict=True))[1:]:
        assert len(set(numbers)) == 4
