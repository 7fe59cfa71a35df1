"""Processes that lost their parent below us: the supervisor adopts them and ends them with the node."""

import os
import signal

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, such as the workers of a killed raylet."""
    import ctypes  # costs 5 ms, which the start of the services hides

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def kill_all_children() -> None:
    """SIGKILL to all children and, as they are adopted in turn, all their descendants; returns when none is left."""
    while children := _children():
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            # At least one is dying, so this ends; the others are reaped in the next rounds.
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
        while _reap_one():
            continue


def _reap_one() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _children() -> list[int]:
    own = str(os.getpid())
    found: list[int] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    # The name, in parentheses, may hold anything; state and parent follow it.
                    parent = file.read().rpartition(")")[2].split()[1]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == own:
                found.append(int(entry))
    return found
