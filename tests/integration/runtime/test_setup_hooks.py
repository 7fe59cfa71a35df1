"""worker_process_setup_hook: what every worker of a job runs first."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, RuntimeEnvSetupError


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[[Any], None]]:
    """Starts a cluster whose job has that hook."""

    def start(hook: Any) -> None:
        root = tmp_path / "root"
        root.mkdir(mode=0o700)
        env = {"worker_process_setup_hook": hook, "env_vars": {"OF_JOB": "1"}}
        ray.init(num_cpus=2, _temp_dir=str(root), log_to_driver=False, runtime_env=env)

    yield start
    ray.shutdown()


def mark() -> None:
    # The worker is connected by then.
    os.environ["HOOKED"] = ray.get_runtime_context().get_worker_id() + os.environ["OF_JOB"]


def fail() -> None:
    raise ValueError("this hook is bad")


@ray.remote
def hooked() -> bool:
    return os.environ.get("HOOKED") == ray.get_runtime_context().get_worker_id() + "1"


@ray.remote
class Hooked:
    def hooked(self) -> bool:
        return os.environ.get("HOOKED") == ray.get_runtime_context().get_worker_id() + "1"


def test_a_function_is_run_in_every_worker_before_tasks_and_actors(cluster: Callable[[Any], None]) -> None:
    cluster(mark)
    assert ray.get_runtime_context().runtime_env["worker_process_setup_hook"] == "mark"
    other_env = hooked.options(runtime_env={"env_vars": {"A": "1"}})
    assert ray.get([hooked.remote(), Hooked.remote().hooked.remote(), other_env.remote()]) == [True, True, True]
    with pytest.raises(RuntimeEnvSetupError, match="is for a whole job"):
        hooked.options(runtime_env={"worker_process_setup_hook": fail}).remote()
    with pytest.raises(RuntimeEnvSetupError, match="pip not supported yet"):
        Hooked.options(runtime_env={"pip": ["requests"]}).remote()


@pytest.mark.parametrize(("hook", "words"), [(fail, "this hook is bad"), ("no_such_module.hook", "no_such_module")])
def test_one_that_fails_fails_tasks_and_actors_with_its_traceback(
    cluster: Callable[[Any], None], hook: Any, words: str
) -> None:
    cluster(hook)
    with pytest.raises(RuntimeEnvSetupError, match=words):
        ray.get(hooked.remote())
    with pytest.raises(ActorDiedError, match=words):
        ray.get(Hooked.remote().hooked.remote())
