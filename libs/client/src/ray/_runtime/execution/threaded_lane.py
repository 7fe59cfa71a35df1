"""Calls side by side on threads: actors with max_concurrency above 1 or concurrency groups, and no async method.

The main thread reads and runs no methods. Each group has threads of its own, at most as many as its limit, made when
they are first needed: a thread that has ended a call takes the next of its group, so calls in a row need no hand-over.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ray._runtime.execution.concurrency import ConcurrencyGroups, Group, UnknownGroup
from ray._runtime.execution.execution import RUNNING, Execution
from ray._runtime.execution.incoming import Incoming
from ray._runtime.execution.replies import REPLY_DELAY_S
from ray._runtime.execution.serial_lane import LOOK_S
from ray._runtime.loop.latch import Gate

if TYPE_CHECKING:
    from ray._runtime.execution.actor_host import ActorHost
    from ray._runtime.execution.executor import Executor
    from ray._runtime.process.process import Process

log = logging.getLogger("ray.runtime")

# How long calls that run when their actor ends may take to come to their end.
END_GRACE_S: Final = 30.0


def tell_of_the_end(executor: Executor, calls: int) -> None:
    """Say in the actor's log why its process stays for a while."""
    log.warning(
        "the actor ends (%s) once the %d calls that still run have come to their end, after %.0f s at the latest; "
        "it takes no more calls",
        executor.exit_reason,
        calls,
        END_GRACE_S,
    )


Admitted = tuple[Incoming, Execution]


class _Threads:
    """The threads of one group: `idle` brings each of them its next call."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.idle: queue.SimpleQueue[Admitted] = queue.SimpleQueue()
        self.started = 0


class ThreadedLane:
    """See ray._runtime.execution.call_scheduler.Lane."""

    def __init__(self, process: Process, executor: Executor, groups: ConcurrencyGroups[Incoming]) -> None:
        self._process = process
        self._executor = executor
        self._calls = executor.calls
        self._replies = executor.calls.replies
        self._groups = groups
        self._threads = {group.name: _Threads(group.name) for group in groups.groups()}
        # Guards the groups, which calls run, and how many of them wait in get. Reentrant, for finalizers that run under
        # it, which may submit and not wait.
        self._guard = threading.RLock()
        self._running: dict[bytes, Execution] = {}
        self._blocked = 0
        self._lent: Execution | None = None
        self._idle = Gate(1)
        self._look_set = False
        self._main = threading.get_ident()

    # -- on whichever thread reads

    def arrived(self, calls: Sequence[Incoming]) -> None:
        for incoming in calls:
            if self._calls.refuse(incoming):
                continue
            try:
                group = self._groups.group(incoming.task.concurrency_group)
            except UnknownGroup as error:
                self._calls.reject(incoming, ValueError(str(error)))
                continue
            with self._guard:
                admitted = self._admit(incoming) if self._groups.arrived(group, incoming) else None
            if admitted is not None:
                self._start(group, admitted)
        self._replies.flush()

    def _admit(self, incoming: Incoming) -> Admitted:
        """The call runs from here on, also as a cancel sees it; the guard is held."""
        execution = Execution(self._process, incoming.peer, incoming.batch, incoming.task)
        self._running[incoming.task.task_id] = execution
        return incoming, execution

    def _start(self, group: Group[Incoming], admitted: Admitted) -> None:
        following: Admitted | None = admitted
        while following is not None:
            following = self._hand_over(group, following)

    def _hand_over(self, group: Group[Incoming], admitted: Admitted) -> Admitted | None:
        """Give the call to a thread of the group, a new one if need be. returns: another call, to be given in turn."""
        threads = self._threads[group.name]
        threads.idle.put(admitted)
        # Only here, on the thread that reads, so nobody else counts at once.
        if threads.started < group.running:
            name = f"manta-{group.name or 'call'}-{threads.started + 1}"
            try:
                threading.Thread(target=self._work, args=(group, threads), name=name, daemon=True).start()
            except RuntimeError as error:
                # The system has none to give. Those of the group that there are take the call; else it fails.
                log.warning("call_thread_not_started group=%s threads=%d error=%s", group.name, threads.started, error)
                if not threads.started:
                    return self._fail_without_thread(group, threads, error)
            else:
                threads.started += 1
        return None

    def _fail_without_thread(self, group: Group[Incoming], threads: _Threads, error: RuntimeError) -> Admitted | None:
        """Fail the call of a group that has no thread. returns: the one that waited behind it."""
        incoming, _ = threads.idle.get_nowait()
        self._calls.reject(incoming, RuntimeError(f"no thread can be started for this call: {error}"))
        with self._guard:
            del self._running[incoming.task.task_id]
            following = self._groups.ended(group)
            return self._admit(following) if following is not None else None

    def cancel(self, task_id: bytes, force: bool) -> bool:
        with self._guard:
            execution = self._running.get(task_id)
            if execution is not None:
                # Nothing can interrupt a thread: the method ends by itself, and may ask whether it is wanted.
                execution.cancelled = True
                return True
            waiting = next((call for call in self._groups.waiting() if call.task.task_id == task_id), None)
            if waiting is None or not self._groups.withdraw(waiting):
                return False
        self._calls.cancel(waiting)
        self._replies.flush()
        return False

    def hand_back(self) -> None:
        self._replies.flush()

    def look_around(self) -> None:
        self._idle.open()

    def drop_in_child(self) -> None:
        """No thread of ours is there; the one that forked comes back where a call ends."""

    # -- the main thread

    def construct(self, actor: ActorHost) -> None:
        execution = actor.execution()
        RUNNING.set(execution)
        actor.construct(execution)
        RUNNING.set(None)

    def serve(self) -> None:
        """Read until the actor ends, then let the calls that run come to their end."""
        while True:
            gate = self._idle = Gate(1)
            if self._executor.exit_reason:
                break
            self._process.reading.wait(gate, LOOK_S)
        deadline = time.monotonic() + END_GRACE_S
        with self._guard:
            still = len(self._running)
            waiting = self._groups.withdraw_all()
        if still:
            for incoming in waiting:
                self._calls.refuse(incoming)
            self._replies.flush()
            tell_of_the_end(self._executor, still)
        while (left := deadline - time.monotonic()) > 0:
            with self._guard:
                if not self._running:
                    return
                gate = self._idle = Gate(1)
            self._process.reading.wait(gate, left)

    # -- the threads

    def _work(self, group: Group[Incoming], threads: _Threads) -> None:
        while True:
            admitted: Admitted | None = threads.idle.get()
            while admitted is not None:
                admitted = self._run(group, *admitted)

    def _run(self, group: Group[Incoming], incoming: Incoming, execution: Execution) -> Admitted | None:
        """Run one call. returns: the next one of the group."""
        executor = self._executor
        if self._lent is not None:
            self._resume()
        RUNNING.set(execution)
        try:
            self._calls.perform(incoming, execution)
        except BaseException:
            # A bug of ours: who waits for this call's reply has to learn that none will come.
            log.exception("call_failed name=%s", execution.name)
            executor.exit(f"the runtime failed in a call of {execution.name}", 1)
        RUNNING.set(None)
        with self._guard:
            del self._running[incoming.task.task_id]
            executor.end_after(execution)
            following = self._groups.ended(group)
            ending = bool(executor.exit_reason)
            admitted = self._admit(following) if following is not None and not ending else None
            others_run = bool(self._running)
        if following is not None and ending:
            self._calls.refuse(following)
        if execution.exits and executor.left and others_run:
            self._calls.leave(incoming, execution)
        if admitted is None or self._replies.overdue():
            self._replies.flush()
        elif not self._look_set:
            self._look_set = True
            self._process.reactor.call_later(REPLY_DELAY_S, self._look_late)
        if ending:
            self._idle.open()
        return admitted

    def _look_late(self) -> None:
        self._look_set = False
        self._replies.flush()

    # -- waiting

    def current(self) -> Execution | None:
        return RUNNING.get()

    def running(self) -> list[tuple[Execution, bool]]:
        with self._guard:
            return [(execution, execution.waits > 0) for execution in self._running.values()]

    def begin_wait(self, gate: Gate | None) -> bool:
        execution = RUNNING.get()
        if execution is None:
            return False
        if self._guard._is_owned():  # type: ignore[attr-defined]
            from ray.exceptions import RaySystemError

            raise RaySystemError("a finalizer that runs where an actor takes its next call cannot wait for results")
        self._replies.flush()
        with self._guard:
            execution.waits += 1
            self._blocked += 1
            # The CPUs are needed as long as any call computes.
            if self._lent is None and self._blocked >= len(self._running):
                self._lent = execution
                self._executor.queue_blocked(execution, True)
        self._process.raylet.flush()
        return True

    def end_wait(self, lent: bool) -> None:
        if not lent:
            return
        execution = RUNNING.get()
        with self._guard:
            if execution is not None:
                execution.waits -= 1
            self._blocked -= 1
            self._take_back()
        self._process.raylet.flush()

    def _resume(self) -> None:
        """A call computes while the CPUs are lent."""
        with self._guard:
            self._take_back()
        self._process.raylet.flush()

    def _take_back(self) -> None:
        """Have the CPUs back at once; the guard is held."""
        lender, self._lent = self._lent, None
        if lender is not None:
            self._executor.queue_blocked(lender, False)
