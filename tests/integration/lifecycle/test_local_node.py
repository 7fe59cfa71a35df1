import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import ray
from manta_common.credentials import Token
from ray._node import LocalNode, NodeOptions, NodeStartError, find_address, start_local
from ray._supervisor import socket_folder
from ray._tools.gcs_tool import GcsTool, GcsToolError

from tests.integration.lifecycle.processes import kill_and_wait, of_session, sockets_below, wait_for

ARENA = 100 * 1024 * 1024
DRIVER = """
import signal, sys
from ray._node import NodeOptions, start_local
node = start_local(NodeOptions(num_cpus=1, object_store_memory=100 << 20))
print(node.supervisor_pid, *(service["pid"] for service in node.services.values()), flush=True)
signal.pause()
"""


def head(**options: Any) -> LocalNode:
    return start_local(NodeOptions(num_cpus=1, object_store_memory=ARENA, **options))


def tool(node: LocalNode) -> GcsTool:
    return GcsTool(node.gcs_addresses, Token(node.token))


def test_start_and_stop_leave_only_logs_behind(root: Path) -> None:
    node = head()
    assert {"gcs", "object-manager", "raylet"} == set(node.services)
    with tool(node) as gcs:
        assert [item.info.node_id for item in gcs.nodes()] == [node.node_id]
    assert sockets_below(Path(node.session_dir))
    node.stop()
    node.stop()  # idempotent
    assert node.exit_code == 0
    assert of_session(str(root)) == {}
    assert sockets_below(root) == []
    assert os.listdir(node.session_dir) == ["logs"]


def test_the_node_of_a_killed_driver_is_gone_within_five_seconds(root: Path) -> None:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    pids = [int(pid) for pid in driver.stdout.readline().split()]
    assert all(pid in of_session(str(root)) for pid in pids[1:])
    driver.kill()
    driver.wait()
    driver.stdout.close()
    wait_for(lambda: of_session(str(root)) == {}, "all processes are gone", deadline_s=5.0)
    assert sockets_below(root) == []


def test_a_killed_supervisor_takes_everything_along(root: Path) -> None:
    node = head()
    os.kill(node.supervisor_pid, signal.SIGKILL)
    wait_for(lambda: of_session(str(root)) == {}, "all processes are gone")
    node.stop()


def test_a_killed_gcs_comes_back_at_its_address_with_the_same_cluster(root: Path) -> None:
    node = head()
    try:
        with tool(node) as gcs:
            before = gcs.status()
        kill_and_wait(node.services["gcs"]["pid"])
        with tool(node) as gcs:
            after = gcs.status()
        assert after.cluster_id == before.cluster_id
        assert after.epoch > before.epoch
        assert [item.info.node_id for item in after.nodes] == [node.node_id]
    finally:
        node.stop()


def test_a_killed_object_manager_comes_back_at_its_addresses(root: Path) -> None:
    node = head()
    try:
        ready = node.services["object-manager"]
        kill_and_wait(ready["pid"])
        log = Path(node.session_dir) / "logs" / "supervisor.log"
        wait_for(lambda: log.read_text().count("service_ready service=object-manager") == 2, "it is ready again")
        host, port = ready["grpc"].rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=5):
            pass
        assert ready["socket"] in sockets_below(root)
        assert node.is_alive()
    finally:
        node.stop()


def test_sockets_lie_in_memory_where_nobody_sweeps_it(root: Path) -> None:
    node = head()
    try:
        in_memory = socket_folder.in_memory("/dev/shm") and not socket_folder.is_swept()
        assert os.path.dirname(node.node_dir) == (f"/dev/shm/manta-{os.geteuid()}" if in_memory else node.session_dir)
        assert node.raylet_socket in sockets_below(root)
    finally:
        node.stop()
    assert not os.path.exists(node.node_dir)


def test_the_sockets_of_a_killed_supervisor_are_removed_by_the_next_start(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANTA_SOCKET_DIR", str(root))
    home = root / f"manta-{os.geteuid()}"
    lives = head()
    killed = head()
    killed.kill()
    wait_for(lambda: killed.session_dir not in " ".join(of_session(str(root)).values()), "its processes are gone")
    assert os.path.exists(killed.raylet_socket)
    try:
        context = ray.init(num_cpus=1, object_store_memory=ARENA, log_to_driver=False)
        try:
            assert ray.get(ray.remote(os.getpid).remote(), timeout=60)
            log = Path(context.address_info["session_dir"]) / "logs" / "supervisor.log"
            assert f"leftover_sockets_removed folder={killed.node_dir}" in log.read_text()
            assert not os.path.exists(killed.node_dir) and os.path.exists(lives.raylet_socket)
            assert len(os.listdir(home)) == 2
        finally:
            ray.shutdown()
    finally:
        lives.stop()
    assert not home.exists()


def test_a_killed_raylet_ends_the_node(root: Path) -> None:
    node = head()
    node.kill_raylet()
    assert node.wait(10)
    assert node.exit_code == 1
    assert of_session(str(root)) == {}


def test_a_temp_folder_of_two_hundred_bytes_works(root: Path) -> None:
    folder = root / ("d" * (200 - len(str(root)) - 1))
    assert len(str(folder)) >= 200
    node = head(temp_dir=str(folder), socket_dir="session")
    try:
        assert node.raylet_socket.startswith(str(folder))
        assert os.path.exists(node.raylet_socket)
        with tool(node) as gcs:
            assert gcs.nodes()
    finally:
        node.stop()


def test_a_second_node_joins_and_leaves(root: Path) -> None:
    first = head()
    second = head(gcs_addresses=first.gcs_addresses, token=first.token)
    try:
        assert second.session_dir != first.session_dir
        with tool(first) as gcs:
            assert {item.info.node_id for item in gcs.nodes()} == {first.node_id, second.node_id}
    finally:
        second.stop()
        first.stop()


def test_the_running_cluster_is_found_and_a_stopped_one_is_not(root: Path) -> None:
    node = head()
    found = find_address("auto")
    assert found is not None and found.gcs_addresses == node.gcs_addresses
    assert found.session_dir == node.session_dir
    assert find_address(None) is None  # another driver's own cluster is not joined unasked
    node.stop()
    with pytest.raises(ConnectionError):
        find_address("auto")


def test_a_wrong_token_is_refused_at_once(root: Path) -> None:
    node = head()
    try:
        started = time.monotonic()
        with GcsTool(node.gcs_addresses, Token(b"wrong")) as gcs, pytest.raises(GcsToolError, match="UNAUTHENTICATED"):
            gcs.nodes()
        assert time.monotonic() - started < 5
    finally:
        node.stop()


def test_nobody_at_the_address_is_told_with_the_address_and_the_timeout(root: Path) -> None:
    with GcsTool(["127.0.0.1:9"], Token(b"x"), gcs_timeout_s=0.5) as gcs:
        with pytest.raises(GcsToolError, match=r"127\.0\.0\.1:9.*"):
            gcs.nodes()


def test_a_start_that_fails_shows_the_last_lines_of_the_log(root: Path) -> None:
    store = root / "broken.db"
    store.write_text("this is no SQLite file, but long enough that it is looked at" * 20)
    with pytest.raises(NodeStartError) as caught:
        head(store=f"sqlite://{store}")
    assert "gcs" in str(caught.value)
    assert "last lines of" in str(caught.value)


def test_the_local_store_is_a_file_of_the_session(root: Path) -> None:
    node = head()
    try:
        with sqlite3.connect(f"file:{node.session_dir}/gcs.db?mode=ro", uri=True) as store:
            assert store.execute("select count(*) from sqlite_master").fetchone()[0] > 0
    finally:
        node.stop()
