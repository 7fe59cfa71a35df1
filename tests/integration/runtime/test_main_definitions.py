"""What only a program of its own can show: definitions in __main__, auto-init, environment, leaving early."""

from pathlib import Path

from tests.integration.runtime.driver_program import DriverProgram


def run(source: str, root: Path, code: int = 0, **environment: str) -> list[str]:
    with DriverProgram(source, root, **environment) as driver:
        return driver.end(code)


def test_classes_and_exceptions_of_main_travel(tmp_path: Path) -> None:
    source = """
import ray
from dataclasses import dataclass
from enum import Enum

class Colour(Enum):
    RED = 1

@dataclass(frozen=True)
class Point:
    x: int
    colour: Colour = Colour.RED

class Problem(Exception):
    pass

FACTOR = 3

def helper(x):
    return x * FACTOR

@ray.remote
def move(point):
    if point.x < 0:
        raise Problem("negative")
    return Point(helper(point.x), point.colour)

@ray.remote
class Keeper(dict):
    def keep(self, key, value):
        self[key] = value
        return self

ray.init(num_cpus=2, object_store_memory=100 << 20)
moved = ray.get(move.remote(Point(2)))
print(moved == Point(6), moved.colour is Colour.RED, isinstance(moved, Point))
try:
    ray.get(move.remote(Point(-1)))
except Problem as problem:
    print("problem", isinstance(problem, ray.exceptions.RayTaskError))
FACTOR = 4
@ray.remote
def move(point):
    return Point(helper(point.x))
print(ray.get(move.remote(Point(2))).x)
"""
    lines = run(source, tmp_path / "root")
    assert lines == ["True True True", "problem True", "8"]


def test_the_first_call_connects_by_itself(tmp_path: Path) -> None:
    source = """
import ray
@ray.remote
def f():
    return 1
print(ray.is_initialized())
print(ray.get(f.remote()))
print(ray.is_initialized())
"""
    assert run(source, tmp_path / "root") == ["False", "1", "True"]


def test_fifty_nested_tasks_on_one_cpu(tmp_path: Path) -> None:
    source = """
import ray
ray.init(num_cpus=1, object_store_memory=100 << 20)
@ray.remote
def nest(depth):
    return 0 if depth == 0 else 1 + ray.get(nest.remote(depth - 1))
print(ray.get(nest.remote(50), timeout=50))
"""
    assert run(source, tmp_path / "root") == ["50"]


def test_environment_variables_of_the_runtime_env_are_set(tmp_path: Path) -> None:
    source = """
import os
import ray
ray.init(num_cpus=2, object_store_memory=100 << 20, runtime_env={"env_vars": {"OF_JOB": "job", "BOTH": "job"}})
@ray.remote
def read():
    return os.environ.get("OF_JOB"), os.environ.get("BOTH"), os.environ.get("OF_TASK")
print(ray.get(read.remote()))
print(ray.get(read.options(runtime_env={"env_vars": {"OF_TASK": "task", "BOTH": "task"}}).remote()))
print(ray.get(read.remote()))
"""
    lines = run(source, tmp_path / "root")
    assert lines == ["('job', 'job', None)", "('job', 'task', 'task')", "('job', 'job', None)"]


def test_init_and_shutdown_can_be_repeated(tmp_path: Path) -> None:
    source = """
import threading
import ray
@ray.remote
def f(x):
    return x
before = set(threading.enumerate())
for number in range(3):
    ray.init(num_cpus=1, object_store_memory=100 << 20)
    ref = ray.put(bytes(200_000))
    print(ray.get(f.remote(number)), len(ray.get(ref)), ray.is_initialized())
    ray.shutdown()
    print(ray.is_initialized(), [thread.name for thread in threading.enumerate() if thread not in before])
ray.shutdown()
"""
    lines = run(source, tmp_path / "root")
    assert lines == [line for number in range(3) for line in (f"{number} 200000 True", "False []")]


def test_use_after_shutdown_of_an_old_reference_is_an_error(tmp_path: Path) -> None:
    source = """
import ray
ray.init(num_cpus=1, object_store_memory=100 << 20)
old = ray.put(1)
@ray.remote
class A:
    def f(self):
        return 1
actor = A.remote()
ray.get(actor.f.remote())
ray.shutdown()
ray.init(num_cpus=1, object_store_memory=100 << 20)
try:
    ray.get(old, timeout=10)
except Exception as error:
    print(type(error).__name__)
print(ray.get(ray.put(2)))
for use in (actor.f.remote, lambda: ray.remote(print).remote(actor), lambda: ray.kill(actor)):
    try:
        use()
    except ray.exceptions.ActorHandleNotFoundError as error:
        print("It might be dead or it's from a different cluster" in str(error))
"""
    first, second, *handles = run(source, tmp_path / "root")
    assert first != "GetTimeoutError"
    assert second == "2"
    assert handles == ["True"] * 3


def test_an_exception_in_the_driver_leaves_nothing(tmp_path: Path) -> None:
    source = """
import ray
ray.init(num_cpus=2, object_store_memory=100 << 20)
@ray.remote
class A:
    def f(self):
        return 1
a = A.remote()
print(ray.get(a.f.remote()))
raise RuntimeError("the driver's own")
"""
    with DriverProgram(source, tmp_path / "root") as driver:
        assert driver.end(1) == ["1"]
        assert "the driver's own" in driver.stderr


def test_the_driver_may_leave_while_tasks_run(tmp_path: Path) -> None:
    source = """
import time
import ray
ray.init(num_cpus=2, object_store_memory=100 << 20)
@ray.remote
def sleep():
    time.sleep(60)
refs = [sleep.remote() for _ in range(10)]
ray.wait(refs, timeout=0.2)
print("leaving")
"""
    assert run(source, tmp_path / "root") == ["leaving"]


def test_a_temp_folder_of_two_hundred_bytes_works(tmp_path: Path) -> None:
    folder = tmp_path / "root" / ("d" * (200 - len(str(tmp_path / "root")) - 1))
    source = f"""
import ray
ray.init(num_cpus=1, object_store_memory=100 << 20, _temp_dir={str(folder)!r})
@ray.remote
class A:
    def f(self, x):
        return len(x)
print(ray.get(A.remote().f.remote(bytes(300_000))))
"""
    assert run(source, tmp_path / "root") == ["300000"]
