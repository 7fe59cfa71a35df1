"""A raylet that is killed, with nobody above it to clean up."""

import os
import signal
import urllib.request
from pathlib import Path

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
