"""The worker processes of this node: from the core's wish to the end of the process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Final

from manta_common.ids import JobId, WorkerId
from manta_common.logs import get
from manta_common.process import explain_lack, lacks_room

from manta_raylet.core.node_core import NodeCore
from manta_raylet.kernel.commands import StartWorker
from manta_raylet.processes.child_processes import ChildProcesses
from manta_raylet.processes.worker_output import Sink
from manta_raylet.processes.worker_starter import WorkerStarter, WorkerSurroundings
from manta_raylet.processes.zygote_link import ZygoteLink
from manta_raylet.processes.zygote_process import ZYGOTE_LOG, ZygoteProcess
from manta_raylet.workers.worker_table import WorkerState

_log = get("manta_raylet.workers")

STOP_GRACE_S: Final = 2.0

OnExit = Callable[[WorkerId, int | None, list[str]], None]


class WorkerProcesses:
    """Joins zygote, pipes and pidfds. on_exit: a worker's or driver's process ended (status, last error lines)."""

    def __init__(
        self,
        surroundings: WorkerSurroundings,
        zygote_command: list[str],
        core: Callable[[], NodeCore],
        on_exit: OnExit,
        on_change: Callable[[], None],
        sink: Sink,
        early_zygote: ZygoteProcess | None,
    ) -> None:
        self._core = core
        self._on_exit = on_exit
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._children = ChildProcesses(self._exited, kills_children=surroundings.kills_children)
        self._starter = WorkerStarter(surroundings, self, sink)
        self._zygote = ZygoteLink(zygote_command, self, surroundings.log_dir / ZYGOTE_LOG, early_zygote)
        self._children.spared_pid = lambda: self._zygote.pid
        self._one_gone = asyncio.Event()

    def start(self) -> None:
        """Main thread only."""
        self._children.watch_children()
        self._zygote.start()

    async def can_start(self) -> None:
        """Return once workers can be forked."""
        await self._zygote.came_up()

    def watch_driver(self, worker_id: WorkerId, pid: int) -> None:
        """on_exit follows when it ends; idempotent. raises: OSError when there is no descriptor for it."""
        self._children.add_driver(worker_id, pid)

    def forget(self, worker_id: WorkerId) -> None:
        """A driver is not watched any more."""
        self._children.forget_driver(worker_id)

    def start_worker(self, command: StartWorker) -> None:
        core = self._core()
        job = core.jobs.get(command.key.job_id)
        if job is None:  # it ended in the same turn
            self.worker_start_failed(command.worker_id, f"job {command.key.job_id.hex()} has ended")
            return
        starting = core.pool.table.count(WorkerState.STARTING)
        try:
            self._starter.start(self._zygote, core.spec.node_id, command.worker_id, command.key, job, starting)
        except OSError as error:
            self.worker_start_failed(command.worker_id, _no_room_for_one_more(error), lacks_room(error))
        except ValueError as error:
            self.worker_start_failed(command.worker_id, str(error))

    def kill(self, worker_id: WorkerId) -> None:
        """Now, with its process group. One whose fork is not answered yet is killed when it is."""
        self._children.signal(worker_id, signal.SIGKILL)

    def kill_later(self, worker_id: WorkerId, grace_s: float) -> None:
        """When it has not ended by itself within grace_s; not when it was taken back into use."""
        self._loop.call_later(grace_s, self._kill_if_ending, worker_id)

    def _kill_if_ending(self, worker_id: WorkerId) -> None:
        worker = self._core().worker(worker_id)
        if worker is not None and worker.state is WorkerState.ENDING:
            self.kill(worker_id)

    def kill_all(self) -> None:
        for worker_id in self._children.workers():
            self.kill(worker_id)

    async def stop(self) -> None:
        """SIGTERM to all, SIGKILL after STOP_GRACE_S to those that are left; then the zygote."""
        for worker_id in self._children.workers():
            self._children.signal(worker_id, signal.SIGTERM)
        if not await self._all_gone(STOP_GRACE_S):
            self.kill_all()
            if not await self._all_gone(STOP_GRACE_S / 2):
                pids = [self._children.pid_of(worker_id) for worker_id in self._children.workers()]
                _log.error("workers_left_behind", pids=pids)
        self._zygote.stop()
        self._children.close()
        self._starter.close()

    def read_output(self, job_id: JobId) -> None:
        """Take what the job's workers have written so far."""
        self._starter.read_output(job_id)

    async def _all_gone(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while self._children.workers():
                    self._one_gone.clear()
                    await self._one_gone.wait()
        except TimeoutError:
            return False
        return True

    def _exited(self, worker_id: WorkerId, status: int | None) -> None:
        lines = self._starter.close_output(worker_id)
        self._one_gone.set()
        self._on_exit(worker_id, status, lines)

    # ---- what the zygote says

    def forked(self, request_id: int, pid: int) -> None:
        self._starter.forked(request_id, pid)

    def fork_failed(self, request_id: int, message: str, lacks_room: bool) -> None:
        self._starter.fork_failed(request_id, message, lacks_room)

    def fork_lost(self, request_id: int) -> None:
        self._starter.fork_lost(request_id)

    def exited(self, pid: int, status: int) -> None:
        self._children.exited(pid, status)

    def zygote_gone(self) -> None:
        self._children.statuses_come_from_here()

    # ---- what became of a start

    def worker_forked(self, worker_id: WorkerId, pid: int) -> None:
        try:
            self._children.add_worker(worker_id, pid)
        except OSError as error:
            self._starter.close_output(worker_id)
            self.worker_start_failed(worker_id, _no_room_for_one_more(error), lacks_room(error))
            return
        worker = self._core().worker(worker_id)
        if worker is not None:
            worker.pid = pid
        if worker is None or worker.state is WorkerState.ENDING:
            # Given up between the wish and the fork.
            self.kill(worker_id)

    def worker_start_failed(self, worker_id: WorkerId, message: str, lacks_room: bool = False) -> None:
        worker = self._core().worker(worker_id)
        _log.warning("worker_not_started", worker_id=worker_id, reason=message)
        if worker is not None:
            self._core().start_failed(worker, message, self._loop.time(), lacks_room)
            self._on_change()

    def worker_start_lost(self, worker_id: WorkerId) -> None:
        worker = self._core().worker(worker_id)
        if worker is not None:
            self._core().start_lost(worker, self._loop.time())
            self._on_change()


def _no_room_for_one_more(error: OSError) -> str:
    return f"the raylet has no room for another worker: {explain_lack(error)}"
