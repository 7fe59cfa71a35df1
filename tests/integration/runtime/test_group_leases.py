"""What becomes of the workers of placement groups that come and go."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, ActorPlacementGroupRemoved, RaySystemError, TaskPlacementGroupRemoved
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group
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


@ray.remote(num_cpus=4)
class Full:
    def there(self) -> int:
        return 1


def inside(function: Any, group: Any) -> Any:
    return function.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group))


def test_an_idle_worker_outlives_the_group_that_its_owner_removes(session: Any) -> None:
    pids = set()
    for _ in range(ROUNDS):
        group = placement_group([{"CPU": 4}])
        pids.add(ray.get(inside(pid, group).remote()))
        remove_placement_group(group)
    assert len(pids) < ROUNDS / 2, pids


def test_a_group_is_ready_although_its_bundles_are_full_and_a_strategy_of_none_is_the_default(session: Any) -> None:
    group = placement_group([{"CPU": 4}], strategy=None)
    full = Full.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group)).remote()
    assert ray.get(full.there.remote()) == 1
    assert ray.get(group.ready(), timeout=30) == group and group.wait(30)
    assert placement_group_table(group)["strategy"] == "PACK"
    remove_placement_group(group)
    errors: list[ActorDiedError] = []

    def ended() -> bool:
        try:
            ray.get(full.there.remote(), timeout=30)
        except ActorDiedError as error:
            errors.append(error)
        return bool(errors)

    wait_for(ended, "the actor ends with its group")
    assert isinstance(errors[0], ActorPlacementGroupRemoved) and "was removed" in str(errors[0])
    assert errors[0].actor_id == full._actor_id.hex()


@pytest.mark.parametrize("bundle", [{"bundle": 1}, {"CPU": 1, "bundle": 0}])
def test_a_bundle_may_not_have_the_systems_own_resource(session: Any, bundle: dict[str, float]) -> None:
    with pytest.raises(RaySystemError, match="bundle is a system reserved resource"):
        placement_group([bundle])


def test_a_worker_that_runs_a_task_of_the_group_does_not(session: Any, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    group = placement_group([{"CPU": 4}])
    running = inside(runs_on, group).remote(str(begun))
    wait_for(begun.exists, "the task runs")
    remove_placement_group(group)
    with pytest.raises(TaskPlacementGroupRemoved):
        ray.get(running, timeout=30)
