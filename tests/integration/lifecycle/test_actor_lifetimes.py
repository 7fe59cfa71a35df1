"""Names, namespaces and lifetimes of actors, as two drivers of one cluster see them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from tests.integration.conditions import wait_for

PRELUDE = """
import json, os, time
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError

@ray.remote(num_cpus=0)
class Counter:
    def __init__(self, value=0):
        self.value = value

    def add(self):
        self.value += 1
        return self.value

    def pid(self):
        return os.getpid()

    def make_child(self):
        self.child = Counter.remote(100)
        return ray.get(self.child.pid.remote())

    def ask_child(self):
        return ray.get(self.child.add.remote())

def refused(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except Exception as error:
        return type(error).__name__
    return "nothing"

"""
# What a driver's end may take until its actors are gone.
GONE_S = 10.0
Drive = Callable[[str], Any]


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drive]:
    """drive(program): run it as a driver of its own; the JSON that it printed last."""
    root = tmp_path_factory.mktemp("root")
    os.chmod(root, 0o700)
    before = os.environ.get("MANTA_TMPDIR")
    os.environ["MANTA_TMPDIR"] = str(root)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4})
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}

    def run(program: str) -> Any:
        finished = subprocess.run(
            [sys.executable, "-c", PRELUDE + program],
            env={**environment, "RAY_ADDRESS": cluster.address},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout.splitlines()[-1])

    yield run
    cluster.shutdown()
    if before is None:
        del os.environ["MANTA_TMPDIR"]
    else:
        os.environ["MANTA_TMPDIR"] = before


def running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_detached_actor_outlives_its_driver_and_others_go_with_theirs(drive: Drive) -> None:
    detached, child, plain, lost = drive("""
ray.init(namespace="lives", log_to_driver=False)
detached = Counter.options(name="detached", lifetime="detached").remote()
plain = Counter.options(name="plain").remote()
unnamed = Counter.options(lifetime="detached").remote()
ray.get(detached.add.remote())
print(json.dumps([ray.get(a) for a in (detached.pid.remote(), detached.make_child.remote(), plain.pid.remote(),
                                       unnamed.pid.remote())]))
""")
    wait_for(lambda: not running(plain), "the actor that is not detached has gone", GONE_S)
    assert running(detached) and running(child) and running(lost)
    assert drive("""
ray.init(namespace="lives", log_to_driver=False)
found = ray.get_actor("detached")
print(json.dumps([ray.get(found.add.remote()), ray.get(found.ask_child.remote()), refused(ray.get_actor, "plain"),
                  ray.util.list_named_actors()]))
""") == [2, 101, "ValueError", ["detached"]]
    assert (
        drive("""
ray.init(namespace="lives", log_to_driver=False)
found = ray.get_actor("detached")
ray.kill(found)
print(json.dumps(refused(lambda: ray.get(found.add.remote()))))
""")
        == "ActorDiedError"
    )
    wait_for(lambda: not running(detached) and not running(child), "what the detached actor made went with it", GONE_S)


def test_a_job_may_have_its_actors_detached_by_default_and_so_those_that_they_make(drive: Drive) -> None:
    detached, child, plain = drive("""
from ray.job_config import JobConfig
job = JobConfig(default_actor_lifetime="detached")
ray.init(namespace="by default", log_to_driver=False, job_config=job)
detached, plain = Counter.remote(), Counter.options(lifetime="non_detached").remote()
print(json.dumps([ray.get(a) for a in (detached.pid.remote(), detached.make_child.remote(), plain.pid.remote())]))
""")
    wait_for(lambda: not running(plain), "the one that said otherwise has gone", GONE_S)
    assert running(detached) and running(child)
    alive = drive("""
ray.init(log_to_driver=False)
from ray.util.state import list_actors
print(json.dumps({actor.pid: actor.is_detached for actor in list_actors(detail=True) if actor.state == "ALIVE"}))
""")
    assert alive[str(detached)] and alive[str(child)], "it needs its parent as little as its job"


def test_a_name_is_taken_in_its_namespace_alone_until_its_actor_is_dead(drive: Drive) -> None:
    assert drive("""
ray.init(namespace="one", log_to_driver=False)
first = Counter.options(name="same", lifetime="detached").remote(10)
other = Counter.options(name="same", namespace="two", lifetime="detached").remote(20)
again = Counter.options(name="same", get_if_exists=True).remote(30)
print(json.dumps([ray.get(again.add.remote()), ray.get(other.add.remote()), again == first, first == other,
                  refused(Counter.options(name="same").remote)]))
""") == [11, 21, True, False, "ActorAlreadyExistsError"]
    assert drive("""
ray.init(namespace="two", log_to_driver=False)
everywhere = [item for item in ray.util.list_named_actors(all_namespaces=True) if item["name"] == "same"]
ray.kill(ray.get_actor("same"))
ray.kill(ray.get_actor("same", namespace="one"))
deadline = time.monotonic() + 20
while ray.util.list_named_actors() and time.monotonic() < deadline:
    time.sleep(0.01)
successor = Counter.options(name="same").remote(40)
print(json.dumps([sorted(item["namespace"] for item in everywhere), ray.get(successor.add.remote())]))
""") == [["one", "two"], 41]


def test_a_driver_without_a_namespace_has_one_of_its_own(drive: Drive) -> None:
    program = """
ray.init(log_to_driver=False)
here = Counter.options(name="mine").remote()
ray.get(here.add.remote())
print(json.dumps([ray.get_runtime_context().namespace, ray.util.list_named_actors()]))
"""
    first, second = drive(program), drive(program)
    assert first[1] == second[1] == ["mine"] and first[0] != second[0]


def test_a_detached_actor_restarts_after_its_driver_has_gone(drive: Drive) -> None:
    drive("""
ray.init(namespace="later", log_to_driver=False)
actor = Counter.options(name="phoenix", lifetime="detached", max_restarts=-1, max_task_retries=-1).remote(7)
print(json.dumps(ray.get(actor.add.remote())))
""")
    assert drive("""
import signal
ray.init(namespace="later", log_to_driver=False)
actor = ray.get_actor("phoenix")
before = ray.get(actor.pid.remote())
os.kill(before, signal.SIGKILL)
after = ray.get(actor.pid.remote())
print(json.dumps([before != after, ray.get(actor.add.remote())]))
ray.kill(actor)
""") == [True, 8]


def test_a_detached_actor_keeps_large_arguments_after_its_driver_has_gone(drive: Drive) -> None:
    assert drive("""
import numpy as np
ray.init(namespace="later", log_to_driver=False)
@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Total:
    def __init__(self, *parts, last):
        self.total = int(sum(part.sum() for part in parts) + last.sum())
    def get(self):
        return self.total, os.getpid()
ones = np.ones(1_000_000, dtype=np.uint8)
by_value = Total.options(name="by value", lifetime="detached").remote(ones, ones, last=ones[:10])
by_reference = Total.options(name="by reference", lifetime="detached").remote(ones[:20], last=ray.put(ones))
print(json.dumps([ray.get(actor.get.remote())[0] for actor in (by_value, by_reference)]))
""") == [2_000_010, 1_000_020]
    assert drive("""
import signal
ray.init(namespace="later", log_to_driver=False)
totals = []
for name in ("by value", "by reference"):
    actor = ray.get_actor(name)
    before = ray.get(actor.get.remote())[1]
    os.kill(before, signal.SIGKILL)
    total, after = ray.get(actor.get.remote())
    assert after != before
    totals.append(total)
    ray.kill(actor)
print(json.dumps(totals))
""") == [2_000_010, 1_000_020]
