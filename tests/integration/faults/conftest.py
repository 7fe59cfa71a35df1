import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from tests.integration.conditions import wait_for
from tests.integration.lifecycle.processes import expect_memory_files_within, memory_files, of_session


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temp root of the test's own; afterwards no process, thread or shared memory of it may be left."""
    folder = tmp_path / "root"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("MANTA_TMPDIR", str(folder))
    for name in ("RAY_ADDRESS", "MANTA_TOKEN", "MANTA_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    files, threads = memory_files(), set(threading.enumerate())
    yield folder
    ray.shutdown()
    wait_for(lambda: not of_session(str(folder)), f"all processes are gone, but: {of_session(str(folder))}")
    expect_memory_files_within(files)
    # gRPC's own threads outlive its last channel for a while.
    left = {thread for thread in threading.enumerate() if thread.name.startswith("manta-")} - threads
    assert not left, f"threads are left: {left}"


StartCluster = Callable[..., Cluster]


@pytest.fixture
def start_cluster(root: Path) -> Iterator[StartCluster]:
    """start_cluster(head={...}, nodes=[{...}]): this process is its driver. Its nodes end with the test."""
    clusters: list[Cluster] = []

    def start(head: dict[str, Any] | None = None, nodes: tuple[dict[str, Any], ...] = ()) -> Cluster:
        cluster = Cluster(initialize_head=True, connect=True, head_node_args=head or {})
        clusters.append(cluster)
        for options in nodes:
            cluster.add_node(**options)
        return cluster

    yield start
    for cluster in clusters:
        cluster.shutdown()
