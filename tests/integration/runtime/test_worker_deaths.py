"""Workers that die in a task."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.exceptions import ActorDiedError, WorkerCrashedError

from tests.integration.conditions import wait_for
from tests.integration.faults.gates import Gate

pytestmark = pytest.mark.usefixtures("session")


@ray.remote
def die_until(path: str, times: int, how: str = "kill") -> int:
    """Die in the first `times` attempts; returns the number of attempts."""
    with open(path, "a") as log:
        log.write("x")
    attempts = len(Path(path).read_text())
    if attempts <= times:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "exit":
            os._exit(3)
        else:
            os.abort()
    return attempts


@pytest.mark.parametrize("how", ["kill", "exit", "abort"])
def test_a_task_whose_worker_dies_is_retried(tmp_path: Path, how: str) -> None:
    assert ray.get(die_until.remote(str(tmp_path / "log"), 2, how), timeout=30) == 3


def test_retries_end_with_worker_crashed_error(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with pytest.raises(WorkerCrashedError):
        ray.get(die_until.remote(str(path), 100), timeout=60)
    assert len(path.read_text()) == 4  # once and three retries


@pytest.mark.parametrize("retries", [0, 1])
def test_max_retries_is_honoured(tmp_path: Path, retries: int) -> None:
    path = tmp_path / "log"
    with pytest.raises(WorkerCrashedError):
        ray.get(die_until.options(max_retries=retries).remote(str(path), 100), timeout=30)
    assert len(path.read_text()) == retries + 1


def test_endless_retries(tmp_path: Path) -> None:
    assert ray.get(die_until.options(max_retries=-1).remote(str(tmp_path / "log"), 8), timeout=60) == 9


def test_a_crash_in_native_code_is_told_with_the_stack_of_the_user_s_code() -> None:
    import ctypes

    def crash(depth: int) -> None:
        if depth:
            crash(depth - 1)
        ctypes.string_at(1)

    class Crasher:
        def method(self) -> None:
            crash(3)

    with pytest.raises(WorkerCrashedError) as of_task:
        ray.get(ray.remote(max_retries=0)(crash).remote(3), timeout=30)
    with pytest.raises(ActorDiedError) as of_actor:
        ray.get(ray.remote(Crasher).remote().method.remote(), timeout=30)
    for error in (str(of_task.value), str(of_actor.value)):
        assert "Fatal Python error: Segmentation fault" in error
        assert error.count("in crash") == 4
        assert "in string_at" in error
        assert "_runtime" not in error


def titles() -> set[str]:
    """What ps shows of the processes below this one, of those that have a title."""
    listed = subprocess.run(["ps", "-eo", "comm=,args="], capture_output=True, text=True, check=True).stdout
    return {line.split(None, 1)[1].strip() for line in listed.splitlines() if line.startswith("ray::")}


def test_workers_are_shown_by_what_they_run(tmp_path: Path) -> None:
    gate = Gate(tmp_path)

    @ray.remote(num_cpus=0)
    def shown_task() -> None:
        gate.come("task")

    @ray.remote(num_cpus=0)
    class Shown:
        def method(self) -> None:
            gate.come("actor")

    actor = Shown.remote()
    refs = [shown_task.remote(), actor.method.remote()]
    gate.wait_for("task", "actor")
    wait_for(lambda: titles() >= {"ray::shown_task", "ray::Shown.method"}, f"those that run are named: {titles()}")
    gate.open()
    ray.get(refs, timeout=30)
    wait_for(lambda: "ray::Shown" in titles() and "ray::IDLE" in titles(), f"then they are idle: {titles()}")
    assert not titles() & {"ray::shown_task", "ray::Shown.method", "ray::Rehearsed"}


def test_a_death_does_not_touch_other_tasks(tmp_path: Path) -> None:
    @ray.remote
    def work(number: int) -> int:
        return number

    doomed = [die_until.options(max_retries=0).remote(str(tmp_path / f"log{number}"), 100) for number in range(5)]
    refs = [work.options(max_retries=0).remote(number) for number in range(200)]
    assert ray.get(refs, timeout=60) == list(range(200))
    for ref in doomed:
        with pytest.raises(WorkerCrashedError):
            ray.get(ref, timeout=30)


def test_tasks_queued_behind_a_dying_one_use_no_retry() -> None:
    # Short tasks of one function are sent ahead; those after the one that ran when the worker died were never started.
    @ray.remote(max_retries=0)
    def quick(number: int, die: bool = False) -> int:
        if die:
            os._exit(1)
        return number

    assert ray.get([quick.remote(number) for number in range(500)]) == list(range(500))
    refs = [quick.remote(number, number == 250) for number in range(500)]
    failed = []
    for number, ref in enumerate(refs):
        try:
            assert ray.get(ref, timeout=30) == number
        except WorkerCrashedError:
            failed.append(number)
    assert 250 in failed
    assert [number for number in failed if number > 250] == []
    # Results that the worker had not sent yet die with it: those of the moment before, not of long ago.
    assert [number for number in failed if number < 200] == []


def test_the_error_of_a_dead_worker_reaches_dependents(tmp_path: Path) -> None:
    @ray.remote
    def use(value: Any) -> Any:
        return value

    doomed = die_until.options(max_retries=0).remote(str(tmp_path / "log"), 100)
    with pytest.raises(WorkerCrashedError):
        ray.get(use.remote(use.remote(doomed)), timeout=30)


def test_a_retried_task_gets_its_arguments_again(tmp_path: Path) -> None:
    path = tmp_path / "log"

    @ray.remote
    def total(array: Any, refs: list[Any]) -> float:
        with path.open("a") as log:
            log.write("x")
        if len(path.read_text()) < 3:
            os._exit(1)
        return float(array.sum() + ray.get(refs[0]).sum())

    array = ray.put(np.ones(500_000))
    result = total.remote(array, [ray.put(np.ones(300_000))])
    del array
    assert ray.get(result, timeout=30) == 800_000


def test_a_parent_s_death_ends_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    @ray.remote
    def child() -> None:
        import time

        with pids.open("a") as log:
            log.write(f"{os.getpid()}\n")
        time.sleep(60)

    @ray.remote(max_retries=0)
    def parent() -> None:
        ref = child.remote()
        ray.wait([ref], timeout=0.01)
        while not pids.exists() or not pids.read_text().endswith("\n"):
            ray.wait([ref], timeout=0.01)
        os._exit(1)

    with pytest.raises(WorkerCrashedError):
        ray.get(parent.remote(), timeout=30)
    from tests.integration.conditions import wait_for

    (pid,) = (int(line) for line in pids.read_text().split())
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "the child's worker is killed")
