"""Object managers, zygotes, workers and drivers die while a cluster is busy."""

import contextlib
import functools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray._runtime import current
from ray.cluster_utils import Cluster
from ray.exceptions import GetTimeoutError, ObjectLostError, ObjectManagerUnavailableError

from tests.integration.conditions import wait_for
from tests.integration.faults.conftest import StartCluster
from tests.integration.faults.node_processes import NodeProcesses, gone, kill_and_wait, metric
from tests.integration.lifecycle.processes import of_session

WAIT_S = 40.0
LARGE = 1 << 20


@ray.remote
def square(number: int) -> int:
    return number * number


@ray.remote
def large(value: int) -> Any:
    return np.full(LARGE, value, dtype="uint8")


@ray.remote
def total(array: Any) -> int:
    return int(array.sum())


@ray.remote
class Adder:
    def __init__(self) -> None:
        self.total = 0

    def add(self, amount: int) -> int:
        self.total += amount
        return self.total


@ray.remote(max_retries=-1)
def slow_square(number: int) -> int:
    # Long enough that a kill usually finds a task at work.
    threading.Event().wait(0.002)
    return number * number


def test_an_object_manager_that_is_killed_under_load(start_cluster: StartCluster) -> None:
    cluster = start_cluster({"num_cpus": 2})
    assert cluster.head_node is not None
    processes = NodeProcesses.of(cluster.head_node)
    adder = Adder.remote()
    kept, view = ray.put(np.full(LARGE, 7, dtype="uint8")), ray.get(ray.put(np.full(LARGE, 9, dtype="uint8")))
    unread = large.remote(3)
    ray.wait([unread], timeout=WAIT_S, fetch_local=False)
    tasks = [square.remote(number) for number in range(500)]
    calls = [adder.add.remote(1) for _ in range(200)]
    old = processes.kill("object-manager")
    # A program that needs no lost object sees nothing of it.
    assert ray.get(tasks, timeout=WAIT_S) == [number * number for number in range(500)]
    assert ray.get(calls, timeout=WAIT_S) == list(range(1, 201))
    processes.wait_for_another("object-manager", old)
    assert int(view[0]) == 9 and int(view[-1]) == 9
    # What was lost is computed again, wherever it is looked for; what was put says that it is lost.
    assert ray.get(total.remote(unread), timeout=WAIT_S) == 3 * LARGE
    assert int(ray.get(unread, timeout=WAIT_S)[-1]) == 3
    with pytest.raises(ObjectLostError, match=kept.hex()):
        ray.get(kept, timeout=WAIT_S)
    with pytest.raises(ObjectLostError, match=kept.hex()):
        ray.get(total.remote(kept), timeout=WAIT_S)
    # And new ones work, in this process as in workers that knew the old arena.
    for lap in range(5):
        assert int(ray.get(ray.put(np.full(LARGE, lap, dtype="uint8")), timeout=WAIT_S)[-1]) == lap
        assert ray.get(total.remote(large.remote(lap)), timeout=WAIT_S) == lap * LARGE


def test_an_object_manager_that_stays_away_is_an_error_that_says_so_and_not_for_ever(
    start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MANTA_ARENA_WAIT_S", "3")
    cluster = start_cluster({"num_cpus": 2})
    assert cluster.head_node is not None
    processes = NodeProcesses.of(cluster.head_node)
    kept = ray.put(np.full(LARGE, 7, dtype="uint8"))
    with processes.no_restarts():
        processes.kill("object-manager")
        with pytest.raises(ObjectManagerUnavailableError, match=r"no object manager has answered at .* for [23]"):
            ray.put(np.full(LARGE, 1, dtype="uint8"))
        assert "waiting_for_object_manager" in caplog.text
        with pytest.raises(ObjectManagerUnavailableError):
            ray.get(kept)
        with pytest.raises(ObjectManagerUnavailableError):
            ray.get(large.remote(3), timeout=WAIT_S)
        assert ray.get(square.remote(3), timeout=WAIT_S) == 9  # what needs no object store goes on
    assert int(ray.get(ray.put(np.full(LARGE, 5, dtype="uint8")), timeout=WAIT_S)[-1]) == 5
    with pytest.raises(ObjectLostError):
        ray.get(kept, timeout=WAIT_S)


def test_an_object_manager_that_freezes_for_seconds_loses_nothing(start_cluster: StartCluster) -> None:
    cluster = start_cluster({"num_cpus": 1}, ({"num_cpus": 1, "resources": {"other": 1}},))
    (other,) = [node for node in cluster.list_all_nodes() if node is not cluster.head_node]
    processes = NodeProcesses.of(other)
    refs = [large.options(resources={"other": 0.01}).remote(number) for number in range(3)]
    ray.wait(refs, num_returns=3, timeout=WAIT_S, fetch_local=False)
    with processes.frozen("object-manager"):
        began = time.monotonic()
        future = refs[0].future()
        waiting = total.remote(refs[1])  # a worker here brings it
        with pytest.raises(GetTimeoutError):
            ray.get(refs[2], timeout=4.5)
        assert time.monotonic() - began > 4
        assert not future.done()
    assert int(future.result(WAIT_S)[-1]) == 0
    assert ray.get(waiting, timeout=WAIT_S) == LARGE
    assert int(ray.get(refs[2], timeout=WAIT_S)[0]) == 2


def test_metrics_can_be_read_where_the_node_table_says_after_each_service_was_killed(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster({"num_cpus": 1})
    assert cluster.head_node is not None
    processes, services = NodeProcesses.of(cluster.head_node), cluster.head_node.local.services
    shown = {"gcs": "manta_gcs_inbox_depth", "object-manager": "manta_arena_size_bytes"}

    def readable(address: str, name: str) -> bool:
        with contextlib.suppress(OSError):
            metric(address, name)
            return True
        return False

    for service, name in shown.items():
        address = services[service]["metrics"]
        assert readable(address, name)
        old = processes.kill(service)
        processes.wait_for_another(service, old)
        wait_for(functools.partial(readable, address, name), f"{service} shows its metrics where it did", WAIT_S)
    with cluster._tool() as gcs:
        (item,) = gcs.nodes()
    assert item.info.metrics["object_manager"] == services["object-manager"]["metrics"]
    assert metric(item.info.metrics["object_manager"], shown["object-manager"]) > 0
    assert metric(item.info.metrics["raylet"], "ray_resources") >= 0


def test_a_zygote_that_is_killed_under_load(start_cluster: StartCluster) -> None:
    cluster = start_cluster({"num_cpus": 2})
    assert cluster.head_node is not None
    processes = NodeProcesses.of(cluster.head_node)
    before = Adder.remote()
    assert ray.get(before.add.remote(1), timeout=WAIT_S) == 1
    tasks = [slow_square.remote(number) for number in range(300)]
    for lap in range(3):
        old = processes.kill("zygote")
        actors = [Adder.remote() for _ in range(3)]
        assert ray.get([actor.add.remote(lap) for actor in actors], timeout=WAIT_S) == [lap] * 3
        assert ray.get(before.add.remote(1), timeout=WAIT_S) == lap + 2
        processes.wait_for_another("zygote", old)
    assert ray.get(tasks, timeout=WAIT_S) == [number * number for number in range(300)]


def test_two_thousand_tasks_whose_workers_are_killed_all_the_time(start_cluster: StartCluster) -> None:
    cluster = start_cluster({"num_cpus": 4})
    assert cluster.head_node is not None
    processes = NodeProcesses.of(cluster.head_node)
    refs = [slow_square.remote(number) for number in range(2000)]
    kills = 0
    waiting = list(refs)
    while waiting and kills < 12:
        # Each kill after some progress: the tasks end at last.
        _, waiting = ray.wait(waiting, num_returns=min(100, len(waiting)), timeout=WAIT_S)
        workers = processes.workers()
        if waiting and workers:
            kill_and_wait(workers[kills % len(workers)])
            kills += 1
    assert kills >= 5
    assert ray.get(refs, timeout=WAIT_S) == [number * number for number in range(2000)]


DRIVER = """
import os, sys, threading
import numpy as np
import ray

ray.init(address=sys.argv[1], log_to_driver=False)
there = {"other": 0.01}

def come(folder, name):
    open(os.path.join(folder, f"{name}.{os.getpid()}"), "w").close()

@ray.remote
def nested(folder, name, depth):
    come(folder, f"{name}-{depth}")
    if depth:
        options = {"resources": there} if depth % 2 else {}
        return ray.get(nested.options(**options).remote(folder, name, depth - 1))
    threading.Event().wait()

@ray.remote
class Holder:
    def __init__(self, refs):
        self.held = [ray.get(refs[0]), ray.put(np.ones(8 << 20, "uint8"))]
    def ready(self, folder, name):
        come(folder, name)

@ray.remote
def big():
    return np.ones(8 << 20, "uint8")

kept = []

@ray.remote(num_cpus=0)
def twice(folder, name, first, second):
    kept.append((first, second))
    come(folder, name)
    threading.Event().wait()

folder = sys.argv[2]
mine = ray.put(np.ones(8 << 20, "uint8"))
theirs = big.options(resources=there).remote()
actors = [Holder.options(resources=r).remote([mine]) for r in ({"here": 0.01}, there)]
ray.get([actor.ready.remote(folder, f"actor{n}") for n, actor in enumerate(actors)])
ray.wait([theirs], fetch_local=False)
refs = [nested.remote(folder, name, 3) for name in ("a", "b")]
refs += [twice.options(resources=r).remote(folder, f"twice{n}", mine, mine) for n, r in enumerate(({}, there))]
# It never starts, and its argument is brought for it.
waiting = ray.put(np.ones(8 << 20, "uint8"))
refs.append(twice.options(num_cpus=4, resources=there).remote(folder, "never", waiting, waiting))
come(folder, "driver")
threading.Event().wait()
"""


def test_a_driver_that_is_killed_leaves_nothing_on_either_node(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "came"
    folder.mkdir()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "resources": {"here": 1}})
    try:
        other = cluster.add_node(num_cpus=4, resources={"other": 1})
        arenas = [node.local.services["object-manager"]["metrics"] for node in cluster.list_all_nodes()]
        head = cluster.head_node
        assert head is not None
        environment = {**os.environ, "MANTA_TOKEN_FILE": head.local.token_file}
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, head.gcs_address, str(folder)], env=environment, cwd=str(tmp_path)
        )
        expected = {
            "driver",
            "actor0",
            "actor1",
            "twice0",
            "twice1",
            *(f"{name}-{depth}" for name in "ab" for depth in range(4)),
        }
        try:
            wait_for(
                lambda: (
                    expected <= {entry.rpartition(".")[0] for entry in os.listdir(folder)} or driver.poll() is not None
                ),
                f"all of {sorted(expected)} came",
                WAIT_S,
            )
            assert driver.poll() is None
            pids = [int(entry.rpartition(".")[2]) for entry in os.listdir(folder)]
            assert all(metric(arena, "ray_object_store_used_memory") >= 16 << 20 for arena in arenas)
        finally:
            driver.kill()
            driver.wait()
        wait_for(lambda: all(gone(pid) for pid in pids), "its workers are gone, on both nodes", 10.0)
        wait_for(
            lambda: all(metric(arena, "ray_object_store_used_memory") == 0 for arena in arenas),
            "its objects are gone, on both nodes",
            10.0,
        )
        cluster.connect()
        assert ray.get(square.options(resources={"other": 0.01}).remote(5), timeout=WAIT_S) == 25
        assert ray.get(total.remote(large.options(resources={"other": 0.01}).remote(2)), timeout=WAIT_S) == 2 * LARGE
        assert ray.available_resources().keys() >= {"CPU", "other"}
        assert other.remaining_processes_alive()
    finally:
        cluster.shutdown()
    assert of_session(str(root)) == {}


def test_shutdown_does_not_wait_for_helpers_that_wait_for_the_arena(start_cluster: StartCluster) -> None:
    cluster = start_cluster({"num_cpus": 1})
    node = cluster.add_node(num_cpus=1, resources={"x": 1})
    ref = large.options(resources={"x": 1}).remote(3)
    assert ray.wait([ref], timeout=WAIT_S, fetch_local=False)[0]
    with NodeProcesses.of(node).frozen("object-manager"):
        future = ref.future()
        assert not future.done()
        runtime = current.runtime()
        leaving = threading.Thread(target=runtime.shutdown, daemon=True)
        leaving.start()
        leaving.join(WAIT_S)
        assert not leaving.is_alive(), "shutdown has returned"
        with pytest.raises(ray.exceptions.RayError):
            future.result(WAIT_S)
