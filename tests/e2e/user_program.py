"""One user program as its own process: its output line by line, and what it leaves behind."""

import contextlib
import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.conditions import wait_for
from tests.integration.lifecycle.processes import expect_memory_files_within, memory_files, of_session, sockets_below

PROGRAMS = Path(__file__).parent / "programs"
WORKER_LINE = re.compile(r"\((?P<name>[^()]+?) pid=(?P<pid>\d+)\) (?P<text>.*)")
DEADLINE_S = 60.0
# What a killed or ended driver may take for its cluster to go.
GONE_S = 5.0


@dataclass
class Output:
    """What a program wrote to stdout: its own lines, and its workers' as (name, text)."""

    own: list[str] = field(default_factory=list)
    workers: list[tuple[str, str]] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)

    def add(self, line: str) -> None:
        match = WORKER_LINE.fullmatch(line)
        if match is None:
            self.own.append(line)
        else:
            self.workers.append((match["name"], match["text"]))
            self.pids.append(int(match["pid"]))


def run(name: str, root: Path, until: Callable[[Output], bool] = lambda output: True) -> Output:
    """Run programs/<name>.py with a temp root of its own; close its stdin once `until` holds for the output so far.

    raises: AssertionError when it fails, hangs, or leaves a process, a socket or a file in /dev/shm.
    """
    before = memory_files()
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MANTA_"))},
        "MANTA_TMPDIR": str(root),
        "RAY_DEDUP_LOGS": "0",
        "PYTHONUNBUFFERED": "1",
    }
    errors = root / "stderr"
    with errors.open("wb") as stderr:
        program = subprocess.Popen(
            [sys.executable, str(PROGRAMS / f"{name}.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            cwd=root,
        )
    output = Output()
    try:
        problem = _follow(program, output, until)
        assert problem is None, f"{problem}\n{output}\n{errors.read_text()}"
    finally:
        program.kill()
        program.wait()
        for stream in (program.stdin, program.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
    assert program.returncode == 0, f"exit code {program.returncode}\n{output}\n{errors.read_text()}"
    wait_for(lambda: not of_session(str(root)), f"all processes are gone, but: {of_session(str(root))}", GONE_S)
    assert sockets_below(root) == []
    expect_memory_files_within(before)
    return output


def _follow(program: "subprocess.Popen[bytes]", output: Output, until: Callable[[Output], bool]) -> str | None:
    """Read stdout to its end and wait for the process; says what went wrong."""
    assert program.stdin is not None and program.stdout is not None
    deadline = time.monotonic() + DEADLINE_S
    rest = b""
    descriptor = program.stdout.fileno()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not program.stdin.closed and until(output):
                program.stdin.close()
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return f"it goes on after {DEADLINE_S:g} s, {'with' if program.stdin.closed else 'without'} its output"
            chunk = os.read(descriptor, 65536)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                output.add(line.decode())
    if rest:
        output.add(rest.decode())
    try:
        program.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return f"it closed stdout and goes on after {DEADLINE_S:g} s"
    return None
