"""Calls as coroutines: actors with an async method. Each concurrency group has an event loop of its own, on a thread.

The loop of the default group is the main thread's, and its selector reads the channels, so that a call becomes a task
of the loop without a hand-over between threads. Calls of named groups are handed to the threads of those, which are
started when they are first needed: a method that blocks its group's loop holds up no other group. While the main thread
is the one that is blocked, the stand-in reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ray._runtime.execution.concurrency import DEFAULT_GROUP, ConcurrencyGroups, UnknownGroup
from ray._runtime.execution.execution import RUNNING, Execution
from ray._runtime.execution.forked_child import end_forked_child
from ray._runtime.execution.group_loop import GroupLoop
from ray._runtime.execution.loop_selector import GroupSelector, LoopSelector
from ray._runtime.execution.threaded_lane import END_GRACE_S, tell_of_the_end

if TYPE_CHECKING:
    from ray._runtime.execution.actor_host import ActorHost
    from ray._runtime.execution.executor import Executor
    from ray._runtime.execution.incoming import Incoming
    from ray._runtime.loop.latch import Gate
    from ray._runtime.process.process import Process

log = logging.getLogger("ray.runtime")


class LoopLane:
    """See ray._runtime.execution.call_scheduler.Lane."""

    def __init__(self, process: Process, executor: Executor, groups: ConcurrencyGroups[Incoming]) -> None:
        self._process = process
        self._executor = executor
        self._calls = executor.calls
        self._groups = groups
        selector = LoopSelector(process.reactor, process.reading, self._before_wait)
        self._main = self._new(DEFAULT_GROUP, asyncio.SelectorEventLoop(selector))
        self._main.thread = threading.get_ident()
        # By group. Loops are added on the thread that reads alone.
        self._loops: dict[str, GroupLoop] = {DEFAULT_GROUP: self._main}
        self._warned = False
        # Guards who lent the CPUs.
        self._guard = threading.RLock()
        self.lent: Execution | None = None
        # When the main thread goes, whatever runs; 0.0 while the actor does not end.
        self._end_by = 0.0

    def _new(self, name: str, loop: asyncio.AbstractEventLoop) -> GroupLoop:
        return GroupLoop(self, self._process, self._executor, self._groups, self._groups.group(name), loop)

    # -- on whichever thread reads

    def arrived(self, calls: Sequence[Incoming]) -> None:
        if self._executor.exit_reason:
            # Here, for a loop may be blocked.
            for incoming in calls:
                self._calls.refuse(incoming)
            self._calls.replies.flush()
            return
        of_default = [incoming for incoming in calls if not incoming.task.concurrency_group]
        if len(of_default) < len(calls):
            self._hand_over([incoming for incoming in calls if incoming.task.concurrency_group])
        if of_default:
            self._main.arrived(of_default)

    def _hand_over(self, calls: Sequence[Incoming]) -> None:
        """Give calls of named groups to the loops of those."""
        by_loop: dict[GroupLoop, list[Incoming]] = {}
        for incoming in calls:
            name = incoming.task.concurrency_group
            loop = self._loops.get(name) or self._start(name, incoming)
            if loop is not None:
                by_loop.setdefault(loop, []).append(incoming)
        for loop, of_loop in by_loop.items():
            loop.arrived(of_loop)

    def _start(self, name: str, incoming: Incoming) -> GroupLoop | None:
        """The loop of a group whose first call comes; None when the call is answered with why there is none."""
        try:
            self._groups.group(name)
            event_loop = asyncio.SelectorEventLoop(GroupSelector(self._before_wait))
            loop = self._new(name, event_loop)
            try:
                threading.Thread(target=loop.serve, name=f"manta-{name}", daemon=True).start()
            except RuntimeError:
                event_loop.close()
                raise
        except UnknownGroup as error:
            self._calls.reject(incoming, ValueError(str(error)))
        except (OSError, RuntimeError) as error:
            # No thread or descriptor is to be had; the next call of the group tries again.
            log.warning("group_not_started group=%s error=%r", name, error)
            self._calls.reject(incoming, RuntimeError(f"no event loop for concurrency group {name!r}: {error}"))
        else:
            self._loops[name] = loop
            return loop
        self._calls.replies.flush()
        return None

    def cancel(self, task_id: bytes, force: bool) -> bool:
        for loop in list(self._loops.values()):
            loop.cancel(task_id)
        return True

    def hand_back(self) -> None:
        self._calls.replies.flush()

    def look_around(self) -> None:
        for loop in list(self._loops.values()):
            with contextlib.suppress(RuntimeError):  # the loop is closed: the worker is about to end
                loop.look_around()

    def drop_in_child(self) -> None:
        for loop in list(self._loops.values()):
            loop.drop_in_child()

    def _before_wait(self) -> None:
        """A loop, on its thread, has run all that was ready."""
        if self._process.is_fork:
            end_forked_child()
        self._calls.replies.flush()

    # -- the main thread

    def construct(self, actor: ActorHost) -> None:
        self._main.construct(actor)

    def serve(self) -> None:
        self._main.serve()

    def ended_here(self, loop: GroupLoop) -> None:
        """The actor ends, and a loop has looked at that, on its own thread."""
        if loop is self._main:
            self._end()
        elif loop.over:
            self._main.loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        """Stop the main thread's loop when no call runs any more, or they take too long."""
        now = time.monotonic()
        still = [loop for loop in list(self._loops.values()) if not loop.over]
        if not still or (self._end_by and now >= self._end_by):
            self._main.loop.stop()
        elif not self._end_by:
            self._end_by = now + END_GRACE_S
            self._main.loop.call_later(END_GRACE_S, self._end)
            tell_of_the_end(self._executor, sum(len(loop.calls_running()) for loop in still))

    # -- waiting

    def current(self) -> Execution | None:
        return RUNNING.get()

    def running(self) -> list[tuple[Execution, bool]]:
        loops = list(self._loops.values())
        return [(execution, execution is loop.blocked) for loop in loops for execution in loop.calls_running()]

    def begin_wait(self, gate: Gate | None) -> bool:
        execution = RUNNING.get()
        loop = self._loop_here()
        if execution is None or loop is None:
            return False
        if gate is not None and not self._warned:
            self._warned = True
            log.warning(
                "ray.get or ray.wait blocks the event loop of async actor %s, and with it all calls of its concurrency "
                "group; await the references instead, several with asyncio.gather or asyncio.wait",
                execution.name,
            )
        self._calls.replies.flush()
        loop.blocked = execution
        with self._guard:
            # The CPUs are needed as long as any loop with calls computes.
            others = [other for other in list(self._loops.values()) if other is not loop]
            if self.lent is None and not any(other.blocked is None and other.calls_running() for other in others):
                self.lent = execution
                self._executor.queue_blocked(execution, True)
        self._process.raylet.flush()
        return True

    def end_wait(self, lent: bool) -> None:
        loop = self._loop_here()
        if lent and loop is not None:
            loop.blocked = None
            self.resume()

    def resume(self) -> None:
        """A call computes: have the CPUs back at once if they are lent."""
        with self._guard:
            lender, self.lent = self.lent, None
            if lender is not None:
                self._executor.queue_blocked(lender, False)
        self._process.raylet.flush()

    def _loop_here(self) -> GroupLoop | None:
        here = threading.get_ident()
        return next((loop for loop in list(self._loops.values()) if loop.thread == here), None)
