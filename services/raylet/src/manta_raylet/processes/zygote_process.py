"""The zygote's process: spawned so that it lives no longer than this one.

Imports the standard library alone: the raylet spawns its first zygote before it imports anything that takes long, so
that both import at the same time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ZYGOTE_LOG: Final = "zygote.log"  # in the folder of logs
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class ZygoteProcess:
    """connection: this side's end of the socket pair, non-blocking."""

    process: subprocess.Popen[bytes]
    connection: socket.socket


def spawn(command: Sequence[str], log_file: Path) -> ZygoteProcess:
    """Start one; its output goes to log_file. Main thread only: the kernel ties its life to the thread that forks it.

    raises: OSError when there is no such command or no process to be had.
    """
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def tie_to_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    with contextlib.ExitStack() as opened:
        log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        opened.callback(os.close, log)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.enter_context(theirs)
        try:
            ours.setblocking(False)
            process = subprocess.Popen(
                [*command, "--fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=tie_to_parent,
                process_group=0,
            )
        except OSError:
            ours.close()
            raise
    return ZygoteProcess(process, ours)
