import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._supervisor.registry import running

from tests.integration.lifecycle.processes import of_session, sockets_below

RAY = str(Path(sys.executable).with_name("ray"))
SMALL = ("--num-cpus=1", "--object-store-memory=100000000")


def ray(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([RAY, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def stopped(root: Path) -> Iterator[Path]:
    yield root
    ray("stop", "--force")


def test_start_status_and_stop(stopped: Path) -> None:
    started = ray("start", "--head", "--port=0", *SMALL, "--resources", '{"special": 2}', "--labels", "zone=a")
    assert started.returncode == 0, started.stderr
    assert "Ray runtime started." in started.stdout
    assert "ray start --address=" in started.stdout
    status = ray("status")
    assert status.returncode == 0, status.stderr
    for text in ("Node status", "Active:", "Total Usage:", "0.0/1.0 CPU", "0.0/2.0 special", "(no resource demands)"):
        assert text in status.stdout
    given = ("--num-cpus=2", "--object-store-memory=100000000", f"--socket-dir={stopped}")
    joined = ray("start", "--address=auto", *given)
    assert joined.returncode == 0, joined.stderr
    assert (stopped / f"manta-{os.geteuid()}").is_dir()
    assert "0.0/3.0 CPU" in ray("status").stdout
    stop = ray("stop")
    assert stop.returncode == 0, stop.stderr
    assert "Stopped all 2 Ray nodes" in stop.stdout
    assert of_session(str(stopped)) == {}
    assert sockets_below(stopped) == []
    assert not (stopped / f"manta-{os.geteuid()}").exists()


def test_stop_without_nodes_and_status_without_cluster_say_so(root: Path) -> None:
    stop = ray("stop")
    assert stop.returncode == 0
    assert "Did not find" in stop.stdout
    status = ray("status")
    assert status.returncode == 1
    assert "ray start --head" in status.stderr


def test_a_second_head_on_the_same_port_is_refused(stopped: Path) -> None:
    assert ray("start", "--head", "--port=0", *SMALL).returncode == 0
    address = next(line for line in ray("start", "--address=auto", *SMALL).stdout.splitlines() if "Local" in line)
    assert "127.0.0.1" in address
    record = (stopped / "current_cluster").read_text()
    port = record.partition('"127.0.0.1:')[2].partition('"')[0]
    second = ray("start", "--head", f"--port={port}", *SMALL)
    assert second.returncode == 1
    assert f"{port} is in use" in second.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--head"),
        (("--head", "--address=a:1"), "either --head"),
        (("--address=a:1", "--port=3"), "--port"),
        (("--head", "--resources={x}"), "not JSON"),
        (("--head", "--labels=zone"), "key=value"),
        (("--head", "--node-ip-address=192.0.2.1"), "192.0.2.1"),
        (("--address=nowhere",), "host:port"),
    ],
)
def test_wrong_arguments_are_refused_by_name(root: Path, arguments: tuple[str, ...], message: str) -> None:
    result = ray("start", *arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert running(str(root)) == []


def test_a_blocking_start_ends_its_node_on_ctrl_c(root: Path) -> None:
    process = subprocess.Popen(
        [RAY, "start", "--head", "--port=0", "--block", *SMALL], stdout=subprocess.PIPE, env={**os.environ}
    )
    assert process.stdout is not None
    seen = b""
    while b"--block" not in seen:
        ready, _, _ = select.select([process.stdout], [], [], 30)
        assert ready, seen
        chunk = os.read(process.stdout.fileno(), 4096)
        assert chunk, seen
        seen += chunk
    assert len(running(str(root))) == 1
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    process.stdout.close()
    assert of_session(str(root)) == {}


def test_the_version_is_the_api_level_with_our_own(root: Path) -> None:
    assert "2.60.0+manta" in ray("--version").stdout


def test_a_program_joins_the_cluster_of_ray_start_and_leaves_it_running(stopped: Path) -> None:
    assert ray("start", "--head", "--port=0", "--num-cpus=1", "--object-store-memory=100000000").returncode == 0
    program = """
import ray
ray.init()
square = ray.remote(lambda x: x * x)
print(ray.get([square.remote(x) for x in range(4)], timeout=60))
"""
    for _ in range(2):
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        assert "[0, 1, 4, 9]" in result.stdout
        assert "Connected" in result.stderr
    assert len(running(str(stopped))) == 1
