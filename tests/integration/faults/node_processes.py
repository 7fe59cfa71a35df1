"""The processes of a node, found by their parents: services below the supervisor, the zygote and workers below them."""

import contextlib
import os
import select
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ray.cluster_utils import ClusterNode

from tests.integration.conditions import wait_for

GONE_S = 20.0


def _parents() -> dict[int, int]:
    found: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    found[int(entry)] = int(fields[1])
    return found


def below(pid: int) -> list[int]:
    """All living descendants, parents first."""
    parents = _parents()
    found = [pid]
    for parent in found:
        found.extend(child for child, its_parent in parents.items() if its_parent == parent)
    return found[1:]


def _leads_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def command(pid: int) -> str:
    """Empty once the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


class NodeProcesses:
    """What runs below one supervisor now; a service that was started again has another pid."""

    def __init__(self, supervisor_pid: int) -> None:
        self.supervisor_pid = supervisor_pid

    @classmethod
    def of(cls, node: ClusterNode) -> "NodeProcesses":
        return cls(node.local.supervisor_pid)

    def find(self, name: str) -> int | None:
        """The pid of manta-<name>; of the zygote itself, not of the workers that share its command line."""
        found = [pid for pid in below(self.supervisor_pid) if f"/manta-{name} " in command(pid)]
        # A worker leads a session of its own, and one whose zygote died is a child of the raylet as the zygote is.
        return next((pid for pid in found if name != "zygote" or not _leads_session(pid)), None)

    def pid(self, name: str) -> int:
        """raises: AssertionError when it does not run soon."""
        wait_for(lambda: self.find(name) is not None, f"manta-{name} runs")
        pid = self.find(name)
        assert pid is not None
        return pid

    def workers(self) -> list[int]:
        """Forked by the zygote, or inherited from one that died."""
        raylet = self.find("raylet")
        if raylet is None:
            return []
        return [pid for pid in below(raylet) if _leads_session(pid)]

    def kill(self, name: str) -> int:
        """kill -9, and wait until it is gone. returns: the pid that it had."""
        pid = self.pid(name)
        kill_and_wait(pid)
        return pid

    def wait_for_another(self, name: str, old: int) -> int:
        wait_for(lambda: self.find(name) not in (None, old), f"another manta-{name} runs")
        return self.pid(name)

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[int]:
        """SIGSTOP to manta-<name> until the end, if it lives to see it."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGSTOP)
        try:
            _wait_stopped(pid)
            yield pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def no_restarts(self) -> Iterator[None]:
        """Freeze the supervisor: what is killed meanwhile stays dead until the end."""
        os.kill(self.supervisor_pid, signal.SIGSTOP)
        try:
            _wait_stopped(self.supervisor_pid)
            yield
        finally:
            os.kill(self.supervisor_pid, signal.SIGCONT)


def _wait_stopped(pid: int) -> None:
    # SIGSTOP takes effect some moments after kill() returns; "T" in its state says that it has.
    def stopped() -> bool:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    wait_for(stopped, f"process {pid} is frozen")


def kill_and_wait(pid: int, number: int = signal.SIGKILL) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
        ready, _, _ = select.select([descriptor], [], [], GONE_S)
        assert ready, f"process {pid} survives signal {number}"
    finally:
        os.close(descriptor)


def gone(pid: int) -> bool:
    return not command(pid)


def arena_bytes(node: ClusterNode) -> float:
    """Bytes of live objects on the node. An object manager that was started again has another metrics port."""
    log = Path(node.get_logs_dir_path(), "object-manager.log").read_text()
    ready = [line for line in log.splitlines() if "event=object_manager_ready" in line][-1]
    return metric(ready.rpartition("metrics=")[2].split()[0], "ray_object_store_used_memory")


def metric(address: str, name: str) -> float:
    """The sum of a metric's samples. raises: OSError while nobody serves it."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    values = [float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
    assert values, f"{address} has no metric {name}"
    return sum(values)
