"""The logging module in drivers and workers: the user's own set-up, and a LoggingConfig."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.integration.runtime.driver_program import DriverProgram


@ray.remote
def task_with_own_logging(path: str) -> tuple[bool, int, str]:
    free = not logging.getLogger().isEnabledFor(logging.INFO)
    logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(message)s", filename=path)
    logging.getLogger("app").debug("details")
    logging.getLogger("ray").warning("ours goes elsewhere")
    return free, logging.getLogger().level, Path(path).read_text()


@ray.remote
class ActorWithOwnLogging:
    def __init__(self, path: str) -> None:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", filename=path)
        self.path = path

    def work(self) -> str:
        logging.getLogger("app").debug("too much")
        logging.getLogger("app").info("work")
        return Path(self.path).read_text()


@pytest.mark.usefixtures("session")
def test_the_root_logger_of_a_worker_is_the_users_to_set_up(tmp_path: Path) -> None:
    done = ray.get(task_with_own_logging.remote(str(tmp_path / "task")))
    assert done == (True, logging.DEBUG, "DEBUG details\n")
    actor = ActorWithOwnLogging.remote(str(tmp_path / "actor"))
    assert ray.get(actor.work.remote()) == "INFO work\n"


PROGRAM = """
import logging, sys
import ray
ray.init(num_cpus=2, object_store_memory=100 << 20, logging_config=ray.LoggingConfig(
    encoding="JSON", log_level="INFO", additional_log_standard_attrs=["name"]))

@ray.remote
def task():
    logging.getLogger("app").debug("not shown")
    logging.getLogger("app").info("in a task", extra={"step": 1})

@ray.remote
class Actor:
    async def method(self):
        logging.getLogger("app").warning("in an actor")
        return ray.get_runtime_context().get_actor_id()

logging.getLogger("app").info("in the driver")
ray.get(task.remote())
actor = Actor.options(name="teller").remote()
print("actor", ray.get(actor.method.remote()), flush=True)
ray.shutdown()
"""


def records(text: str) -> dict[str, dict[str, Any]]:
    """The JSON lines of a terminal, without the mark of the worker that wrote them: message -> fields."""
    found = [json.loads(line[line.index("{") :]) for line in text.splitlines() if "{" in line]
    return {fields["message"]: fields for fields in found}


def test_records_as_json_name_their_job_node_process_actor_and_task(tmp_path: Path) -> None:
    with DriverProgram(PROGRAM, tmp_path / "root") as driver:
        actor_id = driver.line_after("actor")
        driver.end()
        shown = records(driver.stderr)
    own, task, actor = shown["in the driver"], shown["in a task"], shown["in an actor"]
    assert "not shown" not in shown
    assert {own["job_id"], task["job_id"], actor["job_id"]} == {own["job_id"]}
    assert len({own["worker_id"], task["worker_id"], actor["worker_id"]}) == 3
    assert task["node_id"] == own["node_id"]
    assert "task_id" not in own
    assert (task["task_name"], task["step"], task["name"], task["levelname"]) == ("task", 1, "app", "INFO")
    assert "actor_id" not in task
    assert (actor["actor_id"], actor["actor_name"]) == (actor_id, "teller")
    assert actor["task_func_name"].endswith("Actor.method")
