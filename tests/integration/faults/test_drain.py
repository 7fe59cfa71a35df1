"""A node is drained by `ray drain-node`: what runs there finishes, what is new goes elsewhere, and the node leaves."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.integration.conditions import wait_for
from tests.integration.faults.conftest import StartCluster
from tests.integration.faults.gates import Gate
from tests.integration.faults.node_processes import gone

WAIT_S = 40.0
RAY = Path(sys.executable).parent / "ray"


def node_id() -> str:
    return str(ray.get_runtime_context().get_node_id())


@ray.remote
def where(gate: Gate | None = None, name: str = "") -> str:
    if gate is not None:
        gate.come(name)
    return node_id()


@ray.remote
class Settler:
    def node(self) -> str:
        return node_id()


def drain(address: str, node: str, *more: str) -> "subprocess.CompletedProcess[str]":
    arguments = ["--address", address, "--node-id", node, "--reason-message", "the machine is taken away", *more]
    return subprocess.run([str(RAY), "drain-node", *arguments], capture_output=True, text=True, timeout=60, check=False)


def state_of(node: str) -> dict[str, Any]:
    (found,) = [entry for entry in ray.nodes() if entry["NodeID"] == node]
    return found


def test_what_runs_finishes_what_is_new_goes_elsewhere_and_actors_move(
    start_cluster: StartCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = start_cluster({"num_cpus": 2}, ({"num_cpus": 2, "resources": {"leaving": 2}},))
    head = cluster.head_node
    assert head is not None
    monkeypatch.setenv("MANTA_TOKEN_FILE", head.local.token_file)
    (leaving,) = [node for node in cluster.list_all_nodes() if node is not head]
    gate = Gate(tmp_path / "gate")
    running = where.options(resources={"leaving": 1}).remote(gate, "task")
    gate.wait_for("task")
    there = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        leaving.node_id, soft=True, _spill_on_unavailable=True
    )
    settler = Settler.options(max_restarts=1, max_task_retries=-1, scheduling_strategy=there).remote()
    assert ray.get(settler.node.remote(), timeout=WAIT_S) == leaving.node_id

    refused = drain(head.gcs_address, leaving.node_id, "--reason", "DRAIN_NODE_REASON_IDLE_TERMINATION")
    assert refused.returncode == 1 and "is not idle" in refused.stderr
    accepted = drain(head.gcs_address, leaving.node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION")
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr

    assert ray.get(settler.node.remote(), timeout=WAIT_S) == head.node_id
    new = [where.options(scheduling_strategy="SPREAD").remote() for _ in range(20)]
    assert set(ray.get(new, timeout=WAIT_S)) == {head.node_id}
    assert state_of(leaving.node_id)["Alive"], "it waits for its task"
    gate.open()
    assert ray.get(running, timeout=WAIT_S) == leaving.node_id
    wait_for(lambda: not state_of(leaving.node_id)["Alive"], "the node has left", WAIT_S)
    wait_for(lambda: gone(leaving.local.supervisor_pid), "its processes have ended", WAIT_S)


def test_the_deadline_ends_what_does_not_finish(
    start_cluster: StartCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = start_cluster({"num_cpus": 2}, ({"num_cpus": 1, "resources": {"leaving": 1}},))
    head = cluster.head_node
    assert head is not None
    monkeypatch.setenv("MANTA_TOKEN_FILE", head.local.token_file)
    (leaving,) = [node for node in cluster.list_all_nodes() if node is not head]
    gate = Gate(tmp_path / "gate")
    running = where.options(resources={"leaving": 1}, max_retries=0).remote(gate, "task")
    gate.wait_for("task")
    ends = ("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--deadline-remaining-seconds", "1")
    assert drain(head.gcs_address, leaving.node_id, *ends).returncode == 0
    with pytest.raises(ray.exceptions.RayError, match=r"drained|node|stop"):
        ray.get(running, timeout=WAIT_S)
    wait_for(lambda: not state_of(leaving.node_id)["Alive"], "the node has left", WAIT_S)
