"""Actors that need a CPU to be placed, and hold none while they live."""

from pathlib import Path

from tests.integration.runtime.driver_program import DriverProgram


def test_an_actor_that_holds_no_cpu_starts_while_tasks_hold_all(tmp_path: Path) -> None:
    body = """
import ray, sys
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
ray.init(num_cpus=2, object_store_memory=100 << 20)
@ray.remote
class Plain:
    def there(self):
        return 1
holders = [Plain.options(num_cpus=1).remote()]
group = placement_group([{"CPU": 1}])
in_group = PlacementGroupSchedulingStrategy(group)
holders.append(Plain.options(num_cpus=1, scheduling_strategy=in_group).remote())
ray.get([holder.there.remote() for holder in holders])
others = [Plain.remote(), Plain.options(scheduling_strategy=in_group).remote()]
print("there", sum(ray.get([other.there.remote() for other in others], timeout=30)), flush=True)
"""
    with DriverProgram(body, tmp_path / "root") as driver:
        assert driver.line_after("there") == "2"
        driver.end()
