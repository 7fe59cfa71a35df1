"""What people read of errors: on the driver's stderr, and in the text of what a program of its own gets."""

import re
from pathlib import Path

from tests.integration.runtime.driver_program import DriverProgram

PROGRAM = """
import dataclasses, inspect, os, pathlib, sys, time
import ray

ROOT = pathlib.Path(sys.argv[0]).parent

@dataclasses.dataclass(frozen=True)
class Refused(Exception):
    why: str

@dataclasses.dataclass(slots=True)
class Slotted:
    a: int

def helper():
    return "found me"

@ray.remote
def fails(word):
    raise ValueError("said by " + word)  # this very line

@ray.remote
def passes(value):
    return value

@ray.remote
def nested():
    try:
        ray.get(fails.remote("nested"))
    except ValueError as error:
        raise RuntimeError("around it") from error

@ray.remote
def source():
    return inspect.getsource(helper), Slotted(5)

@ray.remote(max_retries=0)
def dies():
    os._exit(3)

@ray.remote(max_retries=2)
def crashes_once(path):
    if not path.exists():
        path.touch()
        os._exit(3)

@ray.remote(max_retries=2, retry_exceptions=True)
def raises_once(path):
    if not path.exists():
        path.touch()
        raise ValueError("said by raises_once")

@ray.remote
def owns():
    fails.remote("a task of a task")
    has_said("said by a task of a task")

@ray.remote(max_restarts=1, max_task_retries=1)
class Actor:
    def fails(self):
        raise ValueError("said by a method")

    def refuses(self):
        raise Refused("limit")

    def crashes_once(self, path):
        if not path.exists():
            path.touch()
            os._exit(3)
        return "came back"

class NeverMade:
    def __init__(self):
        raise ValueError("said by a constructor")

def has_said(*words):
    deadline = time.monotonic() + 30
    while any(word not in (ROOT / "stderr").read_text() for word in words):
        assert time.monotonic() < deadline, words
        time.sleep(0.05)

def text_of(ref):
    try:
        ray.get(ref, timeout=60)
    except Exception as error:
        return str(error)

ray.init(num_cpus=2, object_store_memory=100 << 20)

text = text_of(fails.remote("a task"))
print("file", str(ROOT / "program.py") in text, "line", "this very line" in text, "name", "ray::fails() (pid=" in text)
text = text_of(nested.remote())
print("nested", text.count("ray::nested() (pid="), text.count("ray::fails() (pid="), "/ray/_" in text)
found, slotted = ray.get(source.remote())
print("source", "found me" in found, "slotted", type(slotted) is Slotted, slotted)

actor = Actor.remote()
try:
    ray.get(actor.refuses.remote())
except Refused as error:
    print("refused", error.why, "ray::Actor.refuses()" in str(error))

def leave_unread():
    unread, taken = fails.remote("an unread task"), fails.remote("an argument")
    waited, got = fails.remote("one that was waited for"), fails.remote("one that was got")
    ray.wait([waited], timeout=60)
    text_of(got)
    text_of(passes.remote(taken))
    call = actor.fails.remote()
    dead = dies.remote()
    cancelled = passes.remote(1)
    ray.cancel(cancelled)
    made = ray.remote(NeverMade).remote()
    has_said("said by a constructor")

leave_unread()
fails.remote("one without a reference")
has_said("said by an unread task", "said by a method", "said by one without a reference", "ray::dies(): A worker died")
ray.get(owns.remote())
ray.get([crashes_once.remote(ROOT / "once"), raises_once.remote(ROOT / "raised")])
print(ray.get(actor.crashes_once.remote(ROOT / "actor")))
address = ray.util.get_node_ip_address()
print("here", ray.get(passes.options(resources={f"node:{address}": 0.01}).remote(1), timeout=60),
      address == ray.nodes()[0]["NodeManagerAddress"])
ray.kill(actor)
text = text_of(actor.fails.remote())
print("killed", "The actor is dead because it was killed by `ray.kill`." in text)
"""


def test_what_a_program_reads_of_its_errors(tmp_path: Path) -> None:
    with DriverProgram(PROGRAM, tmp_path / "root") as driver:
        assert driver.end() == [
            "file True line True name True",
            "nested 2 1 False",
            "source True slotted True Slotted(a=5)",
            "refused limit True",
            "came back",
            "here 1 True",
            "killed True",
        ]
        said = driver.stderr
    # Not those among the last lines of a worker that crashed later, which are further in.
    unhandled = re.findall(
        r"(?m)^(?:\(owns pid=\d+\) )?\d{4}-.* Unhandled error \(suppress with 'RAY_IGNORE_UNHANDLED_ERRORS=1'\): ray::",
        said,
    )
    # A task, one without a reference, a method, a dead worker, and one that a worker owned.
    assert len(unhandled) == 5, said
    for word in ("an unread task", "a method", "one without a reference", "a task of a task"):
        assert f"ValueError: said by {word}" in said, said
    for word in ("one that was waited for", "one that was got", "an argument"):
        assert f"said by {word}" not in said, said
    assert "Exception raised in creation task: The actor died because of an error raised in its creation task," in said
    for name in ("crashes_once", "raises_once"):
        assert f"Task {name} failed. There are 2 retries remaining, so the task will be retried." in said, said
    assert "Task Actor.crashes_once failed. There are 1 retries remaining, so the task will be retried." in said


def test_errors_that_nobody_reads_can_be_left_unsaid(tmp_path: Path) -> None:
    source = """
import ray
ray.init(num_cpus=1, object_store_memory=100 << 20)
@ray.remote
def fails():
    raise ValueError("said by nobody")
ref = fails.remote()
ray.get(ray.remote(lambda: 1).remote())
del ref
ray.get(ray.remote(lambda: 1).remote())
"""
    with DriverProgram(source, tmp_path / "root", RAY_IGNORE_UNHANDLED_ERRORS="1") as driver:
        driver.end()
        assert "said by nobody" not in driver.stderr
