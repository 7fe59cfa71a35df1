"""What a program leaves running when it has ended: waited for, so that the next one is not measured beside it."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
# Upstream's services take some seconds to end after their driver has.
_PATIENCE_S: Final = 15.0
_LOOK_S: Final = 0.05


def adopt() -> None:
    """From now on processes whose parents end become children of this one. raises: OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def wait() -> int:
    """Until no child is left; those that do not end are killed. returns: how many were."""
    deadline = time.monotonic() + _PATIENCE_S
    killed: set[int] = set()
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return len(killed)
        if pid:
            continue
        if time.monotonic() > deadline:
            left = _children()
            for child in left:
                os.kill(child, signal.SIGKILL)
            killed |= left
        time.sleep(_LOOK_S)


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        found.update(map(int, (task / "children").read_text().split()))
    return found
