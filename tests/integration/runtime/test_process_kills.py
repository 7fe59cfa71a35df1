"""kill -9 of each process under a running program, and what the program then sees."""

import contextlib
import os
import select
import signal
from pathlib import Path

import pytest

from tests.integration.conditions import wait_for
from tests.integration.lifecycle.processes import of_session, pidfd
from tests.integration.runtime.driver_program import DriverProgram, kill, parent_of

# Small values only: nothing of it lies in the arena that may be lost.
WORK = """
import os, sys, time
import ray
ray.init(num_cpus=3, object_store_memory=100 << 20)

@ray.remote
def square(x):
    return x * x

@ray.remote
def until(path):
    while not os.path.exists(path):
        time.sleep(0.01)
    return "ran through"

@ray.remote
class Counter:
    def __init__(self):
        self.value = 0
    def add(self):
        self.value += 1
        return self.value

counter = Counter.remote()
print("before", ray.get([square.remote(3), counter.add.remote()]), flush=True)
running = until.remote(sys.argv[0] + ".go")
ray.wait([running], timeout=0.1)
print("ready", flush=True)
sys.stdin.readline()
print("tasks", ray.get([square.remote(number) for number in range(20)]) == [n * n for n in range(20)], flush=True)
print("old actor", ray.get(counter.add.remote()), flush=True)
another = Counter.remote()
print("new actor", ray.get(another.add.remote()), flush=True)
open(sys.argv[0] + ".go", "w").close()
print("running task", ray.get(running), flush=True)
"""
EXPECTED = ["before [9, 1]", "ready", "tasks True", "old actor 2", "new actor 1", "running task ran through"]


@pytest.mark.parametrize("service", ["manta-gcs", "manta-object-manager", "manta-zygote"])
def test_a_program_ends_correctly_after_the_kill_of(service: str, tmp_path: Path) -> None:
    with DriverProgram(WORK, tmp_path / "root") as driver:
        driver.line_after("ready")
        kill(driver.pid_of(service))
        driver.say()
        assert driver.end() == EXPECTED


@pytest.mark.parametrize("service", ["manta-gcs", "manta-object-manager", "manta-zygote"])
def test_a_program_in_full_swing_does_not_notice_the_kill_of(service: str, tmp_path: Path) -> None:
    source = """
import ray, sys
ray.init(num_cpus=3, object_store_memory=100 << 20)
@ray.remote
def square(x):
    return x * x
total = 0
for turn in range(60):
    total += sum(ray.get([square.remote(number) for number in range(50)]))
    if turn == 5:
        print("in full swing", flush=True)
print("total", total, flush=True)
"""
    with DriverProgram(source, tmp_path / "root") as driver:
        driver.line_after("in full swing")
        kill(driver.pid_of(service))
        assert driver.end()[-1] == f"total {60 * sum(number * number for number in range(50))}"


def test_new_objects_go_into_the_arena_of_a_new_object_manager(tmp_path: Path) -> None:
    source = """
import ray, sys
import numpy as np
ray.init(num_cpus=2, object_store_memory=100 << 20)
@ray.remote
def total(array):
    return float(array.sum())
@ray.remote
def make(count):
    return np.ones(count)
lost = ray.put(np.ones(500_000))
view = ray.get(lost)
print("before", ray.get(total.remote(lost)), flush=True)
sys.stdin.readline()
print("view", view.sum(), flush=True)
print("new", ray.get(total.remote(np.ones(300_000))), ray.get(make.remote(200_000)).sum(), flush=True)
"""
    with DriverProgram(source, tmp_path / "root") as driver:
        driver.line_after("before")
        kill(driver.pid_of("manta-object-manager"))
        driver.say()
        assert driver.end() == ["before 500000.0", "view 500000.0", "new 300000.0 200000.0"]


def test_a_killed_raylet_is_told_and_does_not_hang(tmp_path: Path) -> None:
    with DriverProgram(WORK, tmp_path / "root") as driver:
        driver.line_after("ready")
        kill(driver.pid_of("manta-raylet"))
        driver.say()
        driver.end(1)
        assert "raylet" in driver.stderr.lower()


def test_workers_end_by_themselves_with_their_raylet_busy_idle_or_with_forked_children(tmp_path: Path) -> None:
    source = """
import os, sys, time
import ray
ray.init(num_cpus=3, object_store_memory=100 << 20)

@ray.remote
class Worker:
    def pid(self):
        return os.getpid()
    def fork(self):
        # It holds copies of the worker's sockets: their other ends do not see them closed.
        child = os.fork()
        if not child:
            time.sleep(20)
            os._exit(0)
        return child
    def compute(self):
        print("computing", flush=True)
        while True:
            pass

idle, busy, parent = [Worker.remote() for _ in range(3)]
workers = ray.get([worker.pid.remote() for worker in (idle, busy, parent)])
child = ray.get(parent.fork.remote())
endless = [busy.compute.remote(), parent.compute.remote()]
print("pids", *workers, child, flush=True)
sys.stdin.readline()
"""
    with DriverProgram(source, tmp_path / "root") as driver:
        *workers, child = [int(pid) for pid in driver.line_after("pids").split()]
        driver.read_until(lambda lines: sum("computing" in line for line in lines) == 2)
        supervisor = parent_of(driver.pid_of("manta-raylet"))
        # It would end them itself.
        os.kill(supervisor, signal.SIGSTOP)
        with contextlib.ExitStack() as stack:
            waiting = {stack.enter_context(pidfd(pid)) for pid in workers}
            kill(driver.pid_of("manta-raylet"))
            while waiting:
                ended, _, _ = select.select(waiting, [], [], 10)
                assert ended, f"{len(waiting)} of the workers {workers} outlive their raylet"
                waiting -= set(ended)
        os.kill(child, signal.SIGKILL)
        os.kill(supervisor, signal.SIGCONT)


def test_everything_goes_within_five_seconds_of_the_kill_of_the_driver(tmp_path: Path) -> None:
    with DriverProgram(WORK, tmp_path / "root") as driver:
        driver.line_after("ready")
        assert len(of_session(str(driver.root))) >= 6
        kill(driver.process.pid)
        driver.expect_nothing_left(5.0)


def test_everything_goes_when_a_driver_with_forked_children_is_killed(tmp_path: Path) -> None:
    source = WORK.replace(
        'print("ready"', 'child = os.fork() or (os.setsid(), time.sleep(30), os._exit(0))\nprint("ready"'
    )
    source = source.replace('print("ready"', 'print("child", child, flush=True)\nprint("ready"')
    with DriverProgram(source, tmp_path / "root") as driver:
        child = int(driver.line_after("child"))
        driver.line_after("ready")
        kill(driver.process.pid)
        root = str(driver.root)
        wait_for(
            lambda: set(of_session(root)) <= {child}, f"all but the user's child are gone: {of_session(root)}", 5.0
        )
        kill(child)


@pytest.mark.parametrize("where", ["in get", "in python"])
def test_ctrl_c_ends_the_program_with_keyboard_interrupt(tmp_path: Path, where: str) -> None:
    source = WORK.replace("sys.stdin.readline()", "ray.get(running)" if where == "in get" else "time.sleep(60)", 1)
    with DriverProgram(source, tmp_path / "root") as driver:
        driver.line_after("ready")
        # The terminal sends it to the whole foreground group.
        os.killpg(driver.process.pid, signal.SIGINT)
        driver.end(-signal.SIGINT)
        assert "KeyboardInterrupt" in driver.stderr
        driver.expect_nothing_left()


def test_a_program_that_catches_ctrl_c_goes_on(tmp_path: Path) -> None:
    source = WORK.replace(
        'print("ready", flush=True)\nsys.stdin.readline()',
        'try:\n    print("ready", flush=True)\n    ray.get(running)\nexcept KeyboardInterrupt:\n    print("caught")',
    )
    with DriverProgram(source, tmp_path / "root") as driver:
        driver.line_after("ready")
        os.killpg(driver.process.pid, signal.SIGINT)
        assert [line for line in driver.end() if line != "caught"] == EXPECTED


def test_sigterm_of_the_driver_leaves_nothing(tmp_path: Path) -> None:
    with DriverProgram(WORK, tmp_path / "root") as driver:
        driver.line_after("ready")
        driver.process.terminate()
        driver.read_until(lambda lines: False)
        driver.process.wait(20)
        driver.expect_nothing_left()
