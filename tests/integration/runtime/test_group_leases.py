"""What becomes of the workers of placement groups that come and go."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import TaskPlacementGroupRemoved
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tests.integration.conditions import wait_for

ROUNDS = 12


@ray.remote
def pid() -> int:
    return os.getpid()


@ray.remote(max_retries=0)
def runs_on(begun: str) -> None:
    Path(begun).touch()
    signal.pause()


def inside(function: Any, group: Any) -> Any:
    return function.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group))


def test_an_idle_worker_outlives_the_group_that_its_owner_removes(session: Any) -> None:
    pids = set()
    for _ in range(ROUNDS):
        group = placement_group([{"CPU": 4}])
        pids.add(ray.get(inside(pid, group).remote()))
        remove_placement_group(group)
    assert len(pids) < ROUNDS / 2, pids


def test_a_worker_that_runs_a_task_of_the_group_does_not(session: Any, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    group = placement_group([{"CPU": 4}])
    running = inside(runs_on, group).remote(str(begun))
    wait_for(begun.exists, "the task runs")
    remove_placement_group(group)
    with pytest.raises(TaskPlacementGroupRemoved):
        ray.get(running, timeout=30)
