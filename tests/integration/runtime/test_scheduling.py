"""Where tasks and actors go on a cluster of three nodes, and what is said of those that can go nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.exceptions import ActorUnschedulableError, TaskUnschedulableError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import (
    DoesNotExist,
    Exists,
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
    PlacementGroupSchedulingStrategy,
)
from ray.util.state import list_actors, list_placement_groups, list_tasks

from tests.integration.conditions import wait_for
from tests.integration.runtime.conftest import MIB

NOWHERE = "f" * 56
DEADLINE_S = 60


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """head, b and c: node ids by name. b and c have labels and a resource of their own."""
    root = tmp_path_factory.mktemp("root")
    os.chmod(root, 0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANTA_TMPDIR", str(root))
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 2, "labels": {"zone": "a"}, "object_store_memory": 200 * MIB},
        )
        b = cluster.add_node(num_cpus=2, resources={"b": 1}, labels={"zone": "b"}, object_store_memory=200 * MIB)
        c = cluster.add_node(
            num_cpus=2,
            resources={"c": 1, "accelerator_type:T4": 1},
            labels={"zone": "c", "disk": "ssd"},
            object_store_memory=200 * MIB,
        )
        ray.init(address=cluster.address, log_to_driver=False)
        assert cluster.head_node is not None
        yield {"head": cluster.head_node.node_id, "b": b.node_id, "c": c.node_id}
        ray.shutdown()
        cluster.shutdown()


@ray.remote
def where(*_: Any) -> str:
    return str(ray.get_runtime_context().get_node_id())


@ray.remote
def linger(seconds: float) -> str:
    time.sleep(seconds)
    return str(ray.get_runtime_context().get_node_id())


@ray.remote(num_cpus=0.1)
def make() -> Any:
    return np.ones(3 * MIB, dtype="uint8")


@ray.remote
def hold(begun: str, path: str) -> None:
    Path(begun).touch()
    deadline = time.monotonic() + DEADLINE_S
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.01)


@ray.remote(num_cpus=0.1)
class Actor:
    def where(self) -> str:
        return str(ray.get_runtime_context().get_node_id())


def place(nodes: dict[str, str], **options: Any) -> str:
    """The name of the node where a task with these options runs."""
    node_id = ray.get(where.options(**options).remote(), timeout=DEADLINE_S)
    return next(name for name, known in nodes.items() if known == node_id)


def place_actor(nodes: dict[str, str], **options: Any) -> str:
    node_id = ray.get(Actor.options(**options).remote().where.remote(), timeout=DEADLINE_S)
    return next(name for name, known in nodes.items() if known == node_id)


LABELS = [
    ({"label_selector": {"zone": "c"}}, {"c"}),
    ({"label_selector": {"zone": "in(b, c)"}}, {"b", "c"}),
    ({"label_selector": {"zone": "!in(a, b)"}}, {"c"}),
    ({"label_selector": {"disk": "!ssd", "zone": "!a"}}, {"b"}),
    ({"scheduling_strategy": NodeLabelSchedulingStrategy({"zone": In("b")})}, {"b"}),
    ({"scheduling_strategy": NodeLabelSchedulingStrategy({"zone": NotIn("a", "c")})}, {"b"}),
    ({"scheduling_strategy": NodeLabelSchedulingStrategy({"disk": Exists()})}, {"c"}),
    ({"scheduling_strategy": NodeLabelSchedulingStrategy({"disk": DoesNotExist(), "zone": NotIn("a")})}, {"b"}),
    ({"scheduling_strategy": NodeLabelSchedulingStrategy({}, soft={"disk": Exists()})}, {"c"}),
    ({"scheduling_strategy": NodeLabelSchedulingStrategy({"zone": In("b")}, soft={"disk": Exists()})}, {"b"}),
    ({"scheduling_strategy": "SPREAD", "label_selector": {"zone": "c"}}, {"c"}),
    ({"accelerator_type": "T4"}, {"c"}),
]


# Numbered: what names the values would have to be the same in each process that collects the tests.
@pytest.mark.parametrize(("options", "allowed"), LABELS, ids=[f"labels{number}" for number in range(len(LABELS))])
def test_labels_decide_where_tasks_and_actors_go(
    nodes: dict[str, str], options: dict[str, Any], allowed: set[str]
) -> None:
    assert place(nodes, **options) in allowed
    assert place_actor(nodes, **options) in allowed


def test_a_node_is_chosen_by_the_label_of_its_id(nodes: dict[str, str]) -> None:
    for name, node_id in nodes.items():
        assert place(nodes, label_selector={"ray.io/node-id": node_id}) == name
        strategy = NodeLabelSchedulingStrategy({"ray.io/node-id": In(node_id)})
        assert place_actor(nodes, scheduling_strategy=strategy) == name
    assert {node["NodeID"]: node["Labels"]["ray.io/node-id"] for node in ray.nodes()} == {
        found: found for found in nodes.values()
    }


@pytest.mark.parametrize("name", ["head", "b", "c"])
@pytest.mark.parametrize("soft", [True, False])
def test_an_affinity_is_followed(nodes: dict[str, str], name: str, soft: bool) -> None:
    strategy = NodeAffinitySchedulingStrategy(nodes[name], soft=soft)
    assert place(nodes, scheduling_strategy=strategy) == name
    assert place_actor(nodes, scheduling_strategy=strategy) == name


def test_an_affinity_that_cannot_be_fails_when_hard_and_goes_elsewhere_when_soft(nodes: dict[str, str]) -> None:
    gone = NodeAffinitySchedulingStrategy(NOWHERE, soft=False)
    with pytest.raises(TaskUnschedulableError, match=NOWHERE):
        ray.get(where.options(scheduling_strategy=gone).remote(), timeout=DEADLINE_S)
    with pytest.raises(ActorUnschedulableError, match=NOWHERE):
        ray.get(Actor.options(scheduling_strategy=gone).remote().where.remote(), timeout=DEADLINE_S)
    too_small = NodeAffinitySchedulingStrategy(nodes["b"], soft=False)
    with pytest.raises(TaskUnschedulableError, match="can never hold"):
        ray.get(where.options(num_cpus=3, scheduling_strategy=too_small).remote(), timeout=DEADLINE_S)
    assert place(nodes, scheduling_strategy=NodeAffinitySchedulingStrategy(NOWHERE, soft=True)) in nodes
    soft = NodeAffinitySchedulingStrategy(nodes["b"], soft=True)
    assert place(nodes, resources={"c": 0.1}, scheduling_strategy=soft) == "c"


def test_a_busy_node_is_waited_for_unless_the_affinity_says_otherwise(nodes: dict[str, str], tmp_path: Path) -> None:
    end = tmp_path / "end"
    here = NodeAffinitySchedulingStrategy(nodes["c"], soft=False)
    begun = [tmp_path / "first", tmp_path / "second"]
    holders = [hold.options(scheduling_strategy=here).remote(str(path), str(end)) for path in begun]
    # Not what is free in the cluster: leases that earlier tasks left elsewhere are kept for a moment, as if in use.
    wait_for(lambda: all(path.exists() for path in begun), "both CPUs of c are taken")
    fails = NodeAffinitySchedulingStrategy(nodes["c"], soft=False, _fail_on_unavailable=True)
    with pytest.raises(TaskUnschedulableError, match="no room"):
        ray.get(where.options(scheduling_strategy=fails).remote(), timeout=DEADLINE_S)
    spills = NodeAffinitySchedulingStrategy(nodes["c"], soft=True, _spill_on_unavailable=True)
    assert place(nodes, scheduling_strategy=spills) in ("head", "b")
    waits = where.options(scheduling_strategy=NodeAffinitySchedulingStrategy(nodes["c"], soft=True)).remote()
    assert ray.wait([waits], timeout=0.5)[0] == []
    end.touch()
    assert ray.get(waits, timeout=DEADLINE_S) == nodes["c"]
    ray.get(holders, timeout=DEADLINE_S)


def test_spread_tasks_and_actors_are_on_all_nodes(nodes: dict[str, str]) -> None:
    wait_for(lambda: ray.available_resources().get("CPU") == 6.0, "nothing runs any more")
    tasks = [linger.options(scheduling_strategy="SPREAD").remote(0.5) for _ in range(6)]
    used = Counter(ray.get(tasks, timeout=DEADLINE_S))
    # A raylet's view of the others may be a moment old, so that one of them gets a task less; the simulation is exact.
    assert set(used) == set(nodes.values()) and max(used.values()) <= 3
    # The leases of the tasks are kept for a moment; until then their CPUs look taken.
    wait_for(lambda: ray.available_resources().get("CPU") == 6.0, "the tasks' leases are given back")
    actors = [Actor.options(scheduling_strategy="SPREAD").remote() for _ in range(6)]
    assert Counter(ray.get([actor.where.remote() for actor in actors], timeout=DEADLINE_S)) == dict.fromkeys(
        nodes.values(), 2
    )


@pytest.mark.parametrize("name", ["b", "c"])
def test_a_task_runs_where_its_large_argument_is_and_a_small_one_does_not_count(
    nodes: dict[str, str], name: str
) -> None:
    large = make.options(resources={name: 0.1}).remote()
    ray.wait([large], fetch_local=False)
    # Without CPUs, so that no node is too busy for it.
    assert ray.get(where.options(num_cpus=0).remote(large), timeout=DEADLINE_S) == nodes[name]
    far = where.options(scheduling_strategy=NodeAffinitySchedulingStrategy(nodes["head"], soft=False))
    assert ray.get(far.remote(large), timeout=DEADLINE_S) == nodes["head"], "another strategy goes before"


def test_ray_status_says_why_something_waits(nodes: dict[str, str]) -> None:
    address = str(ray.get_runtime_context().gcs_address)
    task = where.options(resources={"nobody": 1}).remote()
    actor = Actor.options(label_selector={"zone": "nowhere"}).remote()

    def says(*words: str) -> bool:
        command = [str(Path(sys.executable).parent / "ray"), "status", "--address", address]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return all(word in text for word in words)

    wait_for(lambda: says("nobody", "3 have too little nobody"), "the task's shape and why it waits are shown", 20.0)
    wait_for(lambda: says("3 excluded by label zone in nowhere"), "so are the actor's", 20.0)
    group = placement_group([{"CPU": 99}])
    wait_for(lambda: says("{'CPU': 99.0} * 1 (PACK)", "3 have too little CPU"), "and the group's", 20.0)
    in_group = where.options(num_cpus=1, scheduling_strategy=PlacementGroupSchedulingStrategy(group)).remote()
    wait_for(lambda: says("{'CPU': 1.0}: 1+ pending tasks/actors (1+ using placement groups)"), "who wants it", 20.0)

    expected = {
        task.task_id().hex(): "3 have too little nobody",
        actor._actor_id.hex(): "label zone in nowhere",
        group.id.hex(): "3 have too little CPU",
        in_group.task_id().hex(): "no node",
    }

    def tells_all() -> bool:
        pending = [("state", "=", "PENDING_NODE_ASSIGNMENT")]
        found = {row.task_id: row.pending_reason for row in list_tasks(address, filters=pending, detail=True)}
        pending = [("state", "=", "PENDING_CREATION")]
        found |= {row.actor_id: row.pending_reason for row in list_actors(address, filters=pending, detail=True)}
        pending = [("state", "=", "PENDING")]
        for row in list_placement_groups(address, filters=pending, detail=True):
            found[row.placement_group_id] = row.stats["pending_reason"]
        return all(words in (found.get(identity) or "") for identity, words in expected.items())

    wait_for(tells_all, "the state API says the same", 20.0)
    remove_placement_group(group)
    del task, actor


def test_what_bundles_reserve_shows_among_the_resources(nodes: dict[str, str]) -> None:
    group = placement_group([{"CPU": 1}, {"CPU": 0.5, "b": 0.5}])
    assert group.wait(DEADLINE_S)
    name = f"_group_{group.id.hex()}"
    total = ray.cluster_resources()
    assert (total["CPU"], total[f"CPU{name}"], total[f"b{name}"], total[f"b_group_1{name[6:]}"]) == (6.0, 1.5, 0.5, 0.5)
    in_bundle = PlacementGroupSchedulingStrategy(group, 0)
    actor = Actor.options(num_cpus=0.25, scheduling_strategy=in_bundle).remote()
    ray.get(actor.where.remote(), timeout=DEADLINE_S)

    def left() -> tuple[float, float]:
        free = ray.available_resources()
        return free[f"CPU{name}"], free[f"CPU_group_0{name[6:]}"]

    wait_for(lambda: left() == (1.25, 0.75), "what the actor holds is taken from its bundle")
    task = where.options(num_cpus=0.5, scheduling_strategy=in_bundle).remote()
    ray.get(task, timeout=DEADLINE_S)

    def required() -> object:
        only = [("task_id", "=", task.task_id().hex())]
        rows = list_tasks(str(ray.get_runtime_context().gcs_address), filters=only, detail=True)
        return rows[0].required_resources if rows else None

    wait_for(lambda: required() == {f"CPU{name}": 0.5, f"CPU_group_0{name[6:]}": 0.5}, "the task shows what it needed")
    remove_placement_group(group)
    wait_for(lambda: not any("_group_" in key for key in ray.cluster_resources()), "a removed group shows nothing")
