"""A job with thousands of queued tasks does not keep another's single task waiting."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tests.integration.conditions import wait_for

DEADLINE_S = 60
GREEDY_TASKS = 4_000
# Holds both CPUs for as long as it has tasks: 100 s of them. On each line of its stdin it tells how many are done.
GREEDY = f"""
import sys, time
import ray

ray.init(address=sys.argv[1], log_to_driver=False)

@ray.remote
def work():
    time.sleep(0.05)

refs = [work.remote() for _ in range({GREEDY_TASKS})]
ray.get(refs[50])
print("busy", flush=True)
for _ in sys.stdin:
    done, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
    print(len(done), flush=True)
"""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    monkeypatch.setenv("MANTA_TMPDIR", str(root))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


@ray.remote
def answer(value: int) -> int:
    return value


def test_single_tasks_of_another_job_run_while_the_greedy_one_has_thousands_left(address: str) -> None:
    command = [sys.executable, "-c", GREEDY, address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ) as greedy:
        assert greedy.stdin is not None and greedy.stdout is not None
        try:
            assert greedy.stdout.readline() == "busy\n"
            ray.init(address=address, log_to_driver=False)
            for number in range(5):
                assert ray.get(answer.remote(number), timeout=DEADLINE_S) == number
                # Another kind of task has to get its turn as well.
                assert ray.get(answer.options(num_cpus=2).remote(number), timeout=DEADLINE_S) == number
            greedy.stdin.write("\n")
            greedy.stdin.flush()
            assert int(greedy.stdout.readline()) < GREEDY_TASKS, "the others did not wait for its end"
        finally:
            greedy.kill()


@ray.remote
class Resident:
    def here(self) -> str:
        return ray.get_runtime_context().get_node_id()


@ray.remote
def spin() -> None:
    time.sleep(0.05)


class Stream:
    """Keeps so many tasks going, whatever else this driver does, until it is left."""

    def __init__(self, ahead: int, **options: object) -> None:
        self._task, self._ahead = spin.options(**options), ahead
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_going, name="stream of tasks")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(DEADLINE_S)

    def _keep_going(self) -> None:
        refs = [self._task.remote() for _ in range(self._ahead)]
        while not self._over.is_set():
            _, refs = ray.wait(refs, num_returns=1)
            refs += [self._task.remote() for _ in range(self._ahead - len(refs))]
        ray.get(refs)


def test_actors_and_placement_groups_find_room_beside_an_endless_stream_of_tasks(address: str) -> None:
    ray.init(address=address, log_to_driver=False)
    with Stream(ahead=20):
        wait_for(lambda: ray.available_resources().get("CPU", 0) == 0, "the tasks hold both CPUs", DEADLINE_S)
        resident = Resident.options(num_cpus=1).remote()
        assert ray.get(resident.here.remote(), timeout=DEADLINE_S)
        ray.kill(resident)
        group = placement_group([{"CPU": 2}])
        assert group.wait(DEADLINE_S)
        remove_placement_group(group)


def test_an_actor_finds_room_in_a_bundle_beside_an_endless_stream_of_tasks_in_it(address: str) -> None:
    ray.init(address=address, log_to_driver=False)
    group = placement_group([{"CPU": 1}])
    inside = PlacementGroupSchedulingStrategy(group)
    with Stream(ahead=20, scheduling_strategy=inside):
        resident = Resident.options(num_cpus=1, scheduling_strategy=inside).remote()
        assert ray.get(resident.here.remote(), timeout=DEADLINE_S)
        ray.kill(resident)
