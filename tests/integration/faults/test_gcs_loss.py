"""The metadata service and its store die while a cluster of `ray start` works: no call of a user fails."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import ray
from manta_common.credentials import Token
from ray._runtime import current
from ray._supervisor.registry import running
from ray._tools.gcs_tool import GcsTool, GcsToolError

from tests.integration.conditions import wait_for
from tests.integration.etcd_server import EtcdServer, free_ports
from tests.integration.faults.gates import Gate
from tests.integration.faults.node_processes import NodeProcesses, kill_and_wait
from tests.integration.redis_server import RedisServer

BIN = Path(sys.executable).parent
WAIT_S = 40.0


@ray.remote
def square(number: int) -> int:
    return number * number


@ray.remote
def held(gate: Gate, name: str) -> str:
    gate.come(name)
    return name


@ray.remote
class Counter:
    def __init__(self) -> None:
        self.total = 0

    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    def add_later(self, gate: Gate, amount: int) -> int:
        gate.come("call")
        return self.add(amount)


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Phoenix:
    def __init__(self, gate: Gate, kept: bytes) -> None:
        gate.come("constructor")
        self.kept = kept

    def pid(self) -> int:
        return os.getpid()

    def size(self) -> int:
        return len(self.kept)


class Started:
    """A cluster of `ray start --head`, which this process has joined."""

    def __init__(
        self, url: str, server: EtcdServer | RedisServer | None, processes: NodeProcesses, session_dir: str
    ) -> None:
        self.url = url
        self.server = server
        self.processes = processes
        self.session_dir = session_dir


def ray_start(*arguments: str) -> None:
    command = [str(BIN / "ray"), "start", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


SERVERS = {"etcd": EtcdServer, "redis": RedisServer}


@pytest.fixture(params=["sqlite", *SERVERS])
def started(request: pytest.FixtureRequest, root: Path) -> Iterator[Started]:
    server = SERVERS[request.param]().start() if request.param in SERVERS else None
    try:
        url = server.url if server is not None else f"sqlite://{root / 'cluster.db'}"
        size = ("--num-cpus=4", "--object-store-memory=100000000")
        ray_start("--head", "--port=0", f"--address-store={url}", *size)
        (entry,) = running(str(root))
        ray.init(address="auto", namespace="faults", log_to_driver=False)
        yield Started(url, server, NodeProcesses(entry.pid), entry.session_dir)
        ray.shutdown()
    finally:
        stopped = subprocess.run([str(BIN / "ray"), "stop"], capture_output=True, text=True, timeout=60, check=False)
        if server is not None:
            server.stop()
    assert stopped.returncode == 0 and "killed" not in stopped.stderr, stopped.stderr


def check_new_things(suffix: str) -> None:
    """What needs the GCS: actors, with and without names, and the list of nodes."""
    assert ray.get(Counter.remote().add.remote(5), timeout=WAIT_S) == 5
    named = Counter.options(name=f"named-{suffix}", lifetime="detached").remote()
    assert ray.get(named.add.remote(1), timeout=WAIT_S) == 1
    assert ray.get(ray.get_actor(f"named-{suffix}").add.remote(1), timeout=WAIT_S) == 2
    assert [node["Alive"] for node in ray.nodes()] == [True]


def test_a_gcs_that_is_killed_and_comes_back_fails_no_call(started: Started, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    counter = Counter.options(name="before", lifetime="detached").remote()
    assert ray.get(counter.add.remote(1), timeout=WAIT_S) == 1
    tasks = [held.remote(gate, name) for name in ("a", "b")]
    call = counter.add_later.remote(gate, 10)
    gate.wait_for("a", "b", "call")
    with ThreadPoolExecutor(1) as threads:
        with started.processes.no_restarts():
            old = started.processes.kill("gcs")
            # Without a GCS: what runs goes on, and so do new tasks and calls of actors that are known.
            assert ray.get([square.remote(n) for n in range(200)], timeout=WAIT_S) == [n * n for n in range(200)]
            gate.open()
            assert ray.get(tasks, timeout=WAIT_S) == ["a", "b"]
            assert ray.get(call, timeout=WAIT_S) == 11
            calls = [counter.add.remote(1) for _ in range(100)]
            assert ray.get(calls, timeout=WAIT_S) == list(range(12, 112))
            # What needs it waits.
            unborn = Counter.remote()
            first_call = unborn.add.remote(7)
            lookup = threads.submit(ray.get_actor, "before")
            ready, _ = ray.wait([first_call], timeout=0.5)
            assert not ready and not lookup.done()
        started.processes.wait_for_another("gcs", old)
        assert ray.get(first_call, timeout=WAIT_S) == 7
        found = lookup.result(WAIT_S)
    assert ray.get(found.add.remote(0), timeout=WAIT_S) == 111
    check_new_things("after")


def test_two_kills_in_a_row_under_load(started: Started) -> None:
    counters = [Counter.remote() for _ in range(2)]
    assert ray.get([counter.add.remote(0) for counter in counters], timeout=WAIT_S) == [0, 0]
    for lap in range(2):
        tasks = [square.remote(n) for n in range(300)]
        calls = [counter.add.remote(1) for _ in range(100) for counter in counters]
        started.processes.kill("gcs")
        fresh = Counter.remote()
        more = fresh.add.remote(lap)
        assert ray.get(tasks, timeout=WAIT_S) == [n * n for n in range(300)]
        assert ray.get(calls, timeout=WAIT_S)[-1] == 100 * (lap + 1)
        assert ray.get(more, timeout=WAIT_S) == lap
        with pytest.raises(ValueError, match="no-such-actor"):
            ray.get_actor("no-such-actor")
    check_new_things("later")


def test_a_driver_hears_nothing_of_the_stream_that_broke(started: Started, caplog: pytest.LogCaptureFixture) -> None:
    client: Any = current.runtime().gcs  # type: ignore[attr-defined]
    for _ in range(2):
        stream = client._more
        started.processes.kill("gcs")
        # Asked meanwhile, the old stream's writer would notice that nobody takes it.
        wait_for(lambda before=stream: client._more is not before, "the driver opens another stream")
        with pytest.raises(ValueError, match="no-such-actor"):
            ray.get_actor("no-such-actor")
        gc.collect()
        with pytest.raises(ValueError, match="no-such-actor"):  # whatever the loop has to say is said before it asks
            ray.get_actor("no-such-actor")
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_a_gcs_that_is_killed_while_an_actor_restarts_does_not_lose_it(started: Started, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    gate.open()
    phoenix = Phoenix.remote(gate, ray.put(b"kept" * 100_000))
    first = ray.get(phoenix.pid.remote(), timeout=WAIT_S)
    with started.processes.no_restarts():
        # Nobody hears of the death at first.
        old = started.processes.kill("gcs")
        kill_and_wait(first)
        call = phoenix.pid.remote()
        assert ray.wait([call], timeout=0.5)[0] == []
    started.processes.wait_for_another("gcs", old)
    second = ray.get(call, timeout=WAIT_S)
    gate.close()
    kill_and_wait(second)
    call = phoenix.pid.remote()
    wait_for(lambda: len(gate.pids("constructor")) == 3, "the constructor runs again", WAIT_S)
    started.processes.kill("gcs")
    gate.open()
    third = ray.get(call, timeout=WAIT_S)
    assert len({first, second, third}) == 3
    assert ray.get(phoenix.size.remote(), timeout=WAIT_S) == 400_000
    assert gate.pids("constructor").count(third) == 1, "it was made once"


@pytest.mark.parametrize("started", SERVERS, indirect=True)
def test_a_store_that_is_killed_and_comes_back_fails_no_call(started: Started, tmp_path: Path) -> None:
    assert started.server is not None
    gate = Gate(tmp_path / "gate")
    counter = Counter.options(name="before", lifetime="detached").remote()
    assert ray.get(counter.add.remote(1), timeout=WAIT_S) == 1
    task, call = held.remote(gate, "a"), counter.add_later.remote(gate, 10)
    gate.wait_for("a", "call")
    started.server.kill()
    unborn = Counter.remote()
    first_call = unborn.add.remote(7)
    assert ray.get([square.remote(n) for n in range(200)], timeout=WAIT_S) == [n * n for n in range(200)]
    gate.open()
    assert ray.get([task, call], timeout=WAIT_S) == ["a", 11]
    assert ray.get([counter.add.remote(1) for _ in range(100)], timeout=WAIT_S)[-1] == 111
    ready, _ = ray.wait([first_call], timeout=0.5)
    assert not ready
    started.server.start()
    assert ray.get(first_call, timeout=WAIT_S) == 7
    assert ray.get(ray.get_actor("before").add.remote(0), timeout=WAIT_S) == 111
    check_new_things("after")


def test_a_second_gcs_on_the_same_store_serves_nobody(started: Started, root: Path) -> None:
    token_file = Path(started.session_dir, "token")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    log = root / "second.log"
    command = [str(BIN / "manta-gcs"), "--store", started.url, "--listen", address, "--token-file", str(token_file)]
    with log.open("wb") as output:
        second = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        if started.server is None:
            assert second.wait(WAIT_S) != 0
            assert "cluster.db" in log.read_text()
        else:
            wait_for(lambda: _leader_named_by(address, token_file) is not None, "it names the leader", WAIT_S)
            leader = ray.get_runtime_context().gcs_address
            assert _leader_named_by(address, token_file) == leader
            assert second.poll() is None
        check_new_things("beside-a-second")
    finally:
        second.terminate()
        second.wait(WAIT_S)


def _leader_named_by(address: str, token_file: Path) -> Any:
    """Who the replica says leads; None while it is not there. raises: AssertionError when it serves itself."""
    with GcsTool([address], Token(token_file.read_bytes().strip()), gcs_timeout_s=1.0) as tool:
        try:
            tool.nodes()
        except GcsToolError:
            return None
        served_by = tool._addresses[0]
        assert served_by != address, "a second GCS serves"
        return served_by
