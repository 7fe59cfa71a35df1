"""One event loop and the calls that run on it as coroutines: those of one concurrency group of an async actor.

A call becomes a task of the loop. Methods that are not async run on the loop too and hold up the others of the group.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from ray._bare_error import exit_code
from ray._runtime.execution.execution import RUNNING, Execution, Failure, repr_or_class
from ray._runtime.execution.forked_child import end_forked_child
from ray._runtime.execution.generator_run import run_async_generator

if TYPE_CHECKING:
    from ray._runtime.execution.actor_host import ActorHost
    from ray._runtime.execution.call_runner import Call
    from ray._runtime.execution.concurrency import ConcurrencyGroups, Group
    from ray._runtime.execution.executor import Executor
    from ray._runtime.execution.incoming import Incoming
    from ray._runtime.execution.loop_lane import LoopLane
    from ray._runtime.process.process import Process

log = logging.getLogger("ray.runtime")


class GroupLoop:
    """All but `arrived`, `cancel`, `look_around` and `calls_running` is for the loop's thread.

    loop: it must run on the thread that calls `serve`, and send replies before it waits.
    """

    def __init__(
        self,
        lane: LoopLane,
        process: Process,
        executor: Executor,
        groups: ConcurrencyGroups[Incoming],
        group: Group[Incoming],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._lane = lane
        self._process = process
        self._executor = executor
        self._calls = executor.calls
        self._groups = groups
        self._group = group
        self.loop = loop
        # Of the loop's thread; before it runs, none.
        self.thread = 0
        # What the thread that reads has brought and the loop has not seen.
        self._inbox: collections.deque[Incoming] = collections.deque()
        self._running: dict[bytes, tuple[Execution, asyncio.Task[None]]] = {}
        # Calls begin in a copy of this, so that what one sets in its context is not seen by another.
        self._context = contextvars.copy_context()
        # The call that blocks the loop in ray.get.
        self.blocked: Execution | None = None
        self._ending = False
        # The actor ends, and no call runs here any more.
        self.over = False

    # -- on whichever thread reads

    def arrived(self, calls: Sequence[Incoming]) -> None:
        self._inbox.extend(calls)
        if threading.get_ident() == self.thread:
            self._admit()
        else:
            self.loop.call_soon_threadsafe(self._admit)

    def cancel(self, task_id: bytes) -> None:
        if threading.get_ident() == self.thread:
            self._cancel(task_id)
        else:
            self.loop.call_soon_threadsafe(self._cancel, task_id)

    def look_around(self) -> None:
        self.loop.call_soon_threadsafe(self.look)

    def calls_running(self) -> list[Execution]:
        # In one step for the interpreter, for this may be another thread than the loop's.
        return [execution for execution, _ in list(self._running.values())]

    # -- calls

    def _admit(self) -> None:
        inbox = self._inbox
        while inbox:
            incoming = inbox.popleft()
            if not self._calls.refuse(incoming) and self._groups.arrived(self._group, incoming):
                self._start(incoming)

    def _start(self, incoming: Incoming) -> None:
        if self._lane.lent is not None:
            self._lane.resume()
        execution = Execution(self._process, incoming.peer, incoming.batch, incoming.task)
        # Without create_task, which takes longer to name a task than the rest takes.
        call = self._run(incoming, execution)
        task = asyncio.Task(call, loop=self.loop, name="call", context=self._context.copy())
        self._running[incoming.task.task_id] = (execution, task)

    def _cancel(self, task_id: bytes) -> None:
        self._admit()  # it may be about one that came a moment ago
        running = self._running.get(task_id)
        if running is not None:
            execution, task = running
            execution.cancelled = True
            # One whose code has not begun looks by itself; our own code is not to be cancelled.
            if execution.function_name and not execution.returned:
                task.cancel()
            return
        waiting = next((call for call in self._group.waiting if call.task.task_id == task_id), None)
        if waiting is not None:
            self._group.waiting.remove(waiting)
            self._calls.cancel(waiting)

    async def _run(self, incoming: Incoming, execution: Execution) -> None:
        RUNNING.set(execution)
        executor = self._executor
        try:
            await self._perform(incoming, execution)
        except BaseException:
            # A bug of ours: who waits for this call's reply has to learn that none will come.
            log.exception("call_failed name=%s", execution.name)
            executor.exit(f"the runtime failed in a call of {execution.name}", 1)
        del self._running[incoming.task.task_id]
        executor.end_after(execution)
        if executor.exit_reason:
            if execution.exits and executor.left and self._lane.running():
                self._calls.leave(incoming, execution)
            self.look()
            return
        following = self._groups.ended(self._group)
        if following is not None:
            self._start(following)

    async def _perform(self, incoming: Incoming, execution: Execution) -> None:
        call: Call | None = None
        result: Any = None
        error: BaseException | None = None
        started = time.perf_counter_ns()
        try:
            if _is_large(incoming):
                # It may have to be brought from another node; other calls go on meanwhile.
                prepare = self._calls.prepare
                call = await self._aside(prepare, incoming, execution)
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
            await self._aside(self._calls.store, packed)
        self._calls.finish(packed)

    async def _aside(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run it on a helper's thread; here when the system has no thread to give."""
        try:
            done = self.loop.run_in_executor(self._process.helpers, function, *args)
        except RuntimeError:
            return function(*args)
        return await done

    async def _call(self, execution: Execution, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The user's code. raises: Failure with what it raised, or when it was cancelled and did not say so."""
        execution.begin(function)
        try:
            result = function(*args, **kwargs)
            # By its type: isinstance also asks the value's own __class__.
            kind = type(result)
            if kind is CoroutineType or issubclass(kind, Coroutine):
                result = await result
            if execution.cancelled:
                raise asyncio.CancelledError
        except Exception as error:
            if execution.cancelled and not self._process.is_fork:
                # Whatever the coroutine makes of its cancellation, its caller sees that.
                raise execution.cancellation(error) from None
            raise execution.ended_by(error) from None
        except BaseException as error:
            raise execution.ended_by(error) from None
        finally:
            # An async generator has still to be run.
            execution.returned = execution.task.num_returns >= 0
        if self._process.is_fork:
            end_forked_child()
        return result

    def construct(self, actor: ActorHost) -> None:
        """Have the loop begin with the constructor, which may be async and may use the loop."""
        self._construction = self.loop.create_task(self._construct(actor), context=self._context.copy())

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
        finally:
            self._executor.over(execution)

    def drop_in_child(self) -> None:
        """In a forked child: whatever was about to run here runs in the parent. A child that comes here ends."""
        ready: collections.deque[object] = self.loop._ready  # type: ignore[attr-defined]
        rounds = len(ready) + 1  # what is being run of them has been counted
        ready.clear()
        for _ in range(rounds):
            self.loop.call_soon(end_forked_child)

    # -- the loop's thread

    def serve(self) -> None:
        """Run the loop until it is stopped."""
        self.thread = threading.get_ident()
        asyncio.set_event_loop(self.loop)
        # The reason to end may have come before.
        self.loop.call_soon(self.look)
        while True:
            try:
                self.loop.run_forever()
                return
            except SystemExit as error:
                # Out of a task or callback of the user's own, where no call can end by it.
                self._executor.leave(f"sys.exit({repr_or_class(exit_code(error))}) was called on the event loop")

    def look(self) -> None:
        """When the actor is to end: refuse what waits, and say so once nothing runs any more."""
        if not self._executor.exit_reason:
            return
        if not self._ending:
            self._ending = True
            waiting, self._group.waiting = self._group.waiting, collections.deque()
            for incoming in (*waiting, *self._inbox):
                self._calls.refuse(incoming)
            self._inbox.clear()
        self.over = not self._running
        self._lane.ended_here(self)


def _is_large(incoming: Incoming) -> bool:
    """Whether an argument has to be brought."""
    return any(not argument.HasField("value") for argument in incoming.task.arguments)
