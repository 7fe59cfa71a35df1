"""What every lane offers: the place where the calls of a worker run, and in what order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ray._runtime.execution.actor_host import ActorHost
    from ray._runtime.execution.execution import Execution
    from ray._runtime.execution.incoming import Incoming
    from ray._runtime.loop.latch import Gate


class Lane(Protocol):
    """One of SerialLane, ThreadedLane, LoopLane."""

    def arrived(self, calls: Sequence[Incoming]) -> None:
        """Calls came, on the thread that reads."""

    def cancel(self, task_id: bytes, force: bool) -> bool:
        """Cancel a call that waits, or as far as it can be one that runs. returns: whether it runs.

        force: the process is about to end if it runs, so there is nothing to interrupt.
        """

    def current(self) -> Execution | None:
        """The call whose code asks: the one of this thread, or of this asyncio task."""

    def running(self) -> list[tuple[Execution, bool]]:
        """The calls that run, and of each whether it is known to wait in get; on any thread."""

    def serve(self) -> None:
        """Run calls, on the main thread, until the executor has a reason to exit or the lane is changed."""

    def construct(self, actor: ActorHost) -> None:
        """Run the actor's constructor, on the main thread, before any call."""

    def look_around(self) -> None:
        """There is something for the main thread; safe from any thread and from a signal handler."""

    def hand_back(self) -> None:
        """A call has run for long: name what will not be started here, and let replies leave."""

    def drop_in_child(self) -> None:
        """In a process that user code forked: run none of what the parent had to run."""

    def begin_wait(self, gate: Gate | None) -> bool:
        """This thread is about to wait in get or wait. returns: whether its call's CPUs are lent meanwhile."""

    def end_wait(self, lent: bool) -> None:
        """It goes on. raises: KeyboardInterrupt when the call is to be interrupted."""
