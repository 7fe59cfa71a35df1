"""Calls as coroutines on one event loop, on the main thread: actors with an async method.

The loop's selector reads the channels, so a call becomes a task of the loop without a hand-over between threads.
Methods that are not async run on the loop too and hold up the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
import time
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from ray._bare_error import exit_code
from ray._runtime.concurrency import ConcurrencyGroups, Group, UnknownGroup
from ray._runtime.execution import RUNNING, Execution, Failure, shown
from ray._runtime.generator_run import run_async_generator
from ray._runtime.loop_selector import LoopSelector
from ray._runtime.threaded_lane import END_GRACE_S

if TYPE_CHECKING:
    from ray._runtime.actor_host import ActorHost
    from ray._runtime.call_runner import Call
    from ray._runtime.executor import Executor
    from ray._runtime.gate import Gate
    from ray._runtime.incoming import Incoming
    from ray._runtime.process import Process

log = logging.getLogger("ray.runtime")


class LoopLane:
    """See ray._runtime.lane.Lane. All but `arrived`, `cancel` and `look_around` is for the main thread."""

    def __init__(self, process: Process, executor: Executor, groups: ConcurrencyGroups[Incoming]) -> None:
        self._process = process
        self._executor = executor
        self._calls = executor.calls
        self._groups = groups
        self._running: dict[bytes, tuple[Execution, asyncio.Task[None]]] = {}
        self._main = threading.get_ident()
        selector = LoopSelector(process.reactor, process.reading, self._calls.replies.flush)
        self._loop = asyncio.SelectorEventLoop(selector)
        # Calls begin in a copy of this, so that what one sets in its context is not seen by another.
        self._context = contextvars.copy_context()
        self._ending = False
        self._warned = False
        self._blocked: Execution | None = None

    # -- on whichever thread reads

    def arrived(self, calls: Sequence[Incoming]) -> None:
        if threading.get_ident() == self._main:
            self._admit(calls)
        else:
            self._loop.call_soon_threadsafe(self._admit, calls)

    def cancel(self, task_id: bytes, force: bool) -> bool:
        if threading.get_ident() == self._main:
            self._cancel(task_id)
        else:
            self._loop.call_soon_threadsafe(self._cancel, task_id)
        return True

    def hand_back(self) -> None:
        self._calls.replies.flush()

    def look_around(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker is about to end
            self._loop.call_soon_threadsafe(self._look)

    # -- calls

    def _admit(self, calls: Sequence[Incoming]) -> None:
        for incoming in calls:
            if self._calls.refuse(incoming):
                continue
            try:
                group = self._groups.group(incoming.task.concurrency_group)
            except UnknownGroup as error:
                self._calls.reject(incoming, ValueError(str(error)))
                continue
            if self._groups.arrived(group, incoming):
                self._start(group, incoming)

    def _start(self, group: Group[Incoming], incoming: Incoming) -> None:
        execution = Execution(self._process, incoming.peer, incoming.batch, incoming.task)
        # Without create_task, which takes longer to name a task than the rest takes.
        call = self._run(group, incoming, execution)
        task = asyncio.Task(call, loop=self._loop, name="call", context=self._context.copy())
        self._running[incoming.task.task_id] = (execution, task)

    def _cancel(self, task_id: bytes) -> None:
        running = self._running.get(task_id)
        if running is not None:
            execution, task = running
            execution.cancelled = True
            # One whose code has not begun looks by itself; our own code is not to be cancelled.
            if execution.function_name and not execution.returned:
                task.cancel()
            return
        waiting = next((call for call in self._groups.waiting() if call.task.task_id == task_id), None)
        if waiting is not None:
            self._groups.withdraw(waiting)
            self._calls.cancel(waiting)

    async def _run(self, group: Group[Incoming], incoming: Incoming, execution: Execution) -> None:
        RUNNING.set(execution)
        executor = self._executor
        try:
            await self._perform(incoming, execution)
        except BaseException:
            # A bug of ours: who waits for this call's reply has to learn that none will come.
            log.exception("call_failed name=%s", execution.name)
            executor.exit(f"the runtime failed in a call of {execution.name}", 1)
        executor.end_after(execution)
        del self._running[incoming.task.task_id]
        following = self._groups.ended(group)
        if executor.exit_reason:
            self._look()
        elif following is not None:
            self._start(group, following)

    async def _perform(self, incoming: Incoming, execution: Execution) -> None:
        call: Call | None = None
        result: Any = None
        error: BaseException | None = None
        started = time.perf_counter_ns()
        try:
            if _is_large(incoming):
                # It may have to be brought from another node; other calls go on meanwhile.
                prepare = self._calls.prepare
                call = await self._loop.run_in_executor(self._process.helpers, prepare, incoming, execution)
            else:
                call = self._calls.prepare(incoming, execution)
            if not execution.cancelled:
                started = time.perf_counter_ns()
                result = await self._call(execution, *call)
                if incoming.task.num_returns < 0:
                    await run_async_generator(self._process, incoming, execution, result)
                    result = None
        except Failure as failure:
            error = failure.value
        took_us = (time.perf_counter_ns() - started) // 1000
        # What the call still holds of its arguments is counted in a moment.
        call = None
        if error is not None:
            self._calls.failed(incoming, execution, error, took_us)
            return
        packed = self._calls.pack(incoming, execution, result, took_us)
        if packed is None:
            return
        if packed.large:
            # A copy, and perhaps a wait for room; other calls go on meanwhile.
            await self._loop.run_in_executor(self._process.helpers, self._calls.store, packed)
        self._calls.finish(packed)

    async def _call(self, execution: Execution, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The user's code. raises: Failure with what it raised."""
        execution.begin(function)
        try:
            result = function(*args, **kwargs)
            return await result if isinstance(result, Coroutine) else result
        except BaseException as error:
            raise execution.ended_by(error) from None
        finally:
            # An async generator has still to be run.
            execution.returned = execution.task.num_returns >= 0

    # -- the main thread

    def construct(self, actor: ActorHost) -> None:
        """Have the loop begin with the constructor, which may be async and may use the loop."""
        self._construction = self._loop.create_task(self._construct(actor), context=self._context.copy())

    async def _construct(self, actor: ActorHost) -> None:
        execution = actor.execution()
        RUNNING.set(execution)
        try:
            cls, args, kwargs = actor.prepare(execution)
            if asyncio.iscoroutinefunction(cls.__init__):
                instance = cls.__new__(cls)
                await self._call(execution, cls.__init__, (instance, *args), kwargs)
            else:
                instance = await self._call(execution, cls, args, kwargs)
        except Failure as failure:
            actor.failed(execution, failure.value)
        else:
            actor.constructed(instance)

    def serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        # The reason may have come while another lane was asked to look around.
        self._loop.call_soon(self._look)
        while not self._ending or self._running:
            try:
                self._loop.run_forever()
                return
            except SystemExit as error:
                # Out of a task or callback of the user's own, where no call can end by it.
                self._executor.exit(f"sys.exit({shown(exit_code(error))}) was called on the event loop")

    def _look(self) -> None:
        """Stop when the actor is to end and no call runs any more, or takes too long."""
        if not self._executor.exit_reason:
            return
        if not self._running:
            self._loop.stop()
        elif not self._ending:
            self._loop.call_later(END_GRACE_S, self._loop.stop)
        self._ending = True

    # -- waiting

    def current(self) -> Execution | None:
        return RUNNING.get()

    def running(self) -> list[tuple[Execution, bool]]:
        # In one step for the interpreter, for this may be another thread than the loop's.
        return [(execution, execution is self._blocked) for execution, _ in list(self._running.values())]

    def begin_wait(self, gate: Gate | None) -> bool:
        execution = RUNNING.get()
        if execution is None or threading.get_ident() != self._main:
            return False
        if gate is not None and not self._warned:
            self._warned = True
            log.warning(
                "ray.get or ray.wait blocks the event loop of async actor %s, and with it all its calls; "
                "await the references instead, several with asyncio.gather or asyncio.wait",
                execution.name,
            )
        self._calls.replies.flush()
        self._blocked = execution
        self._executor.tell_blocked(execution, True)
        return True

    def end_wait(self, lent: bool) -> None:
        if lent and self._blocked is not None:
            execution, self._blocked = self._blocked, None
            self._executor.tell_blocked(execution, False)


def _is_large(incoming: Incoming) -> bool:
    """Whether an argument has to be brought."""
    return any(not argument.HasField("value") for argument in incoming.task.arguments)
