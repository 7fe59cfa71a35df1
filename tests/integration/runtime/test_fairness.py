"""A job with thousands of queued tasks does not keep another's single task waiting."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

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
