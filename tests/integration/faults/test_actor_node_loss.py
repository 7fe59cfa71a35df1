"""An actor whose node died: restarted on another one, detached or not, with callers that wait for it meanwhile."""

from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tests.integration.faults.conftest import StartCluster
from tests.integration.faults.gates import Gate

WAIT_S = 30.0


def node_id() -> str:
    return str(ray.get_runtime_context().get_node_id())


@ray.remote(num_cpus=1)
class Restarted:
    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0

    def come(self, gate: Gate, call: str) -> tuple[str, str, int]:
        self.calls += 1
        gate.come(call)
        return self.name, node_id(), self.calls

    def came_again(self) -> bool:
        return bool(ray.get_runtime_context().was_current_actor_reconstructed)


@ray.remote(num_cpus=0)
class Caller:
    """Another process that waits for the actor."""

    def call(self, actor: Any, gate: Gate, call: str) -> Any:
        return ray.get(actor.come.options(max_task_retries=-1).remote(gate, call))


@pytest.mark.parametrize("lifetime", [None, "detached"])
def test_an_actor_comes_back_on_another_node_and_callers_that_may_wait_do(
    start_cluster: StartCluster, tmp_path: Path, lifetime: str | None
) -> None:
    cluster = start_cluster({"num_cpus": 1}, ({"num_cpus": 1, "resources": {"spare": 1}},))
    doomed = cluster.add_node(num_cpus=3, resources={"doomed": 1})
    there = NodeAffinitySchedulingStrategy(doomed.node_id, soft=True)
    make = Restarted.options(
        lifetime=lifetime, name="kept" if lifetime else None, scheduling_strategy=there, max_restarts=1
    )
    actor = make.remote("patient")
    gate = Gate(tmp_path / "gate")
    # What a call does when its actor's node dies is for the call to say.
    retried = actor.come.options(max_task_retries=1).remote(gate, "retried")
    gate.wait_for("retried")
    unretried = actor.come.remote(gate, "unretried")
    caller = Caller.options(resources={"spare": 0.01}).remote()
    from_elsewhere = caller.call.remote(actor, gate, "from elsewhere")
    # A driver that finds it by its name is one more caller.
    found = ray.get_actor("kept") if lifetime else actor
    behind = found.come.options(max_task_retries=-1).remote(gate, "behind")

    cluster.remove_node(doomed, allow_graceful=False)

    with pytest.raises(ActorUnavailableError):
        ray.get(unretried, timeout=WAIT_S)
    gate.open()
    answers = ray.get([retried, from_elsewhere, behind], timeout=WAIT_S)
    assert {name for name, _, _ in answers} == {"patient"}
    assert {node for _, node, _ in answers}.isdisjoint({doomed.node_id}) and len({node for _, node, _ in answers}) == 1
    # Each ran once in the new process, those of one caller in their order.
    assert sorted(count for _, _, count in answers) == [1, 2, 3]
    assert answers[0][2] < answers[2][2]
    assert ray.get(actor.came_again.remote(), timeout=WAIT_S)
    if lifetime:
        ray.kill(ray.get_actor("kept"))
        with pytest.raises(ActorDiedError):
            ray.get(actor.came_again.remote(), timeout=WAIT_S)


def test_an_actor_that_fits_on_no_other_node_waits_for_one(start_cluster: StartCluster, tmp_path: Path) -> None:
    cluster = start_cluster({"num_cpus": 1})
    doomed = cluster.add_node(num_cpus=2, resources={"only_here": 1})
    actor = Restarted.options(resources={"only_here": 1}, max_restarts=-1, max_task_retries=-1).remote("choosy")
    gate = Gate(tmp_path / "gate")
    running = actor.come.remote(gate, "running")
    gate.wait_for("running")

    cluster.remove_node(doomed, allow_graceful=False)
    cluster.wait_for_nodes(timeout=30)
    assert ray.wait([running], timeout=0.5)[1] == [running]
    other = cluster.add_node(num_cpus=2, resources={"only_here": 1})
    gate.open()
    assert ray.get(running, timeout=WAIT_S)[:2] == ("choosy", other.node_id)
