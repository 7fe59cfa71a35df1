"""ray.get_runtime_context() in a driver, a task, and each kind of actor."""

import os
import signal
from typing import Any

import pytest
import ray
from ray.runtime_context import RuntimeContext

pytestmark = pytest.mark.usefixtures("session")

# What only code in a task or an actor may ask; elsewhere these raise.
WORKER_ONLY = {"actor_id", "task_id", "current_actor", "was_current_actor_reconstructed"}


def everything() -> dict[str, Any]:
    """Each public getter's answer, or the class of what it raised."""
    context = ray.get_runtime_context()
    found: dict[str, Any] = {}
    for name in dir(RuntimeContext):
        if name.startswith("_"):
            continue
        try:
            value = getattr(context, name)
            found[name] = value() if callable(value) and not isinstance(value, ray.actor.ActorHandle) else value
        except Exception as error:
            found[name] = type(error)
    return {name: str(value) if name == "current_actor" else value for name, value in found.items()}


@ray.remote(num_cpus=2, num_gpus=1, resources={"slot": 1}, max_calls=0)
def in_task() -> dict[str, Any]:
    return everything()


class Sync:
    def context(self) -> dict[str, Any]:
        return everything()

    def pid(self) -> int:
        return os.getpid()


class Async:
    async def context(self) -> dict[str, Any]:
        return everything()

    async def pid(self) -> int:
        return os.getpid()


def test_a_driver_has_no_task_and_no_actor() -> None:
    found = everything()
    assert found["get_job_id"] == found["job_id"].hex()
    assert found["get_node_id"] == found["node_id"].hex() == ray.nodes()[0]["NodeID"]
    for name in ("get_task_id", "get_task_name", "get_task_function_name", "get_actor_id", "get_actor_name"):
        assert found[name] is None, name
    for name in ("actor_id", "task_id", "was_current_actor_reconstructed", "get_assigned_resources"):
        assert found[name] is AssertionError, name
    assert found["is_canceled"] is RuntimeError
    assert found["get_accelerator_ids"]["GPU"] == []
    assert found["get_session_name"].startswith("session_")


def test_a_task_knows_itself_and_what_it_holds() -> None:
    ref = in_task.remote()
    found = ray.get(ref, timeout=20)
    assert found["get_task_id"] == ref.task_id().hex() == found["task_id"].hex()
    assert found["get_task_name"] == "in_task"
    assert found["get_task_function_name"].endswith("test_runtime_context.in_task")
    assert found["get_assigned_resources"] == {"CPU": 2.0, "GPU": 1.0, "slot": 1.0}
    assert len(found["get_accelerator_ids"]["GPU"]) == 1
    assert found["get_actor_id"] is None
    assert found["actor_id"] is None
    assert found["is_canceled"] is False
    assert found["get_worker_id"] != ray.get_runtime_context().get_worker_id()
    assert found["get_job_id"] == ray.get_runtime_context().get_job_id()
    named = ray.get(in_task.options(name="by hand").remote(), timeout=20)
    assert named["get_task_name"] == "by hand"
    assert named["get_task_function_name"].endswith("in_task")


@pytest.mark.parametrize(("cls", "options"), [(Sync, {}), (Sync, {"max_concurrency": 2}), (Async, {})])
def test_each_kind_of_actor_knows_itself(cls: Any, options: dict[str, Any]) -> None:
    actor = ray.remote(num_cpus=1, name=f"me-{cls.__name__}-{len(options)}", **options)(cls).remote()
    ref = actor.context.remote()
    found = ray.get(ref, timeout=20)
    assert found["get_actor_id"] == found["actor_id"].hex() == actor._actor_id_hex
    assert found["get_actor_name"] == f"me-{cls.__name__}-{len(options)}"
    assert found["get_task_id"] == ref.task_id().hex()
    assert found["get_task_name"] == f"{cls.__name__}.context"
    assert found["get_task_function_name"].endswith(f"test_runtime_context.{cls.__name__}.context")
    assert found["get_assigned_resources"] == {"CPU": 1.0}
    assert found["current_actor"] == str(actor)
    assert found["was_current_actor_reconstructed"] is False
    assert found["is_canceled"] is False
    assert not {found[name] for name in WORKER_ONLY if isinstance(found[name], type)}


@pytest.mark.parametrize("cls", [Sync, Async])
def test_an_actor_knows_that_it_was_restarted(cls: Any) -> None:
    actor = ray.remote(num_cpus=0, max_restarts=1, max_task_retries=-1)(cls).remote()
    os.kill(ray.get(actor.pid.remote(), timeout=20), signal.SIGKILL)
    assert ray.get(actor.context.remote(), timeout=30)["was_current_actor_reconstructed"] is True
