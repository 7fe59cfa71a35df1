"""The processes of this node as the kernel shows them: their ends, their exit statuses, their process groups."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from manta_common.ids import WorkerId
from manta_common.logs import get
from manta_common.process import open_pidfd

_log = get("manta_raylet.processes")

# From the end of a process to the zygote's word on how it ended; then it is told without.
STATUS_WAIT_S: Final = 0.25
# Statuses that came before their process was known to us.
_EARLY_STATUSES: Final = 1_000

OnExit = Callable[[WorkerId, int | None], None]


@dataclass(slots=True)
class _Child:
    worker_id: WorkerId
    pid: int
    pidfd: int
    is_worker: bool
    ended: bool = False
    timer: asyncio.TimerHandle | None = None


class ChildProcesses:
    """Watches workers and drivers by pidfd. on_exit gets the status, None when nobody could tell (drivers).

    kills_children: with a worker that is killed its children end, in sessions of their own too.
    """

    def __init__(self, on_exit: OnExit, *, kills_children: bool = True) -> None:
        self._kills_children = kills_children
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._by_worker: dict[WorkerId, _Child] = {}
        self._by_pid: dict[int, _Child] = {}
        self._early: OrderedDict[int, int] = OrderedDict()
        self._previous_handler: signal.Handlers | Callable[..., object] | int | None = None

    def watch_children(self) -> None:
        """Reap what becomes a child of ours: orphans of a zygote and of workers. Main thread only."""
        # The loop's own handler for this signal is reserved; a Python handler is run by the loop's wakeup all the same.
        self._previous_handler = signal.signal(signal.SIGCHLD, lambda *_: self._loop.call_soon(self._reap))

    def add_worker(self, worker_id: WorkerId, pid: int) -> None:
        """raises: OSError when there is no descriptor to watch it by; it is killed then."""
        try:
            self._add(worker_id, pid, True)
        except OSError:
            # Its parent has told of it a moment ago, and tells of its end: the pid is its own.
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                _log.debug("worker_gone_already", pid=pid)
            raise

    def add_driver(self, worker_id: WorkerId, pid: int) -> None:
        """raises: OSError when there is no descriptor to watch it by."""
        self._add(worker_id, pid, False)

    def forget_driver(self, worker_id: WorkerId) -> None:
        """Stop watching, as when a driver said that it goes."""
        child = self._by_worker.get(worker_id)
        if child is not None and not child.is_worker:
            self._drop(child)

    def pid_of(self, worker_id: WorkerId) -> int:
        child = self._by_worker.get(worker_id)
        return child.pid if child is not None else 0

    def signal(self, worker_id: WorkerId, number: signal.Signals) -> None:
        """Signal a worker; SIGKILL goes to its children and its whole process group, too.

        Nothing for a process that is gone.
        """
        child = self._by_worker.get(worker_id)
        if child is None or child.ended:
            return
        if number is signal.SIGKILL and child.is_worker and self._kills_children:
            _kill_children(child.pid)
        try:
            # By the pidfd: it can only be that very process.
            if child.pidfd >= 0:
                signal.pidfd_send_signal(child.pidfd, number)
        except ProcessLookupError:
            return
        if number is signal.SIGKILL and child.is_worker:
            _kill_group(child.pid)

    def workers(self) -> list[WorkerId]:
        return [worker_id for worker_id, child in self._by_worker.items() if child.is_worker]

    def exited(self, pid: int, status: int) -> None:
        """How a process ended, from its parent."""
        child = self._by_pid.get(pid)
        if child is None:
            self._early[pid] = status
            if len(self._early) > _EARLY_STATUSES:
                self._early.popitem(last=False)
            return
        self._finish(child, status)

    def statuses_come_from_here(self) -> None:
        """The zygote is gone: its children are ours now and reaped by us; some may have ended already."""
        self._reap()

    def close(self) -> None:
        if self._previous_handler is not None:
            signal.signal(signal.SIGCHLD, self._previous_handler)
        for child in list(self._by_worker.values()):
            self._drop(child)

    def _add(self, worker_id: WorkerId, pid: int, is_worker: bool) -> None:
        if worker_id in self._by_worker:
            return
        try:
            pidfd = open_pidfd(pid)
        except ProcessLookupError:
            pidfd = -1
        early = self._early.pop(pid, None) if is_worker else None
        child = _Child(worker_id, pid, pidfd, is_worker)
        self._by_worker[worker_id] = child
        self._by_pid[pid] = child
        if pidfd < 0 or early is not None:
            self._loop.call_soon(self._finish, child, early)
        else:
            self._loop.add_reader(pidfd, self._ended, child)

    def _ended(self, child: _Child) -> None:
        child.ended = True
        self._loop.remove_reader(child.pidfd)
        if not child.is_worker:
            self._finish(child, None)
            return
        # User code may have left children in the worker's group; its number stays taken while one of them lives.
        _kill_group(child.pid)
        status = _reaped_status(child.pid)
        if status is not None:
            self._finish(child, status)
        elif child.pid in self._early:
            self._finish(child, self._early.pop(child.pid))
        else:
            child.timer = self._loop.call_later(STATUS_WAIT_S, self._finish, child, None)

    def _finish(self, child: _Child, status: int | None) -> None:
        if self._by_worker.get(child.worker_id) is not child:
            return
        if child.is_worker:
            _kill_group(child.pid)
        self._drop(child)
        self._on_exit(child.worker_id, status)

    def _drop(self, child: _Child) -> None:
        if child.timer is not None:
            child.timer.cancel()
        if child.pidfd >= 0:
            self._loop.remove_reader(child.pidfd)
            os.close(child.pidfd)
            child.pidfd = -1
        self._by_worker.pop(child.worker_id, None)
        if self._by_pid.get(child.pid) is child:
            del self._by_pid[child.pid]

    def _reap(self) -> None:
        """Reap every dead child but the zygote, which its own link reaps."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            pid = found.si_pid
            if self._spared(pid):
                return
            status = _reaped_status(pid)
            if status is not None and pid in self._by_pid:
                self._finish(self._by_pid[pid], status)

    spared_pid: Callable[[], int] = staticmethod(lambda: 0)

    def _spared(self, pid: int) -> bool:
        return pid == self.spared_pid()


def _reaped_status(pid: int) -> int | None:
    """Exit code or minus the signal, when the process is a dead child of ours; None otherwise."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if found == pid else None


def _kill_children(pid: int) -> None:
    """Kill the direct children of a living worker. Whoever left it by a double fork is not among them."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        children = [child for thread in threads for child in _children_of(f"/proc/{pid}/task/{thread}/children")]
    except OSError as error:
        _log.debug("children_not_found", pid=pid, reason=str(error))
        return
    for found in children:
        try:
            os.kill(found, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _children_of(path: str) -> list[int]:
    with open(path) as file:
        return [int(word) for word in file.read().split()]


def _kill_group(pid: int) -> None:
    """Kill what is left of the group that a worker leads (each worker is a session leader)."""
    try:
        if os.getpgid(0) != pid:
            os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        _log.debug("group_empty", pid=pid)
