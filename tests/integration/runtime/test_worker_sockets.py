"""The sockets of processes that have ended, however they did, do not stay in the node's folder."""

import os
import signal
import subprocess
import sys
from typing import Any

import ray

from tests.integration.conditions import wait_for

DRIVER = """
import os, signal, sys
import ray
context = ray.init(address=sys.argv[1], log_to_driver=False)
print(ray.get_runtime_context().get_worker_id()[:8], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@ray.remote(num_cpus=0)
class Actor:
    def whereabouts(self) -> tuple[str, int]:
        return ray.get_runtime_context().get_worker_id()[:8], os.getpid()


def names() -> set[str]:
    (node,) = ray.nodes()
    return set(os.listdir(os.path.dirname(node["RayletSocketName"])))


def test_no_socket_of_an_actor_stays_whatever_ended_it(session: Any) -> None:
    actors = [Actor.remote() for _ in range(5)]
    found = ray.get([actor.whereabouts.remote() for actor in actors], timeout=60)
    sockets = {name for name, _ in found}
    assert sockets <= names()
    ray.kill(actors[0])
    os.kill(found[1][1], signal.SIGKILL)
    os.kill(found[2][1], signal.SIGTERM)
    actors[3].__ray_terminate__.remote()
    actors = [actors[4]]
    wait_for(lambda: names() & sockets == {found[4][0]}, "only that of the living actor is left")
    assert ray.get(actors[0].whereabouts.remote(), timeout=60) == found[4]
    del actors
    wait_for(lambda: not names() & sockets, "that of an actor without handles is gone too")


def test_the_socket_of_a_killed_driver_does_not_stay(session: Any) -> None:
    command = [sys.executable, "-c", DRIVER, session.address_info["gcs_address"]]
    driver = subprocess.run(command, capture_output=True, text=True, check=False)
    assert driver.returncode == -signal.SIGKILL, driver.stderr
    name = driver.stdout.strip()
    assert len(name) == 8
    wait_for(lambda: name not in names(), "its socket is gone")
