"""Interrupting the task that runs on a worker's main thread, and nothing but it.

A signal of our own makes the interpreter run `_on_signal` between two steps of whatever the main thread does. It raises
KeyboardInterrupt only if the task that is to be interrupted still runs, and only in the user's code: the runtime's own
code would be left half done. There the interrupt is put off: a wait at a gate is opened and raises at its end, and of
any other call into the runtime the user's frame behind it is traced, to its next line or its return. Where a debugger
traces already, the signal comes again instead.

A task that is stopped for good gets no KeyboardInterrupt, which it could catch: its thread stays where it is.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from manta_common.signals import set_handler

from ray._own_code import RUNTIME, is_ours
from ray._runtime.execution.execution import USER_CODE_BEGINS

if TYPE_CHECKING:
    from ray._runtime.execution.execution import Execution
    from ray._runtime.loop.reactor import Reactor

# Of the real-time signals, which nothing else of the interpreter uses; user code keeps SIGINT for itself.
INTERRUPT: Final = signal.SIGRTMAX - 3
# How long after one that hit the runtime's own code the signal comes again.
_AGAIN_S: Final = 0.002


class Interrupts:
    """The interrupts of one worker. `running()` is the task on the main thread; `lock` is the one that changes it.

    stay: keeps the main thread for ever if the task is stopped for good.
    """

    def __init__(
        self,
        reactor: Reactor,
        running: Callable[[], Execution | None],
        lock: threading.RLock,
        stay: Callable[[Execution], None],
    ) -> None:
        self._reactor = reactor
        self._stay = stay
        self._running = running
        self._lock = lock
        self._main = threading.main_thread().ident or 0
        self._installed = False

    def interrupt(self, execution: Execution) -> None:
        """Have KeyboardInterrupt raised in the running task's code. The lock is held, so it is still this task's."""
        execution.to_interrupt = True
        gate = execution.gate
        if gate is not None:
            gate.open()
        elif threading.get_ident() != self._main:
            signal.pthread_kill(self._main, INTERRUPT)
        else:
            # The main thread itself reads, inside the runtime: the signal is for later.
            self._reactor.call_later(_AGAIN_S, self._again)

    def strike(self, execution: Execution) -> NoReturn:
        """End the user's code here, on its thread. raises: KeyboardInterrupt, or does not return."""
        execution.to_interrupt = False
        if execution.stopped:
            self._stay(execution)
        raise KeyboardInterrupt

    def install(self) -> None:
        """Take the signal; called on the main thread of a worker, once."""
        set_handler(INTERRUPT, self._on_signal)

    def _on_signal(self, _number: int, frame: FrameType | None) -> None:
        execution = self._running()
        if execution is None or not execution.to_interrupt:
            return  # it ended meanwhile, and the next one is none of our business
        if in_user_code(frame):
            self.strike(execution)
        gate = execution.gate
        caller = calling_frame(frame)
        if gate is not None:
            gate.open()
        elif caller is not None and sys.gettrace() is None:
            self._raise_in(caller, execution)
        else:
            self._reactor.call_later(_AGAIN_S, self._again)

    def _raise_in(self, caller: FrameType, execution: Execution) -> None:
        """Interrupt the frame as soon as the runtime has returned to it."""

        def of_caller(_frame: FrameType, _event: str, _argument: Any) -> Any:
            sys.settrace(None)
            caller.f_trace = None
            if execution.to_interrupt and self._running() is execution:
                self.strike(execution)

        def of_others(_frame: FrameType, _event: str, _argument: Any) -> None:
            return None

        caller.f_trace = of_caller
        sys.settrace(of_others)

    def _again(self) -> None:
        with self._lock:
            execution = self._running()
            if execution is not None and execution.to_interrupt:
                self.interrupt(execution)


def calling_frame(frame: FrameType | None) -> FrameType | None:
    """The user's frame that called the runtime's code that runs now."""
    while frame is not None and not in_user_code(frame):
        frame = frame.f_back
    return frame


def in_user_code(frame: FrameType | None) -> bool:
    """Whether the innermost frame, and all up to the one that called the user's function, are the user's."""
    if frame is None or is_ours(frame.f_code.co_filename):
        return False
    while frame is not None:
        if frame.f_code in USER_CODE_BEGINS:
            return True
        if frame.f_code.co_filename.startswith(RUNTIME):
            return False
        frame = frame.f_back
    return False
