"""Ends of the zygote's children, noticed through a pipe that the signal handler's wakeup writes to."""

import os
import signal


class Children:
    """Must be made in the main thread. There is at most one in a process, for it owns SIGCHLD."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # The handler does nothing; without one, Python's wakeup descriptor is not written to.
        self._handler = lambda number, frame: None  # kept here: a child, which has another, need not free it
        signal.signal(signal.SIGCHLD, self._handler)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def fileno(self) -> int:
        return self._reader

    def reap(self) -> list[tuple[int, int]]:
        """(pid, exit code or minus the signal) of each child that has ended since."""
        try:
            os.read(self._reader, 4096)
        except BlockingIOError:
            return []
        ended: list[tuple[int, int]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            ended.append((pid, os.waitstatus_to_exitcode(status)))
