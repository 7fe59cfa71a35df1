"""Work of every kind at a steady pace, none of which leaves anything behind when its round is over."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

ROUND_S = 1.0
TASKS = 2_000
ACTORS = 17
DRIVER_EVERY = 30  # rounds
LARGE = 300_000
ANSWER_S = 120.0
DRIVER = """
import ray
ray.init(address={address!r}, log_to_driver=False)
echo = ray.remote(lambda value: value)
assert ray.get([echo.remote(number) for number in range(20)], timeout=120) == list(range(20))
"""


@ray.remote
def echo(value: Any) -> Any:
    return value


@ray.remote
def large(value: int) -> Any:
    return np.full(LARGE, value, dtype="uint8")


@ray.remote
def total(array: Any) -> int:
    return int(array.sum(dtype="int64"))


@ray.remote
def nested(depth: int) -> int:
    return 1 if depth == 0 else 1 + int(ray.get(nested.remote(depth - 1)))


@ray.remote(max_retries=0)
def failing(text: str) -> None:
    raise ValueError(text)


@ray.remote(num_returns="streaming")
def items(count: int) -> Iterator[Any]:
    for number in range(count):
        yield np.full(LARGE, number, dtype="uint8") if number % 2 else number


@ray.remote(num_cpus=0)
class Tally:
    def __init__(self, start: int) -> None:
        self.value = start

    def add(self, number: int) -> int:
        self.value += number
        return self.value

    def pid(self) -> int:
        return os.getpid()

    def hold(self, boxed: list[Any]) -> int:
        return int(ray.get(boxed[0])[0])


class SteadyWork:
    """Rounds of ROUND_S seconds each, counted. A round that takes longer is followed at once by the next."""

    def __init__(self) -> None:
        self.rounds = self.tasks = self.actors = self.drivers = 0
        self._kept = Tally.remote(0)
        self.kept_pid = int(ray.get(self._kept.pid.remote(), timeout=ANSWER_S))

    def run_until(self, end_s: float) -> None:
        """end_s: on time.monotonic(). raises: AssertionError for a wrong result."""
        while time.monotonic() < end_s:
            started = time.monotonic()
            self.one_round()
            time.sleep(max(0.0, started + ROUND_S - time.monotonic()))

    def one_round(self) -> None:
        number = self.rounds % 100
        short = [echo.remote(index) for index in range(TASKS)]
        tallies = [Tally.remote(number) for _ in range(ACTORS)]
        sums = [tally.add.remote(1) for tally in tallies]
        calls = [self._kept.add.remote(0) for _ in range(TASKS // 10)]
        array = large.remote(number)
        put = ray.put(np.full(LARGE, number, dtype="uint8"))
        taken = [total.remote(array), total.remote(put), self._kept.hold.remote([put])]
        chain = nested.remote(2)
        fails = failing.remote(f"meant to fail, round {self.rounds}")
        assert ray.get(short, timeout=ANSWER_S) == list(range(TASKS))
        assert ray.get(sums, timeout=ANSWER_S) == [number + 1] * ACTORS
        assert ray.get(calls, timeout=ANSWER_S) == [0] * len(calls)
        assert ray.get(taken, timeout=ANSWER_S) == [number * LARGE, number * LARGE, number]
        assert ray.get(chain, timeout=ANSWER_S) == 3
        assert isinstance(_error_of(fails), ValueError)
        assert sum(1 for _ in items.remote(4)) == 4
        ray.kill(tallies[0])
        self._named(number)
        if self.rounds % 5 == 0:
            self._group(number)
        if self.rounds % DRIVER_EVERY == 0:
            self._driver()
        self.rounds += 1
        self.tasks += TASKS + 10 + len(calls)
        self.actors += ACTORS + 1

    def _named(self, number: int) -> None:
        named = Tally.options(name=f"tally-{self.rounds}", get_if_exists=True).remote(number)
        found = ray.get_actor(f"tally-{self.rounds}")
        assert ray.get([named.add.remote(1), found.add.remote(1)], timeout=ANSWER_S) == [number + 1, number + 2]

    def _group(self, number: int) -> None:
        group = placement_group([{"CPU": 1}])
        assert group.wait(ANSWER_S)
        strategy = PlacementGroupSchedulingStrategy(placement_group=group)
        assert ray.get(echo.options(scheduling_strategy=strategy).remote(number), timeout=ANSWER_S) == number
        remove_placement_group(group)

    def _driver(self) -> None:
        """Another job, as a program of its own."""
        address = ray.get_runtime_context().gcs_address
        subprocess.run([sys.executable, "-c", DRIVER.format(address=address)], check=True, timeout=ANSWER_S)
        self.drivers += 1


def _error_of(ref: Any) -> BaseException | None:
    try:
        ray.get(ref, timeout=ANSWER_S)
    except Exception as error:
        return getattr(error, "cause", error)
    return None
