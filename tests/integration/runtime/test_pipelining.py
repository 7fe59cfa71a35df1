"""Batches and pipelines cost neither parallelism nor latency, and lose nothing."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayTaskError

from tests.integration.conditions import wait_for

pytestmark = pytest.mark.usefixtures("two_cpus")


@pytest.fixture(scope="module")
def two_cpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    root = tmp_path_factory.mktemp("root")
    os.chmod(root, 0o700)
    ray.init(num_cpus=2, object_store_memory=100 << 20, _temp_dir=str(root), log_to_driver=False)
    yield
    ray.shutdown()


@ray.remote
def work(number: int, gate: str = "") -> int:
    """Short, unless it has a gate: then it says that it runs, and lasts until there is a file of that name."""
    if gate:
        Path(f"{gate}.reached").touch()
    while gate and not os.path.exists(gate):
        time.sleep(0.002)
    return number


def test_a_short_task_is_not_stuck_behind_a_long_one_of_the_same_function(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    ray.get([work.remote(number) for number in range(500)])  # now it counts as short, and goes out many at a time
    before = [work.remote(number) for number in range(100)]
    long = work.remote(-1, str(gate))
    behind = [work.remote(number) for number in range(200)]
    assert ray.get(before + behind, timeout=60) == [*range(100), *range(200)]
    assert ray.wait([long], timeout=0)[0] == []
    gate.touch()
    assert ray.get(long, timeout=60) == -1


def test_what_is_queued_behind_a_task_that_blocks_runs_elsewhere(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    @ray.remote(num_cpus=2)
    def parent(number: int, refs: list[Any]) -> int:
        return sum(ray.get(refs)) + number

    ray.get([parent.remote(number, []) for number in range(500)])
    slow = work.options(num_cpus=0).remote(7, str(gate))
    blocked = parent.remote(1, [slow])
    behind = [parent.remote(number, []) for number in range(100)]
    assert ray.get(behind, timeout=60) == list(range(100))
    assert ray.wait([blocked], timeout=0)[0] == []
    gate.touch()
    assert ray.get(blocked, timeout=60) == 8


def test_a_client_with_one_task_does_not_wait_for_all_tasks_of_another(tmp_path: Path) -> None:
    @ray.remote(num_cpus=0)
    class Client:
        def begin(self, gates: list[str]) -> None:
            self.refs = [work.remote(number, gate) for number, gate in enumerate(gates)]

        def left(self) -> int:
            return len(ray.wait(self.refs, num_returns=len(self.refs), timeout=0)[1])

    gates = [tmp_path / f"gate{number}" for number in range(40)]
    client = Client.remote()
    ray.get(client.begin.remote([str(gate) for gate in gates]))
    one = work.remote(5)
    # Both CPUs run gated tasks; every one that ends gives the other client a chance.

    def waiting() -> list[Path]:
        """Gates that tasks came to and that are closed."""
        return [gate for gate in gates if gate.with_name(f"{gate.name}.reached").exists() and not gate.exists()]

    released = 0
    while not ray.wait([one], timeout=0.2)[0]:
        wait_for(waiting, "one of the gated tasks runs", 60)
        waiting()[0].touch()
        released += 1
    assert ray.get(one, timeout=60) == 5
    assert ray.get(client.left.remote()) > 0, "the single task came last"
    assert released < len(gates) // 2
    for gate in gates:
        gate.touch()


def test_a_single_call_on_an_idle_system_is_sent_at_once(tmp_path: Path) -> None:
    """The caller does nothing else: it neither gets nor waits, it reads a file that only the task writes."""
    path = str(tmp_path / "out")
    os.mkfifo(path)

    @ray.remote
    def write() -> None:
        with open(path, "w") as out:
            out.write("here")

    ray.get(work.remote(0))
    ref = write.remote()
    with open(path) as incoming:
        assert incoming.read() == "here"
    ray.get(ref, timeout=60)


def test_a_batch_in_which_some_tasks_raise_loses_none(tmp_path: Path) -> None:
    record = tmp_path / "record"

    @ray.remote(max_retries=0)
    def noted(number: int) -> int:
        with open(record, "a") as out:
            out.write(f"{number}\n")
        if number % 7 == 0:
            raise ValueError(number)
        return number

    refs = [noted.remote(number) for number in range(700)]
    for number, ref in enumerate(refs):
        if number % 7 == 0:
            with pytest.raises(RayTaskError, match=str(number)):
                ray.get(ref, timeout=60)
        else:
            assert ray.get(ref, timeout=60) == number
    assert Counter(map(int, record.read_text().split())) == Counter(range(700))
