"""Results are lost with their node or their object manager, and computed again from lineage."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray._runtime.current import runtime
from ray.cluster_utils import Cluster
from ray.exceptions import ActorDiedError, ObjectLostError, ObjectReconstructionFailedError

from tests.integration.conditions import wait_for
from tests.integration.faults.conftest import StartCluster
from tests.integration.faults.node_processes import NodeProcesses, metric
from tests.integration.faults.test_drain import drain, state_of

WAIT_S = 40.0
LARGE = 1 << 20
# Nodes that come and go have this; the head has not.
THERE = {"there": 0.01}


class Runs:
    """Counts runs of tasks over all processes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder

    def note(self, name: str) -> None:
        with open(self.folder / name, "a") as file:
            file.write("x")

    def of(self, *names: str) -> list[int]:
        return [(self.folder / name).stat().st_size for name in names]


@ray.remote(resources=THERE, num_cpus=0.1)
def large(runs: Runs, name: str, value: int) -> Any:
    runs.note(name)
    return np.full(LARGE, value, dtype="uint8")


@ray.remote(resources=THERE, num_cpus=0.1)
def plus_one(runs: Runs, name: str, array: Any) -> Any:
    runs.note(name)
    if isinstance(array, list):
        array = ray.get(array[0])
    return array + 1


@ray.remote(resources=THERE, num_cpus=0.1, num_returns=2)
def pair(runs: Runs, name: str, value: int) -> Any:
    runs.note(name)
    return np.full(LARGE, value, dtype="uint8"), np.full(LARGE, value + 1, dtype="uint8")


@ray.remote(resources=THERE, num_cpus=0.1)
def items(runs: Runs, name: str, count: int) -> Iterator[Any]:
    runs.note(name)
    for value in range(count):
        yield np.full(LARGE, value, dtype="uint8")


@ray.remote(num_cpus=0.1)
def first(array: Any) -> int:
    if isinstance(array, list):
        array = ray.get(array[0])
    return int(array[0])


@ray.remote(resources=THERE, num_cpus=0.1)
class Maker:
    def large(self, value: int) -> Any:
        return np.full(LARGE, value, dtype="uint8")


def add_node(cluster: Cluster, **resources: float) -> Any:
    node = cluster.add_node(num_cpus=4, resources={"there": 1, **resources})
    wait_for(lambda: state_of(node.node_id)["Alive"], "this process knows the node")
    return node


def kill_node(cluster: Cluster, node: Any) -> None:
    """As a loss of power would, and wait until the cluster knows."""
    cluster.remove_node(node, allow_graceful=False)
    cluster.wait_for_nodes(timeout=30)


def made(*refs: Any) -> None:
    """Wait until these are computed, and leave them where they are."""
    assert ray.wait(list(refs), num_returns=len(refs), timeout=WAIT_S, fetch_local=False)[1] == []


def value_of(ref: Any) -> int:
    return int(ray.get(ref, timeout=WAIT_S)[-1])


def outcome(ref: Any) -> object:
    try:
        return value_of(ref)
    except Exception as error:  # to be shown by who asked
        return error


def kept() -> dict[bytes, Any]:
    return runtime().recovery.specs  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs")


@pytest.fixture
def cluster(start_cluster: StartCluster) -> Cluster:
    return start_cluster({"num_cpus": 4})


def test_what_a_dead_node_had_is_computed_again_elsewhere(cluster: Cluster, runs: Runs) -> None:
    doomed = add_node(cluster)
    alone = [large.remote(runs, "alone", 1)]
    middle = plus_one.remote(runs, "middle", large.remote(runs, "bottom", 2))
    top = plus_one.remote(runs, "top", middle)
    nested = plus_one.remote(runs, "nested", [large.remote(runs, "inner", 7)])
    left, right = pair.remote(runs, "pair", 10)
    from_put = plus_one.remote(runs, "from_put", ray.put(np.full(LARGE, 20, dtype="uint8")))
    stream = items.remote(runs, "items", 5)
    streamed = [next(stream), next(stream)]
    restarting = Maker.options(max_restarts=1, max_task_retries=1).remote()
    of_actor = restarting.large.remote(30)
    made(*alone, top, nested, left, right, from_put, of_actor, *streamed)
    assert value_of(left) == 10  # this makes a second copy, here
    del middle
    kill_node(cluster, doomed)
    # It is seen to be lost at once, and its task waits for a node.
    wait_for(lambda: ray.wait(alone, timeout=0)[1] == alone, "the loss is noticed")
    add_node(cluster)

    # Many ask at once, here and in a worker that borrowed the ref; `wait` too waits for it.
    asked = [first.remote(alone) for _ in range(3)]
    values: queue.SimpleQueue[object] = queue.SimpleQueue()
    for _ in range(5):
        threading.Thread(target=lambda: values.put(outcome(alone[0])), daemon=True).start()
    assert ray.wait(alone, timeout=WAIT_S)[0] == alone
    assert [values.get(timeout=WAIT_S) for _ in range(5)] == [1] * 5
    assert ray.get(asked, timeout=WAIT_S) == [1] * 3
    assert (value_of(top), value_of(nested), value_of(from_put), value_of(of_actor)) == (4, 8, 21, 30)
    assert [value_of(ref) for ref in streamed] == [0, 1]
    assert [value_of(ref) for ref in stream] == [2, 3, 4]
    assert (value_of(right), value_of(left)) == (11, 10)
    names = ("alone", "bottom", "middle", "top", "inner", "nested", "pair", "from_put", "items")
    assert runs.of(*names) == [2] * len(names)

    alone.clear()
    del top, nested, left, right, from_put, of_actor, stream, streamed, asked
    wait_for(lambda: not kept(), f"nothing is kept for what nobody can ask for, but {len(kept())}")
    referenced = runtime().refs.object_ids  # type: ignore[attr-defined]
    wait_for(lambda: len(referenced()) == 1, f"the actor alone is referenced, but {len(referenced())}")
    head = cluster.head_node
    assert head is not None
    page = head.local.services["gcs"]["metrics"]
    wait_for(lambda: metric(page, "manta_gcs_tasks_reconstructed_total") == 10, "the GCS counts what ran again")
    assert metric(page, "manta_gcs_objects_unrecovered_total") == 0


def test_what_cannot_be_computed_again_says_why(cluster: Cluster, runs: Runs) -> None:
    doomed = add_node(cluster)
    never = large.options(max_retries=0).remote(runs, "never", 1)
    above = plus_one.remote(runs, "above", never)
    once = large.options(max_retries=1).remote(runs, "once", 2)
    mortal = Maker.options(max_task_retries=3).remote()
    of_mortal = mortal.large.remote(3)
    unrepeated = Maker.options(max_restarts=2).remote().large.remote(4)
    made(above, once, of_mortal, unrepeated)
    kill_node(cluster, doomed)
    doomed = add_node(cluster)
    for lost in (never, unrepeated):
        with pytest.raises(ObjectReconstructionFailedError, match=f"{lost.hex()}.*max_task_retries=0"):
            ray.get(lost, timeout=WAIT_S)
    with pytest.raises(ObjectReconstructionFailedError, match=f"{above.hex()}.*{never.hex()}"):
        ray.get(above, timeout=WAIT_S)
    with pytest.raises(ObjectReconstructionFailedError, match=never.hex()):
        ray.get(first.remote(never), timeout=WAIT_S)
    with pytest.raises(ObjectReconstructionFailedError, match=never.hex()):
        ray.get(first.remote([never]), timeout=WAIT_S)
    with pytest.raises(ActorDiedError):
        ray.get(of_mortal, timeout=WAIT_S)
    made(once)
    assert runs.of("never", "above", "once") == [1, 1, 2]
    kill_node(cluster, doomed)
    with pytest.raises(ObjectReconstructionFailedError, match="used its retries"):
        ray.get(once, timeout=WAIT_S)
    assert runs.of("once") == [2]


def test_a_task_on_its_way_gives_way_to_the_one_that_makes_its_argument(cluster: Cluster, runs: Runs) -> None:
    # Both need all of one resource: a task that held it while it waits for the other would wait for ever.
    doomed = add_node(cluster, token=1)

    @ray.remote(resources={"token": 1}, num_cpus=0.1)
    def source() -> Any:
        runs.note("source")
        return np.ones(LARGE, dtype="uint8")

    @ray.remote(resources={"token": 1}, num_cpus=0.1)
    def total(array: Any) -> int:
        runs.note("total")
        return int(array.sum())

    ref = source.remote()
    made(ref)
    with NodeProcesses.of(doomed).frozen("object-manager"):
        # Not on the frozen node, which cannot be asked for what it has.
        elsewhere = total.options(scheduling_strategy=_on(add_node(cluster, token=1).node_id)).remote(ref)
        wait_for(lambda: ray.available_resources().get("token") == 1, "it has begun, and waits for its argument")
        kill_node(cluster, doomed)
    assert ray.get(elsewhere, timeout=WAIT_S) == LARGE
    assert runs.of("source", "total") == [2, 1]


def _on(node_id: str) -> Any:
    return ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node_id, soft=False)


def test_a_node_that_was_drained_takes_nothing_with_it(
    cluster: Cluster, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = cluster.head_node
    assert head is not None
    monkeypatch.setenv("MANTA_TOKEN_FILE", head.local.token_file)
    leaving = add_node(cluster)
    ref = large.remote(runs, "result", 9)
    put_there = ray.get(Owner.options(scheduling_strategy=_on(leaving.node_id)).remote().put.remote(), timeout=WAIT_S)
    made(ref)
    add_node(cluster)
    assert drain(head.gcs_address, leaving.node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION").returncode == 0
    wait_for(lambda: not state_of(leaving.node_id)["Alive"], "the node has left", WAIT_S)
    assert value_of(ref) == 9 and runs.of("result") == [2]
    with pytest.raises(ObjectLostError):
        ray.get(put_there[0], timeout=WAIT_S)


def test_what_a_task_took_is_let_go_with_its_result_whether_it_ran_again_or_not(start_cluster: StartCluster) -> None:
    cluster = start_cluster({"num_cpus": 2})
    assert cluster.head_node is not None

    @ray.remote
    def mixed(small: int, array: Any, nested: list[Any], again: Any) -> Any:
        return array + small + ray.get(nested[0]) + again[0]

    def submit() -> Any:
        array = ray.put(np.ones(LARGE, dtype="uint8"))
        return mixed.remote(ray.put(1), array, [ray.put(1)], array)

    def used() -> list[bytes]:
        return list(runtime().refs.object_ids())  # type: ignore[attr-defined]

    wait_for(lambda: not used(), "nothing is referenced yet")
    once, twice = submit(), submit()
    made(once, twice)
    # The result, and what nothing could make again: an array and a small value.
    wait_for(lambda: len(used()) == 6, f"results and what they are made from stay, and no more: {len(used())}")
    processes = NodeProcesses.of(cluster.head_node)
    # The second run reports as lost what was put, so this time nothing can be made.
    del once
    wait_for(lambda: len(used()) == 3, f"one result stays with what it is made from: {len(used())}")
    old = processes.kill("object-manager")
    processes.wait_for_another("object-manager", old)
    with pytest.raises(ObjectLostError):
        ray.get(twice, timeout=WAIT_S)
    del twice
    wait_for(lambda: not used() and not kept(), f"nothing stays: {used()}")


@ray.remote(num_cpus=0.1, max_restarts=0)
class Owner:
    def put(self) -> list[Any]:
        return [ray.put(np.ones(LARGE, dtype="uint8"))]


def test_the_limit_of_lineage_is_a_setting_and_what_is_beyond_it_says_so(start_cluster: StartCluster) -> None:
    cluster = start_cluster({"num_cpus": 2, "_system_config": {"max_lineage_bytes": 5_000}})
    assert cluster.head_node is not None

    @ray.remote
    def numbered(value: int) -> Any:
        return np.full(LARGE // 4, value, dtype="uint8")

    refs = []
    for value in range(6):  # one after the other, for the first to have ended goes first
        refs.append(numbered.remote(value))
        made(refs[-1])
    processes = NodeProcesses.of(cluster.head_node)
    old = processes.kill("object-manager")
    processes.wait_for_another("object-manager", old)
    assert value_of(refs[-1]) == 5
    with pytest.raises(ObjectReconstructionFailedError, match="max_lineage_bytes"):
        ray.get(refs[0], timeout=WAIT_S)
