"""What a process asks of the kernel about its own life and that of its children."""

import errno
import gc
import json
import os
import resource
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
# New objects that outnumber those that ended by so many have the collector look; Python's own figure is 700.
_COLLECT_EVERY: Final = 10_000

# What the kernel says when it has no more of something, and of what.
_LACKS: Final = {
    errno.EMFILE: "this process has too many descriptors (RLIMIT_NOFILE)",
    errno.ENFILE: "the machine has too many open files (fs.file-max)",
    errno.EAGAIN: "there are too many processes or threads (ulimit -u, pids.max of the control group, kernel.pid_max)",
    errno.ENOMEM: "the machine or the control group is out of memory",
    errno.ENOBUFS: "the kernel has no room for sockets",
    errno.ETOOMANYREFS: "too many descriptors are on their way between processes (RLIMIT_NOFILE)",
}


def die_with_parent(parent_pid: int = 0) -> None:
    """Have the kernel send SIGTERM to this process when the thread that started it ends.

    parent_pid: who should be the parent, as the parent wrote it down before it forked. With it, a parent that was
    gone before this call ends the process as well; without it only one that goes during the call is noticed.
    raises: OSError when the kernel refuses.
    """
    expected = parent_pid or os.getppid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # The signal is for deaths from now on; an orphan has another parent already.
    if os.getppid() != expected:
        os.kill(os.getpid(), signal.SIGTERM)


def fill_standard_descriptors() -> None:
    """Open /dev/null as each of the descriptors 0 to 2 that is closed, so that no socket gets its number."""
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:  # the kernel gives the lowest number that is free
        os.set_inheritable(null, True)
    os.close(null)


def set_child_subreaper() -> None:
    """Become the parent of descendants whose own parent ends. raises: OSError when the kernel refuses."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def collect_seldom() -> None:
    """For a service that is about to serve: the collector leaves what is alive now alone, and looks less often.

    What a service has at its start lasts; nearly all that comes later ends with its last reference. Looking through
    both took a tenth of a raylet's time while it started a thousand actors, and a fifth of the GCS's.
    """
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY, *gc.get_threshold()[1:])


def _prctl(option: int, value: int) -> None:
    import ctypes  # here, for few processes call this and the import takes milliseconds

    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_ulong(value), *(ctypes.c_ulong(0),) * 3]
    if libc.prctl(ctypes.c_int(option), *arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {value}): {os.strerror(number)}")


def open_pidfd(pid: int) -> int:
    """A descriptor of that very process, close-on-exec; a later process of the same pid is another.

    raises: ProcessLookupError when it is gone and reaped.
    """
    return os.pidfd_open(pid)


def lacks_room(error: OSError) -> bool:
    """Whether the kernel had no descriptor, process, thread or memory to give: others may end and make room."""
    return error.errno in _LACKS


def explain_lack(error: OSError) -> str:
    """What was lacking, and what would give more of it; for other errors what the kernel says."""
    if error.errno == errno.EMFILE:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"{error.strerror}: RLIMIT_NOFILE is {limit}; raise it with `ulimit -n` or LimitNOFILE="
    return f"{error.strerror}: {_LACKS[error.errno]}" if error.errno in _LACKS else str(error)


async def wait_pidfd(fd: int) -> None:
    """Wait until the process of open_pidfd has ended, reaped or not. The descriptor stays open.

    Any number of tasks may wait for the same one.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    # A loop keeps one reader a descriptor; without a copy a second waiter would replace the first.
    copy = os.dup(fd)
    try:
        loop.add_reader(copy, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(copy)
        os.close(copy)


def raise_nofile_limit() -> int:
    """Raise RLIMIT_NOFILE to its hard limit. returns: the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def report_ready(fd: int, report: Mapping[str, Any]) -> None:
    """Write one JSON line to the starter's pipe and close it; nothing when fd is negative.

    raises: BrokenPipeError when the starter is gone; the service has nobody to serve and should end.
    """
    if fd < 0:
        return
    with os.fdopen(fd, "w", encoding="utf-8") as pipe:
        pipe.write(json.dumps(report) + "\n")


def stop_on_signals(loop: "asyncio.AbstractEventLoop") -> "asyncio.Event":
    """An event that SIGTERM or SIGINT sets; call it in the main thread."""
    import asyncio

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
