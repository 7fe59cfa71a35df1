"""The standard output and error of the workers: into the session's log files and to those who listen."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Final

from manta_common.ids import JobId, WorkerId
from manta_common.logs import get

from manta_raylet.processes.last_errors import LastErrors
from manta_raylet.processes.log_backlog import LogBatch
from manta_raylet.processes.log_lines import LineSplitter

_READ_BYTES: Final = 64 * 1024
# Reads per pipe when a process has ended: what a pipe can hold, and a bound on what grandchildren go on writing.
_FINAL_READS: Final = 32

_log = get("manta_raylet.output")

Sink = Callable[[JobId, LogBatch], None]


class _Pipe:
    """One pipe of one worker."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.splitter = LineSplitter()
        self.file: int | None = None
        # Lines that came before the pid, which is in the file's name, was known. Bounded by what is read until then.
        self.early: list[bytes] = []


class WorkerOutput:
    """Both pipes of one worker. The write ends belong to the caller until they are sent away."""

    def __init__(self, worker_id: WorkerId, job_id: JobId, log_dir: Path, sink: Sink, spare: int = 0) -> None:
        """spare: how many descriptors are to stay free. raises: OSError when there are fewer."""
        self._worker_id = worker_id
        self._job_id = job_id
        self._log_dir = log_dir
        self._sink = sink
        self._pid = 0
        self._loop = asyncio.get_running_loop()
        self._last_errors = LastErrors()
        self.write_ends: list[int] = []
        self._pipes: dict[bool, _Pipe] = {}
        try:
            for is_error in (False, True):
                read_end, write_end = os.pipe2(os.O_CLOEXEC)
                self.write_ends.append(write_end)
                self._pipes[is_error] = _Pipe(read_end)
                os.set_blocking(read_end, False)
                self._loop.add_reader(read_end, self._readable, is_error)
            _keep_some_free(max(self.write_ends), spare)
        except OSError:
            self.close()
            raise

    def close_write_ends(self) -> None:
        """The worker has its copies; ours would keep the pipes open."""
        for descriptor in self.write_ends:
            os.close(descriptor)
        self.write_ends.clear()

    def started(self, pid: int) -> None:
        """The pid is known, and with it the names of the log files."""
        self._pid = pid
        for is_error, pipe in self._pipes.items():
            for data in pipe.early:
                self._handle(is_error, pipe, data)
            pipe.early.clear()

    def is_of(self, job_id: JobId) -> bool:
        return self._job_id == job_id

    def read_now(self) -> None:
        """Take what has been written, without waiting for the event loop to notice."""
        for is_error in list(self._pipes):
            for _ in range(_FINAL_READS):
                if is_error not in self._pipes or not self._readable(is_error):
                    break

    def close(self) -> list[str]:
        """Read what is left and close. returns: the last lines of standard error."""
        self.close_write_ends()
        self.read_now()
        for is_error in list(self._pipes):
            self._end(is_error)
        return self._last_errors.lines()

    def _readable(self, is_error: bool) -> bool:
        """Read once. returns: whether there may be more."""
        pipe = self._pipes[is_error]
        try:
            data = os.read(pipe.descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            _log.warning("worker_output_lost", worker_id=self._worker_id, reason=error.strerror)
            data = b""
        if not data:
            self._end(is_error)
            return False
        if self._pid:
            self._handle(is_error, pipe, data)
        else:
            pipe.early.append(data)
            # A pipe's worth is enough until the pid comes; the rest waits in the pipe.
            if len(pipe.early) > _FINAL_READS:
                pipe.early.pop(0)
        return True

    def _handle(self, is_error: bool, pipe: _Pipe, data: bytes) -> None:
        self._emit(is_error, pipe, pipe.splitter.feed(data))

    def _emit(self, is_error: bool, pipe: _Pipe, lines: list[tuple[str, str]]) -> None:
        if not lines:
            return
        if is_error:
            self._last_errors.extend(line for _, line in lines)
        if self._pid:  # a worker whose fork nobody told of has no name for a file
            self._write(is_error, pipe, "".join(f"{line}\n" for _, line in lines))
        start = 0
        for index in range(1, len(lines) + 1):
            if index == len(lines) or lines[index][0] != lines[start][0]:
                texts = tuple(line for _, line in lines[start:index])
                self._sink(self._job_id, LogBatch(lines[start][0], self._pid, is_error, texts))
                start = index

    def _write(self, is_error: bool, pipe: _Pipe, text: str) -> None:
        try:
            if pipe.file is None:
                # Not before its first line: of many workers most write none, and would each hold two files open.
                path = self._log_dir / f"worker-{self._worker_id.hex()}-{self._pid}.{'err' if is_error else 'out'}"
                pipe.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            os.write(pipe.file, text.encode(errors="backslashreplace"))
        except OSError as error:
            # A full disk must not stop the worker; its driver still sees the lines.
            _log.warning("worker_log_not_written", worker_id=self._worker_id, reason=error.strerror)

    def _end(self, is_error: bool) -> None:
        pipe = self._pipes.pop(is_error, None)
        if pipe is None:
            return
        self._loop.remove_reader(pipe.descriptor)
        os.close(pipe.descriptor)
        for data in pipe.early:
            self._handle(is_error, pipe, data)
        self._emit(is_error, pipe, pipe.splitter.flush())
        if pipe.file is not None:
            os.close(pipe.file)


def _keep_some_free(newest: int, spare: int) -> None:
    """raises: OSError when fewer than `spare` descriptors may be free; the kernel always gives the lowest number."""
    if newest + spare >= resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
        raise OSError(errno.EMFILE, "Too many open files")
