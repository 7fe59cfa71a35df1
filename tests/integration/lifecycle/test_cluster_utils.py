import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from tests.integration.lifecycle.processes import of_session


@pytest.fixture
def cluster(root: Path) -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster
    cluster.shutdown()
    assert of_session(str(root)) == {}


def test_nodes_come_and_go(cluster: Cluster) -> None:
    assert cluster.head_node is not None
    assert cluster.address == cluster.gcs_address == cluster.head_node.address
    second = cluster.add_node(num_cpus=2, resources={"x": 1}, labels={"zone": "b"}, node_name="second")
    assert cluster.list_all_nodes() == [cluster.head_node, second]
    cluster.wait_for_nodes()
    assert second.session_dir != cluster.head_node.session_dir
    assert os.path.isdir(second.get_logs_dir_path())
    with cluster._tool() as gcs:
        found = {item.info.node_id.hex(): item.info for item in gcs.nodes()}[second.node_id]
    assert found.node_name == "second"
    assert found.labels["zone"] == "b"
    assert found.total.amounts["CPU"] == 20_000
    cluster.remove_node(second)
    assert not second.remaining_processes_alive()
    cluster.wait_for_nodes()
    assert cluster.remaining_processes_alive()
    with pytest.raises(ValueError, match="not a node"):
        cluster.remove_node(second)


def test_a_driver_joins_the_older_of_two_clusters_by_its_address(cluster: Cluster) -> None:
    newer = Cluster(initialize_head=True)
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        assert [node["NodeID"] for node in ray.nodes()] == [cluster.list_all_nodes()[0].node_id]
    finally:
        ray.shutdown()
        newer.shutdown()


def test_a_node_can_be_killed_without_a_goodbye(cluster: Cluster) -> None:
    second = cluster.add_node()
    cluster.remove_node(second, allow_graceful=False)
    assert not second.remaining_processes_alive()
    cluster.wait_for_nodes(timeout=20)


def test_a_killed_raylet_takes_its_node_along(cluster: Cluster) -> None:
    second = cluster.add_node()
    second.kill_raylet()
    assert second.local.wait(10)
    assert not cluster.remaining_processes_alive()
    cluster.remove_node(second)
    cluster.wait_for_nodes(timeout=20)


def test_an_unknown_argument_is_refused_by_name(cluster: Cluster) -> None:
    with pytest.raises(TypeError, match="num_cpu'"):
        cluster.add_node(num_cpu=1)


def test_connecting_needs_a_head(root: Path) -> None:
    with pytest.raises(RuntimeError, match="initialize_head"):
        Cluster(connect=True)


def test_a_connected_cluster_runs_tasks_on_its_nodes(root: Path) -> None:
    import ray

    cluster = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1, resources={"there": 1})

        @ray.remote(resources={"there": 1})
        def where() -> str:
            return str(ray.get_runtime_context().get_node_id())

        assert ray.get(where.remote(), timeout=60) == second.node_id
        assert "MANTA_TOKEN_FILE" not in os.environ
    finally:
        cluster.shutdown()
    assert not ray.is_initialized()
