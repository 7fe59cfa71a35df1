"""Several nodes: tasks, actors and objects on another node, and a node that dies."""

import asyncio
import os
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tests.integration.conditions import wait_for
from tests.integration.faults.gates import Gate
from tests.integration.lifecycle.processes import expect_memory_files_within, memory_files, of_session
from tests.integration.runtime.conftest import MIB


@pytest.fixture(scope="module")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    root = tmp_path_factory.mktemp("root")
    os.chmod(root, 0o700)
    files = memory_files()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANTA_TMPDIR", str(root))
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 2, "resources": {"a": 10}, "object_store_memory": 300 * MIB},
        )
        cluster.add_node(num_cpus=2, resources={"x": 10}, object_store_memory=300 * MIB)
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
        ray.shutdown()
        cluster.shutdown()
    wait_for(lambda: not of_session(str(root)), f"no process is left, but: {of_session(str(root))}", 5.0)
    expect_memory_files_within(files)


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    return _cluster


@pytest.fixture
def third(cluster: Cluster) -> Iterator[Any]:
    """A node with the resource y, for a test that ends it."""
    node = cluster.add_node(num_cpus=1, resources={"y": 10}, object_store_memory=150 * MIB)
    wait_for(lambda: "y" in ray.cluster_resources(), "the driver knows the node")
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)
    wait_for(lambda: "y" not in ray.cluster_resources(), "the driver knows that it has gone")


@ray.remote(num_cpus=0.1)
def node_id() -> str:
    return str(ray.get_runtime_context().get_node_id())


@ray.remote(num_cpus=0.1)
def make(mebibytes: int, value: int = 1) -> Any:
    return np.full(mebibytes * MIB, value, dtype="uint8")


@ray.remote(num_cpus=0.1)
def total(array: Any) -> int:
    return int(array.sum(dtype="int64"))


@ray.remote(num_cpus=0.1)
class Counter:
    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> int:
        self.value += amount
        return self.value

    def node(self) -> str:
        return str(ray.get_runtime_context().get_node_id())

    def size(self, array: Any) -> int:
        return int(array.nbytes)

    def make(self, mebibytes: int) -> Any:
        return np.ones(mebibytes * MIB, dtype="uint8")


X = {"resources": {"x": 1}}
A = {"resources": {"a": 1}}
Y = {"resources": {"y": 1}}


def test_the_driver_sees_both_nodes(cluster: Cluster) -> None:
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    assert alive == {node.node_id for node in cluster.list_all_nodes()}
    assert ray.cluster_resources()["CPU"] == 4.0
    assert ray.get_runtime_context().get_node_id() == cluster.head_node.node_id  # type: ignore[union-attr]


def test_tasks_run_where_their_resources_are(cluster: Cluster) -> None:
    (other,) = cluster.worker_nodes
    assert ray.get(node_id.options(**X).remote(), timeout=30) == other.node_id
    assert ray.get(node_id.options(**A).remote(), timeout=30) == cluster.head_node.node_id  # type: ignore[union-attr]


def test_more_tasks_than_one_node_holds_run_on_both(cluster: Cluster, tmp_path: Path) -> None:
    # Four tasks of one CPU wait for each other, and each node has two.
    @ray.remote(num_cpus=1)
    def meet(folder: str, number: int) -> str:
        Path(folder, str(number)).touch()
        deadline = time.monotonic() + 30
        while len(os.listdir(folder)) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        return str(ray.get_runtime_context().get_node_id()) if len(os.listdir(folder)) == 4 else "alone"

    places = ray.get([meet.remote(str(tmp_path), number) for number in range(4)], timeout=60)
    assert set(places) == {node.node_id for node in cluster.list_all_nodes()}


def test_small_results_and_errors_come_from_another_node(cluster: Cluster) -> None:
    @ray.remote(num_cpus=0.1)
    def fail() -> None:
        raise KeyError("far away")

    @ray.remote(num_cpus=0.1)
    def echo(value: Any) -> Any:
        return value

    far = echo.options(**X)
    assert ray.get([far.remote(number) for number in range(200)], timeout=30) == list(range(200))
    with pytest.raises(KeyError, match="far away"):
        ray.get(fail.options(**X).remote(), timeout=30)


def test_a_large_result_of_another_node_is_brought_here(cluster: Cluster) -> None:
    ref = make.options(**X).remote(64, 7)
    array = ray.get(ref, timeout=60)
    assert array.nbytes == 64 * MIB and (array == 7).all()
    assert not array.flags.writeable


def test_large_arguments_go_to_the_node_of_the_task_and_results_stay_there(cluster: Cluster) -> None:
    ref = ray.put(np.full(32 * MIB, 3, dtype="uint8"))
    assert ray.get(total.options(**X).remote(ref), timeout=60) == 3 * 32 * MIB
    there = make.options(**X).remote(32, 2)
    assert ray.get(total.options(**X).remote(there), timeout=60) == 2 * 32 * MIB
    assert ray.get(total.options(**A).remote(there), timeout=60) == 2 * 32 * MIB


def test_nested_references_are_fetched_across_nodes(cluster: Cluster) -> None:
    @ray.remote(num_cpus=0.1)
    def read(refs: list[Any]) -> list[int]:
        return [int(array[0]) for array in ray.get(refs)]

    refs = [ray.put(np.full(MIB, number, dtype="uint8")) for number in range(5)] + [ray.put([9])]
    assert ray.get(read.options(**X).remote(refs), timeout=60) == [0, 1, 2, 3, 4, 9]


def test_references_made_on_another_node_outlive_their_task(cluster: Cluster) -> None:
    @ray.remote(num_cpus=0.1)
    def give() -> Any:
        return [ray.put(np.full(MIB, 5, dtype="uint8")), ray.put("small")]

    large, small = ray.get(give.options(**X).remote(), timeout=30)
    assert ray.get(large, timeout=30)[0] == 5
    assert ray.get(small, timeout=30) == "small"


def test_wait_without_fetching_leaves_the_object_where_it_is(cluster: Cluster) -> None:
    from ray._runtime.current import runtime

    def here() -> int:
        return int(runtime().arena.describe().used)  # type: ignore[attr-defined]

    wait_for(lambda: here() < MIB, "nothing of earlier tests is here")
    ref = make.options(**X).remote(20)
    assert ray.wait([ref], timeout=30, fetch_local=False) == ([ref], [])
    assert here() < MIB
    assert ray.wait([ref], timeout=30) == ([ref], [])
    assert here() >= 20 * MIB


def test_an_object_counts_for_wait_once_it_is_on_this_node(cluster: Cluster) -> None:
    from ray._runtime.current import runtime

    @ray.remote(num_cpus=0.1, **X)
    def there(size: int) -> Any:
        return np.ones(size, dtype="uint8")

    def is_here(ref: Any) -> bool:
        described = runtime().arena.describe(with_objects=True)  # type: ignore[attr-defined]
        return any(one.object_id == ref._id and one.sealed for one in described.objects)

    away = [there.remote(20 * MIB) for _ in range(3)]
    ray.wait(away, num_returns=3, timeout=30, fetch_local=False)
    here = ray.put(np.ones(MIB, dtype="uint8"))
    assert ray.wait([*away, here], timeout=0)[0] == [here]
    ready, rest = ray.wait([*away, here], num_returns=4, timeout=30)
    assert ready == [*away, here] and not rest and all(map(is_here, away))
    late = there.remote(5 * MIB)
    assert ray.wait([late], timeout=30) == ([late], []) and is_here(late)


def test_a_get_of_what_is_here_lends_no_cpu_even_if_another_process_owns_it(cluster: Cluster) -> None:
    @ray.remote(num_cpus=0.1, resources={"a": 0.1})
    def lent(refs: list[Any]) -> list[bool]:
        from ray._runtime.current import runtime
        from ray._runtime.objects import fetching

        executor, told = runtime().executor, list[bool]()  # type: ignore[attr-defined]
        before, tell = fetching.TAKE_OVER_S, executor.tell_blocked
        # However busy the machine is, the answer comes within that time.
        fetching.TAKE_OVER_S = 30.0  # type: ignore[misc]
        executor.tell_blocked = lambda execution, blocked: told.append(blocked) or tell(execution, blocked)
        try:
            assert len(ray.get(refs[0])) == MIB
            assert [len(one) for one in ray.get(refs[1:])] == [MIB, 1]
            assert ray.wait(refs, num_returns=3)[0] == refs
        finally:
            fetching.TAKE_OVER_S = before  # type: ignore[misc]
            executor.tell_blocked = tell
        return told

    refs = [ray.put(np.ones(MIB, dtype="uint8")), ray.put(np.ones(MIB, dtype="uint8")), ray.put("s")]
    assert ray.get(lent.remote(refs), timeout=60) == []


def test_an_actor_on_another_node_answers_in_order(cluster: Cluster) -> None:
    (other,) = cluster.worker_nodes
    counter = Counter.options(**X).remote()
    assert ray.get(counter.node.remote(), timeout=30) == other.node_id
    assert ray.get([counter.add.remote() for _ in range(300)], timeout=30) == list(range(1, 301))
    assert ray.get(counter.size.remote(np.zeros(5 * MIB)), timeout=30) == 40 * MIB
    assert ray.get(counter.make.remote(10), timeout=30).nbytes == 10 * MIB


def test_actors_and_tasks_of_different_nodes_call_each_other(cluster: Cluster) -> None:
    counter = Counter.options(**A).remote()

    @ray.remote(num_cpus=0.1)
    def use(counter: Any) -> Any:
        return ray.get([counter.add.remote() for _ in range(20)])[-1]

    ray.get([use.options(**X).remote(counter), use.options(**A).remote(counter)], timeout=30)
    assert ray.get(counter.add.remote(0), timeout=30) == 40


def test_an_object_is_freed_on_every_node(cluster: Cluster) -> None:
    from ray._runtime.current import runtime

    @ray.remote(num_cpus=0.1, **X)
    def used_there() -> int:
        return int(runtime().arena.describe().used)  # type: ignore[attr-defined]

    @ray.remote(num_cpus=0.1, **X)
    def nothing(array: Any) -> None: ...

    wait_for(lambda: ray.get(used_there.remote(), timeout=30) < MIB, "nothing of earlier tests is there")
    ref = ray.put(np.zeros(20 * MIB, dtype="uint8"))
    ray.get(nothing.remote(ref), timeout=30)
    assert ray.get(used_there.remote(), timeout=30) >= 20 * MIB
    del ref
    wait_for(lambda: ray.get(used_there.remote(), timeout=30) < MIB, "its copy is gone")
    wait_for(lambda: runtime().arena.describe().used < MIB, "and the original")  # type: ignore[attr-defined]


def test_a_task_waits_for_a_node_with_its_resources(cluster: Cluster) -> None:
    ref = node_id.options(resources={"z": 1}).remote()
    assert ray.wait([ref], timeout=0.3) == ([], [ref])
    node = cluster.add_node(num_cpus=1, resources={"z": 1}, object_store_memory=100 * MIB)
    try:
        assert ray.get(ref, timeout=30) == node.node_id
    finally:
        cluster.remove_node(node)


def test_a_task_on_a_killed_node_is_retried_or_fails(cluster: Cluster, third: Any, tmp_path: Path) -> None:
    started = tmp_path / "started"

    @ray.remote(num_cpus=0.1)
    def hang_first(path: str) -> str:
        if not os.path.exists(path):
            Path(path).touch()
            time.sleep(100)
        return "again"

    class_y = hang_first.options(max_retries=0, **Y)
    fails = class_y.remote(str(started))
    wait_for(started.exists, "it runs on the third node")
    cluster.remove_node(third, allow_graceful=False)
    with pytest.raises((ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError)):
        ray.get(fails, timeout=30)


def test_an_actor_on_a_killed_node_is_dead(cluster: Cluster, third: Any) -> None:
    counter = Counter.options(**Y).remote()
    assert ray.get(counter.add.remote(), timeout=30) == 1
    cluster.remove_node(third, allow_graceful=False)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(counter.add.remote(), timeout=30)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(counter.add.remote(), timeout=30)


@ray.remote(num_cpus=0, max_restarts=1, max_task_retries=-1)
class Slow:
    """Its constructor never returns on the node that is to go."""

    def __init__(self, unwanted: str, gate: Gate) -> None:
        if ray.get_runtime_context().get_node_id() == unwanted:
            gate.come("there")  # and waits until the process ends

    def node(self) -> str:
        return str(ray.get_runtime_context().get_node_id())


@pytest.mark.parametrize("allow_graceful", [True, False])
def test_actors_that_were_starting_on_a_node_that_goes_start_elsewhere(
    cluster: Cluster, third: Any, tmp_path: Path, allow_graceful: bool
) -> None:
    gate = Gate(tmp_path)
    there = NodeAffinitySchedulingStrategy(third.node_id, soft=True)
    begun = [Slow.options(scheduling_strategy=there).remote(third.node_id, gate) for _ in range(3)]
    wait_for(lambda: len(gate.pids("there")) == 3, "their constructors run")
    more = [Slow.options(scheduling_strategy=there).remote(third.node_id, gate) for _ in range(3)]
    calls = [actor.node.remote() for actor in [*begun, *more]]
    cluster.remove_node(third, allow_graceful=allow_graceful)
    assert third.node_id not in ray.get(calls, timeout=60)


def test_an_object_put_on_a_killed_node_is_lost_with_an_error(cluster: Cluster, third: Any) -> None:
    counter = Counter.options(**Y).remote()
    ref = counter.make.remote(5)
    ray.wait([ref], timeout=30, fetch_local=False)
    cluster.remove_node(third, allow_graceful=False)
    with pytest.raises((ray.exceptions.ObjectLostError, ray.exceptions.RayActorError)):
        ray.get(ref, timeout=30)


def test_the_rest_goes_on_after_a_node_died(cluster: Cluster, third: Any) -> None:
    cluster.remove_node(third, allow_graceful=False)
    wait_for(lambda: sum(node["Alive"] for node in ray.nodes()) == 2, "the node counts as dead")
    assert ray.get(total.options(**X).remote(ray.put(np.ones(MIB, dtype="uint8"))), timeout=30) == MIB
    assert ray.get(Counter.options(**X).remote().add.remote(), timeout=30) == 1


def test_a_pool_uses_all_nodes(cluster: Cluster) -> None:
    from ray.util.multiprocessing import Pool

    with Pool() as pool:
        homes = pool.map(lambda _: ray.get_runtime_context().get_node_id(), range(8), chunksize=1)
    assert set(homes) == {node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}


def test_a_generator_on_another_node_streams_small_and_large_items(cluster: Cluster) -> None:
    @ray.remote(resources={"x": 1}, _generator_backpressure_num_objects=4)
    def there() -> Iterator[Any]:
        for i in range(12):
            yield (i, ray.get_runtime_context().get_node_id())
            yield np.full(MIB, i, dtype="uint8")

    items = [ray.get(ref, timeout=30) for ref in there.remote()]
    assert [i for i, _ in items[::2]] == list(range(12))
    assert [int(array[-1]) for array in items[1::2]] == list(range(12))
    assert items[0][1] != ray.get_runtime_context().get_node_id()


def test_items_on_another_node_are_brought_ahead_of_their_reader_and_freed_on_both(cluster: Cluster) -> None:
    from ray._runtime.current import runtime

    def here() -> int:
        return int(runtime().arena.describe().used)  # type: ignore[attr-defined]

    @ray.remote(num_cpus=0.1, **X)
    def there() -> int:
        return int(runtime().arena.describe().used)  # type: ignore[attr-defined]

    @ray.remote(resources={"x": 1})
    def arrays() -> Iterator[Any]:
        for i in range(8):
            yield np.full(5 * MIB, i, dtype="uint8")

    wait_for(lambda: here() < MIB and ray.get(there.remote(), timeout=30) < MIB, "nothing of earlier tests is left")
    items = arrays.remote()
    ray.get(items.completed(), timeout=30)
    ref = next(items)
    assert ray.get(ref, timeout=30)[0] == 0
    wait_for(lambda: here() >= 25 * MIB, "four others came without being asked for")
    assert here() < 40 * MIB
    del ref, items
    wait_for(lambda: here() < MIB, "the copies of those that nobody read are gone")
    wait_for(lambda: ray.get(there.remote(), timeout=30) < MIB, "and the originals")


def test_copies_of_items_that_arrive_ahead_after_their_generator_was_dropped_are_freed(cluster: Cluster) -> None:
    from ray._runtime.current import runtime

    def here() -> int:
        return int(runtime().arena.describe().used)  # type: ignore[attr-defined]

    @ray.remote(resources={"x": 1})
    def arrays() -> Iterator[Any]:
        for i in range(6):
            yield np.full(2 * MIB, i, dtype="uint8")

    for _ in range(10):
        items = arrays.remote()
        ray.get(items.completed(), timeout=30)
        ref = next(items)
        ray.get(ref, timeout=30)
        del items, ref
    wait_for(lambda: here() < MIB, "nothing is left of items that nobody refers to")


def test_a_generator_whose_node_dies_goes_on_elsewhere(cluster: Cluster, tmp_path: Path) -> None:
    @ray.remote(max_retries=1, num_cpus=0.1, resources={"z": 1})
    def roaming(path: str) -> Iterator[Any]:
        for i in range(6):
            if i == 3:
                wait_for(lambda: os.path.exists(path), path)
            yield (i, ray.get_runtime_context().get_node_id(), os.getpid())

    home = cluster.add_node(num_cpus=1, resources={"z": 1}, object_store_memory=150 * MIB)
    generator = roaming.remote(str(tmp_path / "go"))
    items = [ray.get(next(generator), timeout=30) for _ in range(3)]
    successor = cluster.add_node(num_cpus=1, resources={"z": 1}, object_store_memory=150 * MIB)
    try:
        cluster.remove_node(home, allow_graceful=False)
        worker = Path(f"/proc/{items[0][2]}")
        wait_for(lambda: not worker.exists(), "the generator's process has gone with its raylet")
        (tmp_path / "go").touch()
        items += [ray.get(ref, timeout=60) for ref in generator]
    finally:
        cluster.remove_node(successor)
    assert [i for i, _, _ in items] == [0, 1, 2, 3, 4, 5]
    assert len({node for _, node, _ in items}) == 2


def test_dropped_items_are_made_again_for_the_tasks_that_took_them(cluster: Cluster, third: Any) -> None:
    @ray.remote(num_cpus=0.1, resources={"y": 1})
    def arrays() -> Iterator[Any]:
        for i in range(3):
            yield np.full(MIB, i + 1, dtype="uint8")

    @ray.remote(num_cpus=0.1, resources={"y": 1})
    def twice(array: Any) -> Any:
        return array * 2

    items = arrays.remote()
    doubles = [twice.remote(ref) for ref in items]
    del items
    ray.wait(doubles, num_returns=3, timeout=30, fetch_local=False)
    cluster.remove_node(third, allow_graceful=False)
    successor = cluster.add_node(num_cpus=1, resources={"y": 10}, object_store_memory=150 * MIB)
    try:
        assert [int(ray.get(double, timeout=60)[-1]) for double in doubles] == [2, 4, 6]
    finally:
        cluster.remove_node(successor)


@ray.remote(num_cpus=0, resources={"x": 0.1}, max_retries=3)
def hold(path: str) -> None:
    Path(path).write_text("held")
    time.sleep(60)


def test_a_cancel_reaches_a_task_on_another_node_and_its_children(cluster: Cluster, tmp_path: Path) -> None:
    @ray.remote(num_cpus=0.1)
    def parent(path: str) -> None:
        ray.get(hold.remote(path))

    for task in (hold, parent):
        path = tmp_path / task.__name__
        ref = task.remote(str(path))
        wait_for(path.exists, "it runs there")
        ray.cancel(ref)
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(ref, timeout=20)
    wait_for(lambda: ray.available_resources().get("x") == 10, "nothing runs there any more")


def test_async_and_threaded_actors_on_another_node_answer_and_are_cancelled(cluster: Cluster, tmp_path: Path) -> None:
    class Sync:
        def work(self, value: int, gate: Gate | None = None) -> int:
            if gate is not None:
                gate.come(value)
            return value

    class Async:
        async def work(self, value: int, gate: Gate | None = None) -> int:
            if gate is not None:
                await asyncio.sleep(60)
            return value

    for cls, options in ((Sync, {"max_concurrency": 3}), (Async, {})):
        actor = ray.remote(num_cpus=0, resources={"x": 0.1}, **options)(cls).remote()
        assert ray.get([actor.work.remote(n) for n in range(50)], timeout=30) == list(range(50))
        gate = Gate(tmp_path / cls.__name__)
        ref = actor.work.remote(1, gate)
        ray.cancel(ref)
        # What comes behind the cancel has arrived, so it has as well; a thread cannot be interrupted, and ends now.
        assert ray.get(actor.work.remote(2), timeout=20) == 2
        gate.open()
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(ref, timeout=20)


def test_many_arguments_and_results_that_no_single_message_could_hold_cross_nodes(cluster: Cluster) -> None:
    @ray.remote(num_cpus=0, resources={"x": 1})
    def total(*parts: bytes) -> int:
        return sum(len(part) for part in parts)

    @ray.remote(num_cpus=0, resources={"x": 1}, num_returns=1500)
    def split() -> list[bytes]:
        return [bytes([index % 256]) * 90_000 for index in range(1500)]

    parts = [bytes([index % 256]) * 90_000 for index in range(1500)]
    assert ray.get(total.remote(*parts), timeout=60) == 1500 * 90_000  # 129 MiB
    refs = [ray.put(part) for part in parts]
    assert ray.get(total.remote(*refs), timeout=60) == 1500 * 90_000
    del refs
    made = split.remote()
    assert [part[0] for part in ray.get(made, timeout=60)] == [index % 256 for index in range(1500)]
    assert ray.get(total.remote(*made), timeout=60) == 1500 * 90_000


def test_a_batch_of_calls_that_no_single_message_could_hold_crosses_nodes(cluster: Cluster) -> None:
    @ray.remote(num_cpus=0, resources={"x": 1})
    class Counter:
        def __init__(self) -> None:
            self.bytes = 0

        def add(self, data: bytes) -> int:
            self.bytes += len(data)
            return self.bytes

    counter = Counter.remote()
    data = [ray.put(bytes(90_000)) for _ in range(10)]

    @ray.remote(num_cpus=0, resources={"x": 1})
    def size(*parts: bytes) -> int:
        return sum(len(part) for part in parts)

    assert ray.get([size.remote(*data) for _ in range(200)], timeout=60) == [900_000] * 200
    assert ray.get([counter.add.remote(bytes(90_000)) for _ in range(1600)], timeout=60)[-1] == 144_000_000


def test_large_arguments_are_brought_while_their_task_waits(cluster: Cluster, tmp_path: Path) -> None:
    (node,) = cluster.worker_nodes

    def metric(name: str) -> float:
        with urllib.request.urlopen(
            f"http://{node.local.services['object-manager']['metrics']}/metrics", timeout=10
        ) as page:
            found = re.search(rf"^{name}{{.*}} (\S+)$", page.read().decode(), re.MULTILINE)
        assert found is not None
        return float(found[1])

    gate = tmp_path / "gate"

    @ray.remote(num_cpus=0, resources={"x": 10})
    def hold() -> None:
        wait_for(gate.exists, "the test opens the gate", 60)

    @ray.remote(num_cpus=0, resources={"x": 10})
    def total(*arrays: Any) -> int:
        return sum(int(array[0]) for array in arrays)

    before = metric("manta_object_prefetched_bytes_total")
    arrays = [ray.put(np.full(4 * MIB, number, np.uint8)) for number in (1, 2)]
    held = hold.remote()
    wait_for(lambda: ray.available_resources().get("x", 0) == 0, "the first task holds the node")
    result = total.remote(*arrays)
    wait_for(lambda: metric("manta_object_prefetched_bytes_total") - before >= 8 * MIB, "both arrays are brought")
    assert metric("manta_object_prefetched") == 2
    assert ray.wait([result], timeout=0) == ([], [result])
    gate.touch()
    assert ray.get(result, timeout=60) == 3
    ray.get(held)
    wait_for(lambda: metric("manta_object_prefetched") == 0, "the task has pins of its own")
