"""The state of a real cluster: what the state API, the commands and the metrics tell of tasks, actors and nodes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._runtime import current
from ray.exceptions import WorkerCrashedError
from ray.util import state
from ray.util.state.exception import RayStateApiException

from tests.integration.conditions import wait_for
from tests.integration.lifecycle.processes import of_session

pytestmark = pytest.mark.usefixtures("session")


@ray.remote
def finishes(value: int) -> int:
    return value


@ray.remote
def prints() -> None:
    print("to one")
    print("to the other", file=sys.stderr)


@ray.remote(max_retries=0)
def raises() -> None:
    raise ValueError("as wanted")


@ray.remote(max_retries=1)
def dies() -> None:
    os._exit(3)


@ray.remote(enable_task_events=False)
def hidden() -> None:
    pass


@ray.remote
class Gate:
    def __init__(self) -> None:
        self.opened = threading.Event()

    def open(self) -> None:
        self.opened.set()

    def wait(self) -> None:
        self.opened.wait()


@ray.remote
def waits(gate: Any) -> None:
    ray.get(gate.wait.remote())


@ray.remote(max_concurrency=2, num_cpus=0)
class Threaded:
    def waits_for(self, gate: Any) -> None:
        ray.get(gate.wait.remote())

    def computes(self) -> None:
        threading.Event().wait(30)


@ray.remote(num_cpus=0)
class Serial:
    def waits_for(self, gate: Any) -> None:
        ray.get(gate.wait.remote())


def states_of(name: str) -> list[str]:
    return sorted(row.state for row in state.list_tasks(filters=[("name", "=", name)], limit=1000))


def running_calls(name: str, actor: Any) -> list[Any]:
    """The calls of this actor; other tests call methods of the same name."""
    rows = state.list_tasks(filters=[("name", "=", name), ("state", "=", "RUNNING")], limit=1000)
    return [row for row in rows if row.actor_id == actor._actor_id.hex()]


def ray_command(*arguments: str) -> str:
    found = current.runtime_or_none()
    assert found is not None
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MANTA_"))}
    token = found.identity.token.value.decode()  # type: ignore[attr-defined]
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ray"), *arguments, "--address", found.gcs_addresses],  # type: ignore[attr-defined]
        env={**environment, "MANTA_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_attempt_of_a_task_is_in_the_table() -> None:
    ray.get([finishes.remote(number) for number in range(50)])
    with pytest.raises(ValueError, match="as wanted"):
        ray.get(raises.remote())
    with pytest.raises(WorkerCrashedError):
        ray.get(dies.remote())
    ray.get(hidden.remote())
    wait_for(lambda: states_of("finishes") == ["FINISHED"] * 50, "all tasks are told to be over")
    wait_for(lambda: states_of("dies") == ["FAILED"] * 2, "both attempts are told of")
    assert states_of("hidden") == []
    (failed,) = state.list_tasks(filters=[("name", "=", "raises")], detail=True)
    assert (failed.error_type, failed.type, failed.attempt_number) == ("TASK_EXECUTION_EXCEPTION", "NORMAL_TASK", 0)
    assert "as wanted" in (failed.error_message or "")
    assert failed.node_id == ray.get_runtime_context().get_node_id()
    assert state.get_task(failed.task_id) == failed
    attempts: Any = state.get_task(state.list_tasks(filters=[("name", "=", "dies")])[0].task_id)
    assert [(attempt.attempt_number, attempt.error_type) for attempt in attempts] == [
        (0, "WORKER_DIED"),
        (1, "WORKER_DIED"),
    ]


def test_a_threaded_actor_shows_which_of_its_calls_wait() -> None:
    gate = Gate.options(max_concurrency=4, num_cpus=0).remote()
    threaded = Threaded.remote()
    waiting = threaded.waits_for.remote(gate)
    threaded.computes.remote()
    wait_for(lambda: states_of("Threaded.waits_for") == ["RUNNING_IN_RAY_GET"], "it is told to wait in get")
    wait_for(lambda: states_of("Threaded.computes") == ["RUNNING"], "the other one is told to run")
    ray.get(gate.open.remote())
    ray.get(waiting)
    wait_for(lambda: states_of("Threaded.waits_for") == ["FINISHED"], "it is told to be over")
    ray.kill(threaded)


def test_tasks_show_what_they_wait_for() -> None:
    gate = Gate.options(max_concurrency=4, num_cpus=0).remote()
    blocked = waits.options(num_cpus=1).remote(gate)
    behind = finishes.options(name="behind").remote(blocked)
    never = finishes.options(name="never", resources={"slot": 100}).remote(1)
    wait_for(lambda: states_of("waits") == ["RUNNING_IN_RAY_GET"], "it is told to wait in get")
    wait_for(lambda: running_calls("Gate.wait", gate), "the call of the actor is told to run")
    wait_for(lambda: states_of("behind") == ["PENDING_ARGS_AVAIL"], "it waits for its argument")
    wait_for(lambda: states_of("never") == ["PENDING_NODE_ASSIGNMENT"], "it waits for a node")
    (call,) = running_calls("Gate.wait", gate)
    (outer,) = state.list_tasks(filters=[("name", "=", "waits")])
    assert (call.type, call.parent_task_id) == ("ACTOR_TASK", outer.task_id)
    ray.get(gate.open.remote())
    ray.get(behind)
    wait_for(lambda: states_of("waits") == ["FINISHED"], "it is over")
    ray.cancel(never)
    wait_for(lambda: states_of("never") == ["FAILED"], "it was cancelled")


def test_calls_that_came_to_their_actor_wait_for_their_turn_there() -> None:
    gate = Gate.options(max_concurrency=4, num_cpus=0).remote()
    serial = Serial.remote()
    calls = [serial.waits_for.remote(gate) for _ in range(3)]
    waits_there = "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY"
    wait_for(
        lambda: states_of("Serial.waits_for") == [waits_there, waits_there, "RUNNING_IN_RAY_GET"],
        "one runs, and the others wait in the actor",
    )
    rows = state.list_tasks(filters=[("name", "=", "Serial.waits_for")], detail=True)
    assert [row.task_id for row in rows] == sorted(row.task_id for row in rows)
    assert all(row.worker_id for row in rows)
    ray.get(gate.open.remote())
    ray.get(calls)


def test_objects_take_of_the_object_store() -> None:
    whole = ray.cluster_resources()["object_store_memory"]
    held = ray.put(bytearray(50 << 20))
    wait_for(
        lambda: whole - ray.available_resources()["object_store_memory"] >= 50 << 20, "the use is told to the cluster"
    )
    assert "/512.00MiB object_store_memory" in ray_command("status")
    del held
    wait_for(lambda: whole - ray.available_resources()["object_store_memory"] < 50 << 20, "and that it is over")


def test_actors_nodes_jobs_and_workers_are_listed() -> None:
    alive = Gate.options(name="alive", num_cpus=0).remote()
    dead = Gate.options(num_cpus=0).remote()
    ray.get([alive.open.remote(), dead.open.remote()])
    ray.kill(dead)
    wait_for(lambda: state.get_actor(dead._actor_id.hex()).state == "DEAD", "the death is recorded")  # type: ignore[union-attr]
    row = state.get_actor(alive._actor_id.hex())
    assert row is not None
    assert (row.state, row.name, row.class_name, row["is_detached"]) == ("ALIVE", "alive", "Gate", False)
    (node,) = state.list_nodes(filters=[("is_head_node", "=", True)])
    assert (node.state, node.resources_total["CPU"], node.node_id) == ("ALIVE", 4.0, row.node_id)
    (job,) = state.list_jobs()
    assert (job.status, job.job_id) == ("RUNNING", row.job_id)
    workers = {worker.pid: worker for worker in state.list_workers(limit=1000)}
    assert (workers[row.pid or 0].is_alive, workers[os.getpid()].worker_type) == (True, "DRIVER")
    assert sorted(workers[pid].worker_id for pid in workers) == [workers[pid].worker_id for pid in workers]
    hosting: Any = state.get_worker(workers[row.pid or 0].worker_id)
    assert 0 < hosting.worker_launch_time_ms <= hosting.start_time_ms <= time.time() * 1000
    killed = state.get_actor(dead._actor_id.hex())
    assert killed is not None and killed.pid is not None
    wait_for(lambda: _worker(killed.pid).exit_type == "INTENDED_USER_EXIT", "its worker's end is listed")  # type: ignore[arg-type]
    counts = state.summarize_actors()["cluster"]["summary"]["Gate"]["state_counts"]
    assert counts["DEAD"] >= 1 and counts["ALIVE"] >= 1


def _worker(pid: int) -> Any:
    return next(worker for worker in state.list_workers(limit=1000) if worker.pid == pid)


def test_a_cut_is_told_and_wrong_questions_are_refused() -> None:
    ray.get([finishes.options(name="many").remote(number) for number in range(5)])
    wait_for(lambda: len(states_of("many")) == 5, "all are in the table")
    with pytest.warns(UserWarning, match="2 of 5 tasks"):
        assert len(state.list_tasks(filters=[("name", "=", "many")], limit=2)) == 2
    with pytest.raises(RayStateApiException, match="'colour'"):
        state.list_tasks(filters=[("colour", "=", "red")])
    with pytest.raises(RayStateApiException, match="not supported yet"):
        state.list_runtime_envs()


def test_placement_groups_are_listed_and_shown_in_the_status() -> None:
    made = ray.util.placement_group([{"CPU": 1, "GPU": 1}], name="made")
    assert made.wait(30)
    pending = ray.util.placement_group([{"CPU": 1}, {"GPU": 20}])
    try:
        (row,) = state.list_placement_groups(filters=[("name", "=", "made")], detail=True)
        assert (row.state, row.placement_group_id) == ("CREATED", made.id.hex())
        assert row.bundles is not None and row.bundles[0]["unit_resources"] == {"CPU": 1.0, "GPU": 1.0}
        other = state.get_placement_group(pending.id.hex())
        assert other is not None and other.state == "PENDING"
        status = ray_command("status")
        assert " 0.0/2.0 GPU (0.0 used of 1.0 reserved in placement groups)" in status.splitlines()
        assert " {'CPU': 1.0} * 1, {'GPU': 20.0} * 1 (PACK): 1+ pending placement groups" in status.splitlines()
        assert made.id.hex() in ray_command("list", "placement-groups", "--filter", "state=CREATED")
    finally:
        ray.util.remove_placement_group(made)
        ray.util.remove_placement_group(pending)


def test_objects_are_listed_with_who_holds_them() -> None:
    @ray.remote
    class Keeper:
        def __init__(self, refs: list[Any]) -> None:
            self.refs = refs

        def pid(self) -> int:
            return os.getpid()

    large, small = ray.put(bytes(1 << 20)), ray.put(1)
    made = finishes.remote(3)
    ray.get(made)
    keeper = Keeper.options(num_cpus=0).remote([large])
    pid = ray.get(keeper.pid.remote())
    rows = {(row.object_id, row.pid): row for row in state.list_objects(limit=10_000)}
    mine = os.getpid()
    assert rows[large.hex(), mine].reference_type == "PINNED_IN_MEMORY"
    assert rows[large.hex(), mine].object_size >= 1 << 20
    assert (rows[small.hex(), mine].reference_type, rows[small.hex(), mine].type) == ("LOCAL_REFERENCE", "DRIVER")
    assert (rows[made.hex(), mine].task_status, rows[small.hex(), mine].task_status) == ("FINISHED", "NIL")
    assert (rows[large.hex(), pid].reference_type, rows[large.hex(), pid].type) == ("LOCAL_REFERENCE", "WORKER")
    summary = state.summarize_objects()["cluster"]
    assert summary["total_size_mb"] >= 1
    assert summary["summary"]["disabled"]["ref_type_counts"]["PINNED_IN_MEMORY"] >= 1
    assert "PINNED_IN_MEMORY" in ray_command("summary", "objects")
    found: Any = state.get_objects(large.hex())
    assert {row.pid for row in found} == {mine, pid}


def test_a_gcs_that_starts_again_learns_what_goes_on(session: Any) -> None:
    gate = Gate.options(max_concurrency=4, num_cpus=0).remote()
    blocked = waits.options(name="outlasts", num_cpus=1).remote(gate)
    wait_for(lambda: states_of("outlasts") == ["RUNNING_IN_RAY_GET"], "it is told to run")
    before = len(state.list_tasks(limit=1000))
    services = of_session(session["session_dir"])
    (gcs,) = [pid for pid, command in services.items() if "manta-gcs" in command]
    os.kill(gcs, signal.SIGKILL)
    wait_for(lambda: states_of("outlasts") == ["RUNNING_IN_RAY_GET"], "another GCS is told of it")
    assert len(state.list_tasks(limit=1000)) < before, "tasks that were over are forgotten"
    ray.get(gate.open.remote())
    ray.get(blocked)
    wait_for(lambda: states_of("outlasts") == ["FINISHED"], "its end is told")


def test_a_task_may_ask_for_the_state() -> None:
    @ray.remote
    def names() -> list[str]:
        return [row.node_id for row in state.list_nodes()]

    assert ray.get(names.remote()) == [ray.get_runtime_context().get_node_id()]


def test_the_commands_print_the_tables() -> None:
    gate = Gate.options(name="shown", num_cpus=0).remote()
    ray.get(gate.open.remote())
    (listed,) = json.loads(ray_command("list", "actors", "--format", "json", "--filter", "name=shown"))
    assert (listed["actor_id"], listed["state"]) == (gate._actor_id.hex(), "ALIVE")
    detail = ray_command("list", "actors", "--detail", "--filter", "name=shown").splitlines()
    assert detail[:2] == ["---", f"-   actor_id: {gate._actor_id.hex()}"]
    for column in ("class_name: Gate", "death_cause: null", "is_detached: false", "name: shown", "state: ALIVE"):
        assert f"    {column}" in detail
    wait_for(lambda: "Gate.__init__" in ray_command("summary", "tasks"), "the actor's creation is counted")
    ray.get(prints.remote())
    wait_for(lambda: ray_command("logs", "worker-*").count("  - worker-") >= 2, "both of its outputs have a file")
    assert ray_command("logs", "--actor-id", gate._actor_id.hex()) == ""
    status = ray_command("status")
    assert "Total Usage:" in status and "Pending Demands:" in status
