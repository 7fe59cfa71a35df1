"""A node of a cluster dies with all that it has, seen from all sides."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.exceptions import ActorDiedError, NodeDiedError, ObjectLostError, OwnerDiedError

from tests.integration.conditions import wait_for
from tests.integration.faults.conftest import StartCluster
from tests.integration.faults.gates import Gate
from tests.integration.faults.node_processes import NodeProcesses, kill_and_wait, metric

WAIT_S = 25.0
LARGE = 1 << 20
DOOMED = {"doomed": 0.01}


def node_id() -> str:
    return str(ray.get_runtime_context().get_node_id())


@ray.remote
def where(gate: Gate, name: str) -> str:
    gate.come(name)
    return node_id()


@ray.remote
def large(value: int) -> Any:
    return np.full(LARGE, value, dtype="uint8")


@ray.remote
def total(array: Any) -> int:
    return int(array.sum())


@ray.remote
class Keeper:
    """Owns what it puts."""

    def __init__(self, kept: Any = None) -> None:
        self.kept = kept

    def node(self) -> str:
        return node_id()

    def put(self, value: int) -> list[Any]:
        return [ray.put(np.full(LARGE, value, dtype="uint8"))]

    def put_small(self, value: int) -> list[Any]:
        return [ray.put(value)]

    def look(self) -> int:
        return int(ray.get(self.kept[0])[0])

    def wait_at(self, gate: Gate) -> None:
        gate.come("actor")


@pytest.fixture
def cluster(start_cluster: StartCluster) -> Cluster:
    """The head, where this driver is, and a spare node that has room for what must move."""
    return start_cluster({"num_cpus": 2}, ({"num_cpus": 8, "resources": {"spare": 1}},))


def add_doomed(cluster: Cluster) -> Any:
    return cluster.add_node(num_cpus=8, resources={"doomed": 1})


def kill_node(cluster: Cluster, node: Any) -> None:
    """As a loss of power would, and wait until the cluster knows."""
    cluster.remove_node(node, allow_graceful=False)
    cluster.wait_for_nodes(timeout=30)


def test_what_a_node_s_death_ends_and_what_goes_on_elsewhere(cluster: Cluster, tmp_path: Path) -> None:
    doomed = add_doomed(cluster)
    there = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(doomed.node_id, soft=True)
    gate = Gate(tmp_path / "gate")
    retried = [where.options(scheduling_strategy=there).remote(gate, f"retried{n}") for n in range(2)]
    unretried = where.options(resources=DOOMED, max_retries=0).remote(gate, "unretried")
    actor = Keeper.options(resources=DOOMED).remote()
    restarting = Keeper.options(scheduling_strategy=there, max_restarts=1).remote()
    assert ray.get([actor.node.remote(), restarting.node.remote()], timeout=WAIT_S) == [doomed.node_id] * 2
    only_copy = large.options(resources=DOOMED, max_retries=0).remote(1)
    put_there = ray.get(actor.put.remote(2), timeout=WAIT_S)[0]
    small_there = ray.get(actor.put_small.remote(3), timeout=WAIT_S)[0]
    copied = large.options(resources=DOOMED).remote(4)
    assert ray.get(copied, timeout=WAIT_S)[0] == 4  # this makes a second copy, here
    ray.wait([only_copy], timeout=WAIT_S, fetch_local=False)
    call = actor.wait_at.remote(gate)
    gate.wait_for("retried0", "retried1", "unretried", "actor")

    kill_node(cluster, doomed)

    gate.open()
    elsewhere = ray.get(retried, timeout=WAIT_S)
    assert doomed.node_id not in elsewhere
    with pytest.raises(NodeDiedError, match=doomed.node_id):
        ray.get(unretried, timeout=WAIT_S)
    for refs in ([call], [actor.node.remote()]):
        with pytest.raises(ActorDiedError, match=doomed.node_id):
            ray.get(refs, timeout=WAIT_S)
    assert ray.get(restarting.node.options(max_task_retries=1).remote(), timeout=WAIT_S) != doomed.node_id
    with pytest.raises(ObjectLostError):
        ray.get(only_copy, timeout=WAIT_S)
    with pytest.raises(ObjectLostError):
        ray.get(total.remote(only_copy), timeout=WAIT_S)
    for ref in (put_there, small_there):
        with pytest.raises(OwnerDiedError):
            ray.get(ref, timeout=WAIT_S)
    assert ray.get(copied, timeout=WAIT_S)[0] == 4
    assert ray.get(total.options(resources={"spare": 0.01}).remote(copied), timeout=WAIT_S) == 4 * LARGE
    assert ray.get(ray.put(5), timeout=WAIT_S) == 5


def test_a_get_of_an_object_that_comes_from_a_dying_node_ends_with_an_error(cluster: Cluster) -> None:
    doomed = cluster.add_node(num_cpus=1, resources={"doomed": 1}, object_store_memory=400 << 20)

    @ray.remote(resources=DOOMED, max_retries=0)
    def huge() -> Any:
        return np.ones(64 << 20, dtype="uint8")

    refs = [huge.remote() for _ in range(2)]
    ray.wait(refs, num_returns=2, timeout=WAIT_S, fetch_local=False)
    processes = NodeProcesses.of(doomed)
    # A frozen object manager accepts connections and answers nothing: the pull is under way, and stays so.
    with processes.frozen("object-manager"):
        future = refs[0].future()
        through_task = total.options(resources={"spare": 0.01}).remote(refs[1])
        ready, _ = ray.wait([through_task], timeout=0.3)
        assert not ready and not future.done(), future.exception()
        kill_node(cluster, doomed)
    with pytest.raises(ObjectLostError):
        future.result(WAIT_S)
    with pytest.raises(ObjectLostError):
        ray.get(through_task, timeout=WAIT_S)


def test_an_owner_s_death_is_told_to_borrowers_on_other_nodes(cluster: Cluster) -> None:
    owner = Keeper.options(resources={"spare": 0.01}).remote()
    ref, small = ray.get([owner.put.remote(6), owner.put_small.remote(7)], timeout=WAIT_S)
    ref, small = ref[0], small[0]
    assert ray.get(ref, timeout=WAIT_S)[0] == 6
    borrower = Keeper.remote([ref])
    assert ray.get(borrower.look.remote(), timeout=WAIT_S) == 6
    spare = next(node for node in cluster.worker_nodes)
    (worker,) = [pid for pid in NodeProcesses.of(spare).workers() if _owns(pid, owner)]
    kill_and_wait(worker)
    with pytest.raises(ActorDiedError):
        ray.get(owner.node.remote(), timeout=WAIT_S)
    with pytest.raises(OwnerDiedError):
        ray.get(small, timeout=WAIT_S)
    with pytest.raises(OwnerDiedError):
        ray.get(total.remote(ref), timeout=WAIT_S)
    with pytest.raises(OwnerDiedError):
        ray.get(Keeper.remote([small]).look.remote(), timeout=WAIT_S)


def _owns(pid: int, actor: Any) -> bool:
    return bool(pid == ray.get(pid_of(actor), timeout=WAIT_S))


def pid_of(actor: Any) -> Any:
    return actor.__ray_call__.remote(lambda self: __import__("os").getpid())


def test_a_borrower_s_death_frees_what_only_it_held(cluster: Cluster) -> None:
    spare = next(node for node in cluster.worker_nodes)
    arenas = [node.local.services["object-manager"]["metrics"] for node in cluster.list_all_nodes()]

    def used() -> float:
        return sum(metric(arena, "ray_object_store_used_memory") for arena in arenas)

    borrower = Keeper.options(resources={"spare": 0.01}).remote([ray.put(np.ones(LARGE, dtype="uint8"))])
    assert ray.get(borrower.look.remote(), timeout=WAIT_S) == 1
    assert used() >= LARGE  # nobody but the borrower has a reference now
    assert spare.remaining_processes_alive()
    kill_and_wait(ray.get(pid_of(borrower), timeout=WAIT_S))
    wait_for(lambda: used() == 0, f"the arenas are empty, but hold {used():.0f} bytes")


def test_a_raylet_that_was_frozen_comes_back_as_another_node(cluster: Cluster, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    doomed = add_doomed(cluster)
    processes = NodeProcesses.of(doomed)
    retried = where.options(resources={"doomed": 1}).remote(gate, "retried")
    actor = Keeper.options(resources={}, num_cpus=1, scheduling_strategy=_on(doomed.node_id)).remote()
    assert ray.get(actor.node.remote(), timeout=WAIT_S) == doomed.node_id
    gate.wait_for("retried")
    (first,) = gate.pids("retried")
    with processes.frozen("raylet"):
        wait_for(lambda: doomed.node_id not in _alive(), "the node is declared dead")
        with pytest.raises(ActorDiedError):
            ray.get(actor.node.remote(), timeout=WAIT_S)
    wait_for(lambda: len(_alive()) == 3, "a third node is back")
    wait_for(lambda: not _runs(first), "its workers are killed")
    gate.open()
    again = ray.get(retried, timeout=WAIT_S)
    assert again != doomed.node_id and again in _alive()
    assert ray.get(where.options(resources={"doomed": 1}).remote(gate, "more"), timeout=WAIT_S) == again
    reborn = Keeper.options(resources=DOOMED).remote()
    ref = ray.get(reborn.put.remote(8), timeout=WAIT_S)[0]
    assert ray.get(ref, timeout=WAIT_S)[0] == 8
    assert processes.find("raylet") is not None


def _alive() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _on(wanted: str) -> Any:
    return ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(wanted, soft=False)


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
