"""What becomes of the workers of placement groups that come and go."""

import os
import time
from typing import Any

import pytest
import ray
from ray.exceptions import TaskPlacementGroupRemoved
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

ROUNDS = 12


@ray.remote(max_retries=0)
def pid(seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return os.getpid()


def inside(group: Any) -> Any:
    return pid.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group))


def test_an_idle_worker_outlives_the_group_that_its_owner_removes(session: Any) -> None:
    pids = set()
    for _ in range(ROUNDS):
        group = placement_group([{"CPU": 4}])
        pids.add(ray.get(inside(group).remote()))
        remove_placement_group(group)
    assert len(pids) < ROUNDS / 2, pids


def test_a_worker_that_runs_a_task_of_the_group_does_not(session: Any) -> None:
    group = placement_group([{"CPU": 4}])
    ray.get(group.ready())
    running = inside(group).remote(3600)
    ray.wait([running], timeout=0.5)
    remove_placement_group(group)
    with pytest.raises(TaskPlacementGroupRemoved):
        ray.get(running, timeout=30)
