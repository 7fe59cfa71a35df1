"""Call channels that break while both processes live: nothing is lost, and each actor call runs once and in order."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from manta_proto.raylet.v1 import raylet_pb2
from manta_proto.worker.v1 import worker_pb2
from ray._runtime import current
from ray.cluster_utils import Cluster

from tests.integration.conditions import wait_for
from tests.integration.lifecycle.processes import expect_memory_files_within, memory_files, of_session
from tests.integration.runtime.conftest import MIB
from tests.integration.runtime.cut_connections import ResettingProxies, connections, cut_here, cutting

pytestmark = pytest.mark.usefixtures("session")

DEADLINE_S = 60


@ray.remote(num_cpus=0.5)
def square(number: int) -> int:
    return number * number


@ray.remote(num_cpus=0.5)
def sum_of_squares(count: int) -> int:
    """A caller in a worker."""
    return sum(ray.get([square.remote(number) for number in range(count)]))


@ray.remote(num_cpus=0.5)
def inner_value(refs: list[Any]) -> Any:
    """A borrower: asks the owner of the nested ref."""
    return ray.get(refs[0])


@ray.remote(num_cpus=0, resources={"home": 1})
class Journal:
    def __init__(self) -> None:
        self.entries: list[int] = []

    def add(self, entry: int) -> int:
        self.entries.append(entry)
        return len(self.entries)

    def read(self) -> list[int]:
        return self.entries

    def cut(self) -> int:
        return cut_here()

    def stop_taking_tasks(self) -> None:
        """Have the next batch of calls fail in this process as by a bug of the runtime."""
        executor = current.runtime().executor

        def broken(*_: Any) -> None:
            del executor.on_tasks
            raise RuntimeError("a bug in this process")

        executor.on_tasks = broken


def call_all(journal: Any, count: int) -> None:
    """Tasks, nested tasks, borrowed refs and calls in large batches and one by one; all results are checked."""
    tasks = [square.remote(number) for number in range(count)]
    calls = [journal.add.remote(number) for number in range(count)]
    nested = [sum_of_squares.remote(10) for _ in range(5)]
    borrowed = [inner_value.remote([square.remote(number)]) for number in range(20)]
    assert ray.get(tasks, timeout=DEADLINE_S) == [number * number for number in range(count)]
    assert ray.get(calls, timeout=DEADLINE_S) == list(range(1, count + 1))
    assert ray.get(nested, timeout=DEADLINE_S) == [285] * 5
    assert ray.get(borrowed, timeout=DEADLINE_S) == [number * number for number in range(20)]
    for number in range(count // 10):
        assert ray.get(square.remote(number), timeout=DEADLINE_S) == number * number
        assert ray.get(journal.add.remote(count + number), timeout=DEADLINE_S) == count + number + 1
    assert ray.get(journal.read.remote(), timeout=DEADLINE_S) == list(range(count + count // 10))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sockets_that_are_cut_under_both_processes_lose_nothing(seed: int) -> None:
    journal = Journal.remote()
    before = connections()
    with cutting(seed, cut_here, 0.02) as counts:
        call_all(journal, 1000)
    assert sum(counts) > 10 and connections() - before > 5, "there were breaks"


def test_sockets_that_a_worker_cuts_lose_nothing() -> None:
    journal = Journal.remote()
    cuts, calls = [], []
    for number in range(200):
        cuts.append(journal.cut.remote())
        calls.append(journal.add.remote(number))
        if number % 5 == 0:
            ray.get(calls[-1], timeout=DEADLINE_S)
    assert ray.get(calls, timeout=DEADLINE_S) == list(range(1, 201))
    assert sum(ray.get(cuts, timeout=DEADLINE_S)) > 10


def test_a_call_that_the_actor_s_process_could_not_take_ends_with_an_error() -> None:
    journal = Journal.remote()
    ray.get(journal.stop_taking_tasks.remote())
    with pytest.raises(ray.exceptions.RaySystemError, match=r"Journal.add was not run: .*a bug in this process"):
        ray.get(journal.add.remote(1), timeout=DEADLINE_S)
    assert ray.get(journal.add.remote(2), timeout=DEADLINE_S) == 1


def test_a_result_that_the_caller_could_not_take_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    submitter = current.runtime().submitter
    take = type(submitter).on_replies
    broken: list[Any] = []

    def once(*arguments: Any) -> None:
        if not broken:
            broken.append(arguments)
            raise RuntimeError("a bug in the caller")
        take(submitter, *arguments)

    journal = Journal.remote()
    ray.get(journal.read.remote())
    monkeypatch.setattr(submitter, "on_replies", once)
    with pytest.raises(ray.exceptions.RaySystemError, match=r"did not reach its caller: .*a bug in the caller"):
        ray.get(journal.add.remote(1), timeout=DEADLINE_S)
    assert ray.get(journal.read.remote(), timeout=DEADLINE_S) == [1]


@ray.remote(num_cpus=0)
def later() -> int:
    time.sleep(0.3)
    return 7


@ray.remote
def work(refs: list[Any]) -> int:
    """Blocks in a get if there is a ref, and its worker hands back what it has not started."""
    return int(ray.get(refs[0])) if refs else 1


def test_tasks_handed_back_in_a_message_that_the_caller_could_not_take_run_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    submitter = current.runtime().submitter
    take = type(submitter).on_handed_back
    broken: list[Any] = []

    def once(*arguments: Any) -> None:
        if not broken:
            broken.append(arguments)
            raise RuntimeError("a bug in the caller")
        take(submitter, *arguments)

    monkeypatch.setattr(submitter, "on_handed_back", once)
    for _ in range(20):
        assert ray.get([work.remote([]) for _ in range(300)], timeout=DEADLINE_S) == [1] * 300
        refs = [later.remote() for _ in range(4)]
        results = [work.remote(found) for ref in refs for found in ([ref], *([[]] * 20))]
        assert sum(ray.get(results, timeout=DEADLINE_S)) == 4 * (7 + 20)
        if broken:
            break
    assert broken, "tasks were handed back"


def test_a_hold_that_the_owner_could_not_take_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    @ray.remote(num_cpus=0)
    class Keeper:
        def keep(self, refs: list[Any]) -> None:
            self.refs = refs

        def drop(self) -> None:
            self.refs = []

    holds, arena = current.runtime().holds, current.runtime().arena
    take = type(holds).on_holds
    broken: list[Any] = []

    def once(*arguments: Any) -> None:
        if not broken:
            broken.append(arguments)
            raise RuntimeError("a bug in the owner")
        take(holds, *arguments)

    keeper = Keeper.remote()
    before = arena.describe().objects_count
    ref = ray.put(bytes(MIB))
    ray.get(keeper.keep.remote([ref]), timeout=DEADLINE_S)
    del ref
    monkeypatch.setattr(holds, "on_holds", once)
    ray.get(keeper.drop.remote(), timeout=DEADLINE_S)
    wait_for(lambda: bool(broken), "the owner was told")
    wait_for(lambda: arena.describe().objects_count == before, "the owner heard of the drop")


@pytest.fixture(scope="module")
def proxies() -> Iterator[ResettingProxies]:
    made = ResettingProxies()
    yield made
    made.close()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, proxies: ResettingProxies) -> Iterator[Cluster]:
    """Two nodes; this process is a driver on the first, and meets the processes of the other through proxies."""
    root = tmp_path_factory.mktemp("root")
    os.chmod(root, 0o700)
    files = memory_files()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANTA_TMPDIR", str(root))
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 2, "resources": {"home": 100}, "object_store_memory": 200 * MIB},
        )
        cluster.add_node(num_cpus=2, resources={"x": 100}, object_store_memory=200 * MIB)
        ray.init(address=cluster.address, log_to_driver=False)
        remote = current.runtime().remote
        reach, serve = remote._endpoint, remote.open_endpoint
        # From the first connection on: raylets remember how a process is reached.
        patch.setattr(remote, "_endpoint", lambda peer, address: reach(peer, proxies.before(address)))
        patch.setattr(
            remote,
            "open_endpoint",
            lambda host, tcp, done: serve(host, tcp, lambda address: done(proxies.before(address))),
        )
        yield cluster
        ray.shutdown()
        cluster.shutdown()
    wait_for(lambda: not of_session(str(root)), f"no process is left, but: {of_session(str(root))}", 5.0)
    expect_memory_files_within(files)


@pytest.mark.parametrize("seed", [1, 2])
def test_streams_between_nodes_that_are_reset_lose_nothing(seed: int, proxies: ResettingProxies) -> None:
    there = {"resources": {"x": 1}}
    journal = Journal.options(**there).remote()
    count = 600
    before = connections()
    with cutting(seed, proxies.reset, 0.15) as counts:
        for step in range(3):
            tasks = [square.options(**there).remote(number) for number in range(count)]
            calls = [journal.add.remote(step * count + number) for number in range(count)]
            borrowed = [inner_value.options(**there).remote([square.remote(number)]) for number in range(10)]
            assert ray.get(tasks, timeout=DEADLINE_S) == [number * number for number in range(count)]
            assert ray.get(calls, timeout=DEADLINE_S) == list(range(step * count + 1, (step + 1) * count + 1))
            assert ray.get(borrowed, timeout=DEADLINE_S) == [number * number for number in range(10)]
        while sum(counts) < 5:
            assert ray.get(square.options(**there).remote(7), timeout=DEADLINE_S) == 49
    assert ray.get(journal.read.remote(), timeout=DEADLINE_S) == list(range(3 * count))
    # One reset breaks several, and they are made again in their own time.
    wait_for(lambda: connections() - before >= 3, "there were breaks")


def test_the_last_results_of_a_worker_on_another_node_arrive_although_it_ends(
    proxies: ResettingProxies, tmp_path: Path
) -> None:
    """More than gRPC has written when the worker's last task is done; it must not end before they have arrived."""

    go, out = tmp_path / "go", tmp_path / "out"

    @ray.remote(num_cpus=0, resources={"x": 1}, num_returns=60, max_retries=0)
    def many_and_the_end() -> list[bytes]:
        out.touch()
        wait_for(go.exists, "the test lets it go on")
        current.runtime().executor.exit("the test asks it to end")
        return [bytes([number]) * 90_000 for number in range(60)]

    refs = many_and_the_end.remote()
    wait_for(out.exists, "it runs")
    proxies.hold()
    try:
        go.touch()
        ready, _ = ray.wait(refs, num_returns=60, timeout=1.0)
        assert not ready
    finally:
        proxies.release()
    assert ray.get(refs, timeout=DEADLINE_S) == [bytes([number]) * 90_000 for number in range(60)]


def test_a_reply_that_is_being_read_counts_although_its_worker_s_death_is_heard_meanwhile(
    session: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of its own kind, so that it is not sent to a worker that an earlier test has told to end.
    @ray.remote(num_cpus=0, resources={"x": 2}, num_returns=60, max_retries=0)
    def many_and_the_end() -> list[bytes]:
        current.runtime().executor.exit("the test asks it to end")
        return [bytes([number]) * 90_000 for number in range(60)]

    process, told = current.runtime(), threading.Event()
    on_frame, receive = process.peers._on_frame, process.raylets.receive

    def read_slowly(peer: Any, kind: int, payload: bytes) -> None:
        if kind == worker_pb2.REPLIES and len(payload) > 60 * 90_000:
            assert told.wait(DEADLINE_S), "the raylet tells of the death"
        on_frame(peer, kind, payload)

    def hear(link: Any, kind: int, payload: bytes) -> None:
        receive(link, kind, payload)
        if kind == raylet_pb2.WORKERS_DIED and link is not process.raylet:
            told.set()

    monkeypatch.setattr(process.peers, "_on_frame", read_slowly)
    monkeypatch.setattr(process.raylets, "receive", hear)
    refs = many_and_the_end.remote()
    assert ray.get(refs, timeout=DEADLINE_S) == [bytes([number]) * 90_000 for number in range(60)]
    assert told.is_set()
