"""What actors hold of their node, and what they see of it."""

import os
from typing import Any

import pytest
import ray

from tests.integration.conditions import wait_for

pytestmark = pytest.mark.usefixtures("session")
WAIT_S = 30.0


class Surroundings:
    """What the process had when the first line of the user's code ran."""

    def __init__(self) -> None:
        self.visible_in_constructor = os.environ.get("CUDA_VISIBLE_DEVICES")

    def gpus(self) -> dict[str, Any]:
        context = ray.get_runtime_context()
        return {
            "ids": [str(gpu) for gpu in ray.get_gpu_ids()],
            "visible": (self.visible_in_constructor or "").split(","),
            "context": context.get_accelerator_ids()["GPU"],
            "held": context.get_assigned_resources().get("GPU"),
        }

    def held(self) -> dict[str, float]:
        return dict(ray.get_runtime_context().get_assigned_resources())

    def threads(self) -> str | None:
        return os.environ.get("OMP_NUM_THREADS")


Actor = ray.remote(Surroundings)


def free(name: str) -> float:
    return float(ray.available_resources().get(name, 0.0))


@pytest.fixture(autouse=True)
def _all_is_free_before() -> None:
    wait_for(lambda: free("CPU") == 4.0 and free("GPU") == 2.0, "the actors of the test before have gone")


def test_by_default_an_actor_needs_a_cpu_to_be_placed_and_holds_none() -> None:
    actors = [Actor.remote() for _ in range(8)]  # twice as many as CPUs
    assert ray.get([actor.held.remote() for actor in actors], timeout=WAIT_S) == [{}] * 8
    wait_for(lambda: free("CPU") == 4.0, "no CPU is held")


def test_explicit_amounts_are_held_while_the_actor_lives() -> None:
    first = Actor.options(num_cpus=3, resources={"slot": 1}).remote()
    assert ray.get(first.held.remote(), timeout=WAIT_S) == {"CPU": 3.0, "slot": 1.0}
    wait_for(lambda: (free("CPU"), free("slot")) == (1.0, 2.0), "they are taken")
    second = Actor.options(num_cpus=2).remote()
    answer = second.held.remote()
    assert ray.wait([answer], timeout=0.3)[0] == [], "there is no room for it"
    ray.kill(first)
    assert ray.get(answer, timeout=WAIT_S) == {"CPU": 2.0}


def test_whole_gpus_are_the_actor_s_own_and_visible_before_its_code_runs() -> None:
    actors = [Actor.options(num_gpus=1).remote() for _ in range(2)]
    seen = ray.get([actor.gpus.remote() for actor in actors], timeout=WAIT_S)
    for gpus in seen:
        assert gpus["ids"] == gpus["visible"] == gpus["context"] and len(gpus["ids"]) == 1 and gpus["held"] == 1.0
    assert {gpus["ids"][0] for gpus in seen} == {"0", "1"}
    waiting = Actor.options(num_gpus=1).remote().gpus.remote()
    assert ray.wait([waiting], timeout=0.3)[0] == []
    del actors
    assert ray.get(waiting, timeout=WAIT_S)["held"] == 1.0


def test_fractions_share_a_device() -> None:
    actors = [Actor.options(num_gpus=0.5).remote() for _ in range(4)]
    seen = ray.get([actor.gpus.remote() for actor in actors], timeout=WAIT_S)
    assert sorted(gpus["ids"][0] for gpus in seen) == ["0", "0", "1", "1"]
    assert all(gpus["ids"] == gpus["visible"] == gpus["context"] and gpus["held"] == 0.5 for gpus in seen)


def test_two_gpus_are_two_devices_and_one_and_a_half_are_refused() -> None:
    both = ray.get(Actor.options(num_gpus=2).remote().gpus.remote(), timeout=WAIT_S)
    assert both["ids"] == both["visible"] == both["context"] == ["0", "1"] and both["held"] == 2.0
    with pytest.raises(ValueError, match="whole number"):
        Actor.options(num_gpus=1.5)


def test_an_actor_without_gpus_sees_none() -> None:
    assert ray.get(Actor.remote().gpus.remote(), timeout=WAIT_S) == {
        "ids": [],
        "visible": [""],
        "context": [],
        "held": None,
    }


def test_the_number_of_threads_is_that_of_cpus_unless_the_user_says_otherwise() -> None:
    env = {"env_vars": {"OMP_NUM_THREADS": "7"}}
    actors = [
        Actor.remote(),
        Actor.options(num_cpus=2).remote(),
        Actor.options(num_cpus=0.5).remote(),
        Actor.options(num_cpus=1, runtime_env=env).remote(),
    ]
    assert ray.get([actor.threads.remote() for actor in actors], timeout=WAIT_S) == ["1", "2", "1", "7"]
