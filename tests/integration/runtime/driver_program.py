"""Driver programs of the tests' own, each as a process with a temp root of its own."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.conditions import wait_for
from tests.integration.lifecycle.processes import expect_memory_files_within, memory_files, of_session, sockets_below

DEADLINE_S = 60.0


class DriverProgram:
    """A running program; lines are read as they come. As a context manager it leaves nothing, or the test fails."""

    def __init__(self, source: str, root: Path, **environment: str) -> None:
        root.mkdir(mode=0o700, exist_ok=True)
        path = root / "program.py"
        path.write_text(source)
        self.root = root
        self._memory = memory_files()
        self._errors = root / "stderr"
        own = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MANTA_"))}
        with self._errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**own, "MANTA_TMPDIR": str(root), "PYTHONUNBUFFERED": "1", **environment},
                start_new_session=True,
            )
        self._rest = b""
        self.lines: list[str] = []

    def __enter__(self) -> "DriverProgram":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        if error is None:
            self.expect_nothing_left()

    @property
    def stderr(self) -> str:
        return self._errors.read_text()

    def read_until(self, condition: Callable[[list[str]], object], timeout_s: float = DEADLINE_S) -> list[str]:
        """Read stdout until the condition holds for all lines so far, or it ends; returns those lines."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while not condition(self.lines):
            readable, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, f"not within {timeout_s:g} s; so far: {self.lines}\n{self.stderr}"
            chunk = os.read(self.process.stdout.fileno(), 65536)
            if not chunk:
                break
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self.lines += [line.decode() for line in lines]
        return self.lines

    def line_after(self, mark: str) -> str:
        """The rest of the first line that begins with the mark, waited for."""
        self.read_until(lambda lines: any(line.startswith(mark) for line in lines))
        found = [line for line in self.lines if line.startswith(mark)]
        assert found, f"no line {mark!r}; it ended with {self.lines}\n{self.stderr}"
        return found[0].removeprefix(mark).strip()

    def say(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def end(self, code: int = 0) -> list[str]:
        """Read to the end; the exit code must be the one given."""
        self.read_until(lambda lines: False)
        assert self.process.wait(DEADLINE_S) == code, f"{self.lines}\n{self.stderr}"
        return self.lines

    def pid_of(self, service: str) -> int:
        """The session's process of this console script, such as manta-gcs; forked workers share the zygote's name."""
        named = [pid for pid, command in of_session(str(self.root)).items() if f"/{service} " in command]
        found = [pid for pid in named if parent_of(pid) not in named]
        assert len(found) == 1, f"{service}: {of_session(str(self.root))}"
        return found[0]

    def expect_nothing_left(self, timeout_s: float = 5.0) -> None:
        root = str(self.root)
        wait_for(lambda: not of_session(root), f"no process is left, but: {of_session(root)}", timeout_s)
        assert sockets_below(self.root) == []
        expect_memory_files_within(self._memory)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def kill(pid: int) -> None:
    """SIGKILL, and wait until the process has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        ready, _, _ = select.select([descriptor], [], [], 10)
        assert ready, f"process {pid} survives SIGKILL"
    finally:
        os.close(descriptor)
