"""What a session leaves on the machine: processes, sockets, shared memory."""

import contextlib
import os
import re
import select
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

DEADLINE_S = 30.0


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Check until it holds; there is no event to wait for in the state of foreign processes and files."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        select.select([], [], [], 0.01)


def of_session(marker: str) -> dict[int, str]:
    """pid -> command line of every process whose command line, folder or environment names the marker."""
    found: dict[int, str] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "Z":
                continue
            command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = Path(f"/proc/{entry}/environ").read_bytes().decode(errors="replace")
            if marker in command or marker in environment or marker in os.readlink(f"/proc/{entry}/cwd"):
                found[int(entry)] = command
    return found


def sockets_below(folder: Path) -> list[str]:
    """Unix sockets of the sessions below the folder, wherever their nodes have placed them."""
    logs = [path.read_text() for path in folder.glob("**/logs/supervisor.log")]
    placed = [path for log in logs for path in re.findall(r"sockets_placed folder=(\S+)", log)]
    paths = {
        os.path.join(parent, name) for top in (folder, *placed) for parent, _, names in os.walk(top) for name in names
    }
    return sorted(path for path in paths if stat.S_ISSOCK(os.stat(path).st_mode))


def memory_files() -> set[str]:
    """Without the folders of sockets: those of killed nodes stay until the next start, see sockets_below."""
    return {name for name in os.listdir("/dev/shm") if not name.startswith("manta-")}


def expect_memory_files_within(before: set[str]) -> None:
    """No file of shared memory came to stay; those of other programs of the machine come and go."""
    wait_for(lambda: memory_files() <= before, f"no shared memory is left, but: {memory_files() - before}")


@contextlib.contextmanager
def pidfd(pid: int) -> Iterator[int]:
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def kill_and_wait(pid: int) -> None:
    with pidfd(pid) as descriptor:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        ready, _, _ = select.select([descriptor], [], [], DEADLINE_S)
        assert ready, f"process {pid} survives SIGKILL"
