"""Detached actors whose driver has gone: they use other nodes, and move there, where nothing of their job was left."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.integration.conditions import wait_for
from tests.integration.lifecycle.processes import of_session

BEGIN = """
import ray
ray.init(namespace="outlived", log_to_driver=False)

@ray.remote
def where():
    return ray.get_runtime_context().get_node_id()

@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Lasting:
    def here(self):
        return ray.get_runtime_context().get_node_id()

    def there(self):
        return ray.get(where.options(resources={"other": 0.1}).remote(), timeout=30)

actor = Lasting.options(name="lasting", lifetime="detached", resources={"home": 0.1}).remote()
print(ray.get(actor.here.remote(), timeout=30))
"""
AGAIN = """
import ray
ray.init(namespace="outlived", log_to_driver=False)
actor = ray.get_actor("lasting")
print(ray.get(actor.METHOD.remote(), timeout=40))
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    monkeypatch.setenv("MANTA_TMPDIR", str(root))
    one = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        yield one
    finally:
        one.shutdown()
    wait_for(lambda: not of_session(str(root)), "all processes are gone")


def drive(cluster: Cluster, program: str) -> str:
    """Run a driver of its own to its end; the last line that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "RAY_ADDRESS": cluster.address},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def test_they_go_on_to_use_other_nodes_and_to_move_there(cluster: Cluster) -> None:
    home = cluster.add_node(num_cpus=1, resources={"home": 1})
    other = cluster.add_node(num_cpus=1, resources={"other": 1})
    assert drive(cluster, BEGIN) == home.node_id
    assert drive(cluster, AGAIN.replace("METHOD", "there")) == other.node_id
    successor = cluster.add_node(num_cpus=1, resources={"home": 1})
    cluster.remove_node(home, allow_graceful=False)
    assert drive(cluster, AGAIN.replace("METHOD", "here")) == successor.node_id
