"""A worker's side of tasks and calls: what arrives goes to the lane where it runs; why the worker ends, if it does.

A worker begins with the serial lane, which runs tasks. An actor that runs calls side by side moves it to another one.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2
from manta_proto.worker.v1 import worker_pb2

from ray._runtime.execution.call_runner import CallRunner
from ray._runtime.execution.call_scheduler import Lane
from ray._runtime.execution.execution import EXIT_MARK, Execution
from ray._runtime.execution.incoming import Incoming
from ray._runtime.execution.own_children import kill_children
from ray._runtime.execution.serial_lane import SerialLane
from ray._runtime.process.retirement import Retirement

if TYPE_CHECKING:
    from ray._runtime.execution.actor_host import ActorHost
    from ray._runtime.execution.process_title import WorkerTitle
    from ray._runtime.loop.latch import Gate
    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Peer


_INTENDED: Final = common_pb2.DeathCause.INTENDED
_FORCED: Final = "ray.cancel(force=True) ended the task that it ran"


class Executor:
    """Runs the tasks, or the actor, of one worker process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.calls = CallRunner(process)
        self.serial = SerialLane(process, self)
        self.lane: Lane = self.serial
        self.exit_reason = ""
        self.exit_code = 0
        # The actor in it chose to end, for good: calls that come from here on fail with that.
        self.left = False
        # It ends because it has served its time: first it waits until nobody needs what it owns.
        self.retires = False
        self.retirement = Retirement(process)
        self.title: WorkerTitle | None = None
        # An actor whose constructor the main thread has to run.
        self.to_start: ActorHost | None = None

    @property
    def actor(self) -> ActorHost | None:
        return self.calls.actor

    @property
    def current(self) -> Execution | None:
        """The call whose code asks; None in a driver, and in a thread of the user's in a concurrent actor."""
        return self.lane.current()

    # -- arriving, on whichever thread reads

    def on_tasks(self, peer: Peer, batch: worker_pb2.Tasks) -> None:
        for definition in batch.definitions:
            self.calls.on_definition(definition)
        self._process.task_events.look_later()
        self.lane.arrived([Incoming(peer, batch, task) for task in batch.tasks])

    def on_cancel(self, message: worker_pb2.Cancel) -> None:
        process = self._process
        if message.as_owner:
            process.canceller.cancel(message.task_id, message.force, message.recursive)
            return
        if not self.lane.cancel(message.task_id, message.force):
            return
        if message.recursive:
            process.canceller.cancel_children(message.task_id, message.force)
        if message.force and self.actor is None:
            self._end_by_force()

    def _end_by_force(self) -> None:
        """End the process with the task that it runs; but what others use of its objects must not go with it.

        While there is any, the user's code is stopped for good where it is, and its caller gets a reply.
        """
        process = self._process
        with process.lock:
            is_used = self.retirement.holds_what_others_use()
        stopped = self.serial.stop_for_good() if is_used else None
        if is_used and stopped is None:
            return  # it has come to its end, and its reply is on the way
        if stopped is not None:
            self.retires, self.exit_reason = True, _FORCED
            stopped.exits, stopped.retires = _FORCED, True
            self.lane.hand_back()
            self.calls.stopped(stopped)
        self.calls.replies.flush()
        if stopped is None:
            self._exit_by_force()
        self.retirement.begin(self._exit_by_force)

    def _exit_by_force(self) -> NoReturn:
        self.say_exiting(_FORCED)
        exit_process(1)

    def say_exiting(self, reason: str, kind: common_pb2.DeathCause.Kind = _INTENDED) -> None:
        """Tell the raylet that this worker ends, and why."""
        cause = common_pb2.DeathCause(kind=kind, message=reason)
        self._process.raylet.send(raylet_pb2.EXITING, raylet_pb2.Exiting(cause=cause).SerializeToString())

    def running_id(self) -> bytes:
        """The id of the task whose code asks; empty in a driver, and where current is None."""
        execution = self.lane.current()
        return execution.task.task_id if execution is not None else b""

    def taken_over(self) -> None:
        """User code has run for some milliseconds; on the stand-in's thread."""
        self.lane.hand_back()
        if self.lane is self.serial:
            # Where many run side by side that takes longer, and is left to who looks once a second.
            self.look()

    def look(self) -> list[tuple[Execution, bool]]:
        """As running() of the lane; what has run for long is named in the process's title from now on."""
        running = self.lane.running()
        if self.title is not None:
            self.title.look(time.time(), running)
        return running

    # -- the main thread

    def serve(self) -> str:
        """Run what comes until the worker is to end; returns why."""
        self.serial.interrupts.install()
        served: Lane | None = None
        # A lane has calls that run on other threads, and the actor may end by one before this thread comes here: they
        # have their time to come to an end all the same.
        while not self.exit_reason or served is not self.lane:
            served = self.lane
            served.serve()
        self.calls.replies.flush()
        return self.exit_reason

    def host(self, actor: ActorHost) -> None:
        """This worker is to be the actor's from now on."""
        self.calls.actor = self.to_start = actor
        self.lane.look_around()

    def take_actor(self) -> None:
        """Begin to be the actor, on the main thread."""
        actor, self.to_start = self.to_start, None
        assert actor is not None
        self.lane = actor.make_lane(self)
        if self.title is not None:
            self.title.idle(actor.spec.class_name)
        self.lane.construct(actor)

    def look_around(self) -> None:
        """There is something for the main thread; safe from any thread and from a signal handler."""
        self.lane.look_around()

    def exit(self, reason: str, code: int = 0) -> None:
        """End after what runs; safe from any thread. code: not 0 for an end that counts as a crash."""
        if not self.exit_reason:
            self.exit_code = code
            self.exit_reason = reason
        self.look_around()

    def leave(self, reason: str) -> None:
        """As exit, for an actor that chose to end."""
        self.left = self.left or not self.exit_reason
        self.exit(reason)

    def retire(self, reason: str) -> None:
        """As exit, but what this process owns stays as long as others need it."""
        self.retires = True
        self.exit(reason)

    def over(self, execution: Execution) -> None:
        """A call, or the constructor, has come to its end."""
        execution.over = True
        title = self.title
        if title is not None and title.named is execution:
            title.idle()

    def end_after(self, execution: Execution) -> None:
        """A call is over; end if it wants that."""
        self.over(execution)
        if execution.retires:
            self.retire(execution.exits)
        elif execution.exits and self.actor is not None and not execution.exit_code:
            self.leave(execution.exits)
        elif execution.exits:
            self.exit(execution.exits, execution.exit_code)

    def exit_actor(self) -> None:
        """Raise what ends the running call, and with it the actor. raises: TypeError outside an actor's call."""
        from ray.exceptions import AsyncioActorExit

        if self.actor is None:
            raise TypeError("exit_actor() can only be called in an actor's method, and this process runs no actor")
        if self.actor.spec.is_async:
            raise AsyncioActorExit
        # Not an Exception: user code that catches all of those must not keep the actor alive.
        leave = SystemExit(0)
        setattr(leave, EXIT_MARK, True)
        raise leave

    # -- waiting

    @contextmanager
    def lending(self, gate: Gate | None = None) -> Iterator[None]:
        """The running call waits, at the gate if one is given: what is behind it and its CPUs may go elsewhere.

        raises: KeyboardInterrupt at the end of a wait at a gate that a cancel opened.
        """
        lane = self.lane
        lent = lane.begin_wait(gate)
        try:
            yield
        finally:
            lane.end_wait(lent)

    def tell_blocked(self, execution: Execution, blocked: bool) -> None:
        """Tell the raylet that the worker waits, or goes on; it lends or takes back the CPUs."""
        self.queue_blocked(execution, blocked)
        self._process.raylet.flush()

    def queue_blocked(self, execution: Execution, blocked: bool) -> None:
        """As tell_blocked, sent by the next flush of the link to the raylet."""
        lease_id = execution.batch.lease_id
        if lease_id or self.actor is not None:
            kind = raylet_pb2.BLOCKED if blocked else raylet_pb2.UNBLOCKED
            self._process.raylet.queue(kind, raylet_pb2.Blocked(lease_id=lease_id).SerializeToString())


def exit_process(code: int) -> NoReturn:
    """End a worker at once but with its output written; the processes that user code started in it end too."""
    sys.stdout.flush()
    sys.stderr.flush()
    kill_children()
    os._exit(code)
