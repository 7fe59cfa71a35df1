"""One service as a child process: its start, its log, its ready line."""

import json
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

_READY_LIMIT = 64 * 1024


class ServiceError(Exception):
    """A service that cannot be started or that talks nonsense; the text names it."""


class ServiceProcess:
    """The running process of a service. `ready` is what it said when it began to serve."""

    def __init__(self, name: str, command: Sequence[str], bin_dirs: Sequence[str], log_file: str) -> None:
        """raises: ServiceError."""
        self.name = name
        self.ready: Mapping[str, Any] | None = None
        self._received = b""
        program = find_program(command[0], bin_dirs)
        try:
            reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise ServiceError(f"cannot start {program}: {error.strerror}") from error
        # The service's end: the only descriptor besides the standard ones that it inherits.
        os.set_inheritable(writer, True)
        os.set_blocking(writer, True)
        log = (os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self.pid = os.posix_spawn(
                program,
                [program, *command[1:], "--ready-fd", str(writer)],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log_file, *log),
                    (os.POSIX_SPAWN_OPEN, 2, log_file, *log),
                ],
                setsigmask=(),
                setsigdef=(signal.SIGHUP, signal.SIGPIPE, signal.SIGINT, signal.SIGTERM),
            )
        except OSError as error:
            os.close(reader)
            raise ServiceError(f"cannot start {program}: {error.strerror}") from error
        finally:
            os.close(writer)
        self.ready_fd = reader

    def read_ready(self) -> Mapping[str, Any] | None:
        """What has come of the ready line: the whole of it, or None so far. Sets ready_fd to -1 at the end.

        raises: ServiceError when it is no JSON object.
        """
        try:
            chunk = os.read(self.ready_fd, 4096)
        except BlockingIOError:
            return None
        self._received += chunk
        if not chunk:
            self.close()
        if b"\n" not in self._received:
            if len(self._received) > _READY_LIMIT:
                self.close()
                raise ServiceError(f"{self.name} wrote {len(self._received)} bytes without a line end to its ready fd")
            return None
        self.close()
        line = self._received.split(b"\n", 1)[0]
        try:
            said = json.loads(line)
        except ValueError as error:
            raise ServiceError(f"{self.name} wrote no JSON to its ready fd: {line[:200]!r}") from error
        if not isinstance(said, dict):
            raise ServiceError(f"{self.name} wrote no JSON object to its ready fd: {line[:200]!r}")
        self.ready = said
        return said

    def signal(self, number: int) -> None:
        # Not reaped yet, so the pid is still its own.
        os.kill(self.pid, number)

    def close(self) -> None:
        if self.ready_fd >= 0:
            os.close(self.ready_fd)
            self.ready_fd = -1


def find_program(name: str, bin_dirs: Sequence[str]) -> str:
    """raises: ServiceError naming the folders and the distribution to install."""
    for folder in bin_dirs:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    raise ServiceError(f"{name} is not in {' or '.join(bin_dirs)}; install it there: pip install {name}")


def last_lines(path: str, count: int = 20) -> str:
    """The end of a log file, at most 16 KiB; empty when there is none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 16384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""
