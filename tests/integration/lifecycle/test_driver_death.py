"""What is left of a driver's own cluster when the driver goes, with workers in the middle of their tasks."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.lifecycle.processes import of_session, sockets_below, wait_for

DRIVER = """
import os, signal, subprocess, sys
import ray

ray.init(num_cpus=2, object_store_memory=100 << 20, log_to_driver=False)

@ray.remote
def busy(path):
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    with open(path + ".new", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    os.rename(path + ".new", path)
    while True:
        pass

refs = [busy.remote(path) for path in sys.argv[1:]]
if os.environ.get("THEN") == "raise":
    ray.wait(refs, timeout=0)
    input()
    raise ValueError("the program fails")
signal.pause()
"""


@pytest.fixture
def driver(root: Path, request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[bytes]"]:
    """A driver whose two tasks are running."""
    started = [root / "first", root / "second"]
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, *map(str, started)],
        stdin=subprocess.PIPE,
        env={**os.environ, "THEN": getattr(request, "param", "")},
    )
    try:
        wait_for(lambda: all(path.exists() for path in started) or process.poll() is not None, "both tasks run", 60)
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def test_everything_is_gone_five_seconds_after_kill_9(driver: "subprocess.Popen[bytes]", root: Path) -> None:
    workers = [int(pid) for name in ("first", "second") for pid in (root / name).read_text().split()]
    assert all(pid in of_session(str(root)) for pid in workers)
    driver.kill()
    driver.wait()
    wait_for(lambda: of_session(str(root)) == {}, "all processes are gone", deadline_s=5.0)
    assert sockets_below(root) == []


def test_ctrl_c_ends_the_driver_and_everything_with_it(driver: "subprocess.Popen[bytes]", root: Path) -> None:
    driver.send_signal(signal.SIGINT)
    assert driver.wait(30) != 0
    wait_for(lambda: of_session(str(root)) == {}, "all processes are gone", deadline_s=5.0)


@pytest.mark.parametrize("driver", ["raise"], indirect=True)
def test_an_exception_ends_everything(driver: "subprocess.Popen[bytes]", root: Path) -> None:
    assert driver.stdin is not None
    driver.stdin.write(b"\n")
    driver.stdin.flush()
    assert driver.wait(30) == 1
    wait_for(lambda: of_session(str(root)) == {}, "all processes are gone", deadline_s=5.0)


def test_a_killed_raylet_takes_its_busy_workers_along(driver: "subprocess.Popen[bytes]", root: Path) -> None:
    raylet = [pid for pid, command in of_session(str(root)).items() if "manta-raylet" in command]
    workers = [int((root / name).read_text().split()[0]) for name in ("first", "second")]
    descriptors = [os.pidfd_open(pid) for pid in workers]
    os.kill(raylet[0], signal.SIGKILL)
    for descriptor in descriptors:
        ready, _, _ = select.select([descriptor], [], [], 10)
        os.close(descriptor)
        assert ready, "a worker survives its raylet"
