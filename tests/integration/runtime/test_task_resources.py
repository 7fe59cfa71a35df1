"""Resources: never more at once than the node has, lent while blocked, given back afterwards."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.integration.conditions import wait_for

pytestmark = pytest.mark.usefixtures("session")


@ray.remote(num_cpus=0)
def overlap(folder: str, number: int) -> int:
    """Leave a mark while running; returns how many marks there were, own included, when it had lasted a while."""
    mark = Path(folder) / str(number)
    mark.touch()
    time.sleep(0.05)
    together = len(os.listdir(folder))
    mark.unlink()
    return together


def most_at_once(folder: Path, count: int, **options: Any) -> int:
    return max(ray.get([overlap.options(**options).remote(str(folder), number) for number in range(count)], timeout=60))


def free(name: str) -> float:
    return float(ray.available_resources().get(name, 0.0))


def all_free() -> bool:
    return (free("CPU"), free("GPU"), free("slot")) == (4.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({"num_cpus": 1}, 4),
        ({"num_cpus": 2}, 2),
        ({"num_cpus": 3}, 1),
        ({"num_cpus": 0.5}, 8),
        ({"num_cpus": 1.5}, 2),
        ({"num_cpus": 0, "num_gpus": 1}, 2),
        ({"num_cpus": 0, "num_gpus": 0.4}, 4),
        ({"num_cpus": 0, "resources": {"slot": 1}}, 3),
        ({"num_cpus": 0, "resources": {"slot": 0.8}}, 3),
        ({"num_cpus": 0.1, "resources": {"slot": 2}}, 1),
    ],
    ids=str,
)
def test_no_more_tasks_run_at_once_than_resources_allow(tmp_path: Path, options: dict[str, Any], limit: int) -> None:
    most = most_at_once(tmp_path, 3 * limit + 2, **options)
    assert most <= limit
    if limit == 1:
        return
    assert most > 1, "they run side by side"


def test_memory_is_a_resource_too(tmp_path: Path) -> None:
    total = ray.cluster_resources()["memory"]
    assert most_at_once(tmp_path, 5, num_cpus=0, memory=int(total * 0.6)) == 1


def test_everything_is_free_again_when_nothing_runs(tmp_path: Path) -> None:
    most_at_once(tmp_path, 8, num_cpus=0.7, num_gpus=0.3, resources={"slot": 0.11})
    wait_for(all_free, f"all is free, but: {ray.available_resources()}")


def test_a_hundred_shares_of_a_hundredth_add_up(tmp_path: Path) -> None:
    @ray.remote(num_cpus=0, resources={"slot": 0.1})
    class Holder:
        def ready(self) -> None: ...

    holders = [Holder.remote() for _ in range(30)]
    ray.get([holder.ready.remote() for holder in holders], timeout=60)
    wait_for(lambda: free("slot") == 0.0, f"thirty tenths fill three slots: {ray.available_resources()}")
    one_more = Holder.remote()
    assert ray.wait([one_more.ready.remote()], timeout=0.3)[0] == []
    del holders, one_more
    wait_for(all_free, f"all is free, but: {ray.available_resources()}")


def test_the_running_task_sees_the_gpus_it_holds() -> None:
    @ray.remote(num_cpus=0, num_gpus=1)
    def gpus() -> tuple[list[Any], str]:
        time.sleep(0.3)
        return ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES", "")

    first, second = ray.get([gpus.remote(), gpus.remote()])
    assert len(first[0]) == len(second[0]) == 1
    assert first[0] != second[0]
    for ids, visible in (first, second):
        assert visible == ",".join(str(gpu) for gpu in ids)


def test_num_cpus_is_the_number_of_blas_threads() -> None:
    @ray.remote
    def threads() -> tuple[str, list[int]]:
        import numpy as np
        import threadpoolctl

        np.dot(np.ones((8, 8)), np.ones((8, 8)))
        pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        return os.environ.get("OMP_NUM_THREADS", ""), pools

    for cpus in (1, 2):
        variable, pools = ray.get(threads.options(num_cpus=cpus).remote())
        assert variable == str(cpus)
        assert pools and set(pools) == {cpus}


def test_an_infeasible_task_waits_and_holds_up_nobody() -> None:
    @ray.remote
    def one() -> int:
        return 1

    never = one.options(resources={"no_such_thing": 1}).remote()
    too_big = one.options(num_cpus=100).remote()
    assert ray.get([one.remote() for _ in range(20)], timeout=30) == [1] * 20
    assert ray.wait([never, too_big], num_returns=2, timeout=0.2) == ([], [never, too_big])


def test_a_small_task_passes_a_big_one_that_has_to_wait(tmp_path: Path) -> None:
    release = tmp_path / "release"

    @ray.remote(num_cpus=2)
    def hold() -> None:
        deadline = time.monotonic() + 30
        while not release.exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    @ray.remote
    def cpus(number: int) -> int:
        return number

    holding = hold.remote()
    wait_for(lambda: free("CPU") <= 2.0, "the first task runs")
    big = cpus.options(num_cpus=4).remote(4)
    assert ray.get(cpus.options(num_cpus=1).remote(1), timeout=20) == 1
    assert ray.wait([big], timeout=0)[0] == []
    release.touch()
    assert ray.get([holding, big], timeout=20) == [None, 4]


def test_a_blocked_task_lends_its_cpus_but_not_its_other_resources() -> None:
    @ray.remote(num_cpus=4)
    def child() -> str:
        return "child"

    @ray.remote(num_cpus=4, resources={"slot": 3})
    def parent(nested: Any) -> Any:
        return ray.get(nested.remote())

    assert ray.get(parent.remote(child), timeout=30) == "child"

    @ray.remote(num_cpus=0, resources={"slot": 1})
    def slotted() -> str:
        return "slotted"

    @ray.remote(num_cpus=1, resources={"slot": 3})
    def greedy() -> bool:
        ready, _ = ray.wait([slotted.remote()], timeout=0.5)
        return bool(ready)

    assert ray.get(greedy.remote(), timeout=30) is False


def test_available_resources_follow_what_runs() -> None:
    @ray.remote(num_cpus=3, num_gpus=1)
    class Holder:
        def ready(self) -> None: ...

    holder = Holder.remote()
    ray.get(holder.ready.remote())
    wait_for(lambda: (free("CPU"), free("GPU")) == (1.0, 1.0), f"three CPUs are taken: {ray.available_resources()}")
    assert ray.cluster_resources()["CPU"] == 4.0
    del holder
    wait_for(all_free, f"all is free, but: {ray.available_resources()}")
