"""A raylet that is killed, with nobody above it to clean up."""

import os
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._node import NodeOptions, start_local

from tests.integration.lifecycle.processes import kill_and_wait, of_session, wait_for


def pids(root: Path, part: str) -> list[int]:
    return [pid for pid, command in of_session(str(root)).items() if part in command]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_killed_raylet_takes_its_workers_and_zygote_along_without_a_supervisor(root: Path) -> None:
    ray.init(num_cpus=2, object_store_memory=100 << 20, _temp_dir=str(root), log_to_driver=False)
    try:
        worker = ray.get(ray.remote(os.getpid).remote(), timeout=60)
        (raylet,) = pids(root, "manta-raylet")
        below = [pid for pid in pids(root, "") if parent_of(pid) == raylet or pid == worker]
        assert worker in below and len(below) >= 2, "the zygote and a worker at least"
        # Stopped, it neither ends its services nor hears of their ends.
        supervisor = parent_of(raylet)
        os.kill(supervisor, signal.SIGSTOP)
        try:
            kill_and_wait(raylet)
            wait_for(lambda: not set(below) & set(of_session(str(root))), "they are gone with it", deadline_s=10)
        finally:
            os.kill(supervisor, signal.SIGCONT)
    finally:
        ray.shutdown()


def test_tasks_and_actors_run_in_a_temp_folder_of_two_hundred_bytes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANTA_SOCKET_DIR", "session")
    folder = root / ("d" * (200 - len(str(root)) - 1))
    ray.init(num_cpus=1, object_store_memory=100 << 20, _temp_dir=str(folder), log_to_driver=False)
    try:

        @ray.remote(num_cpus=0)
        class Holder:
            def size(self, data: bytes) -> int:
                return len(data)

        @ray.remote
        def make() -> bytes:
            return bytes(1_000_000)

        assert ray.get(Holder.remote().size.remote(make.remote()), timeout=60) == 1_000_000
    finally:
        ray.shutdown()


def test_every_service_serves_the_metrics_that_upstream_names(root: Path) -> None:
    node = start_local(NodeOptions(num_cpus=1, object_store_memory=100 << 20))
    try:
        pages = {}
        for part in ("gcs", "raylet", "object-manager"):
            with urllib.request.urlopen(f"http://{node.services[part]['metrics']}/metrics", timeout=10) as page:
                pages[part] = page.read().decode()
    finally:
        node.stop()
    for part, name in (
        ("gcs", "ray_tasks"),
        ("raylet", "ray_resources"),
        ("gcs", "ray_actors"),
        ("object-manager", "ray_object_store_memory"),
    ):
        assert f"# TYPE {name} gauge" in pages[part], f"{part} serves no {name}"
    for part, page in pages.items():
        assert "# TYPE manta_rpc_seconds histogram" in page, f"{part} serves no manta_rpc_seconds"


CHILDREN = """
import os, subprocess, sys

def start(path):
    plain = subprocess.Popen(["sleep", "600"])
    own_session = subprocess.Popen(["sleep", "600"], start_new_session=True)
    orphan = int(subprocess.check_output(["sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!"]))
    daemon = int(subprocess.check_output(["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!"]))
    return [os.getpid(), plain.pid, own_session.pid, orphan], daemon
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_user_code_started_in_a_worker_ends_with_it_and_daemons_with_the_node(root: Path) -> None:
    ray.init(num_cpus=2, object_store_memory=100 << 20, _temp_dir=str(root), log_to_driver=False)
    try:

        @ray.remote(num_cpus=0)
        class Starter:
            def start(self) -> tuple[list[int], int]:
                scope: dict[str, Any] = {}
                exec(CHILDREN, scope)
                pids, daemon = scope["start"](str(root))
                return pids, daemon

        starters = [Starter.remote() for _ in range(3)]
        (killed, _), (dropped, _), (orphaned, daemon) = ray.get([each.start.remote() for each in starters], timeout=60)
        ray.kill(starters[0])
        wait_for(lambda: not any(map(is_alive, killed)), "a killed actor's processes are gone")
        starters.pop(1)
        wait_for(lambda: not any(map(is_alive, dropped)), "those of an actor that nobody refers to are gone")
        assert all(map(is_alive, [*orphaned, daemon]))
        (raylet,) = pids(root, "manta-raylet")
        supervisor = parent_of(raylet)
        os.kill(supervisor, signal.SIGSTOP)
        try:
            kill_and_wait(raylet)
            wait_for(lambda: not any(map(is_alive, orphaned)), "those of a raylet that died are gone")
        finally:
            os.kill(supervisor, signal.SIGCONT)
        wait_for(lambda: not is_alive(daemon), "the supervisor has ended the daemon with the node")
    finally:
        ray.shutdown()
