"""An interrupt hits the user's code of the task that it is meant for, and nothing else."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ray._runtime.execution.execution import Execution, Failure, run
from ray._runtime.execution.interrupts import INTERRUPT, Interrupts, in_user_code
from ray._runtime.loop.latch import Gate
from ray.exceptions import TaskCancelledError


class Timers:
    """What of a reactor the interrupts use: calls for later, run by the test."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def call_later(self, _delay_s: float, call: Callable[[], None]) -> None:
        self.calls.append(call)


class Worker:
    """The main thread of a worker: it runs one task at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: Execution | None = None
        self.timers = Timers()
        reactor: Any = self.timers
        self.stayed: list[Any] = []
        self.interrupts = Interrupts(reactor, lambda: self.running, self.lock, self.stayed.append)
        self.interrupts.install()

    def execution(self) -> Execution:
        process: Any = SimpleNamespace(
            is_fork=False,
            ip_address="127.0.0.1",
            output_name=lambda _actor, _name: None,
            executor=SimpleNamespace(actor=None),
        )
        task: Any = SimpleNamespace(task_id=b"t" * 24, name="f", method="", actor_id=b"")
        batch: Any = SimpleNamespace(caller=SimpleNamespace(node_id=b"", worker_id=b""))
        peer: Any = None
        return Execution(process, peer, batch, task)

    def cancel(self, execution: Execution) -> None:
        """As a cancel that another thread reads."""

        def interrupt() -> None:
            with self.lock:
                if self.running is execution:
                    self.interrupts.interrupt(execution)

        thread = threading.Thread(target=interrupt)
        thread.start()
        thread.join()


@pytest.fixture
def worker() -> Iterator[Worker]:
    before = signal.getsignal(INTERRUPT)
    yield Worker()
    signal.signal(INTERRUPT, before if before is not None else signal.SIG_DFL)


def test_the_user_s_code_is_interrupted(worker: Worker) -> None:
    execution = worker.running = worker.execution()

    def user() -> None:
        worker.cancel(execution)
        for _ in range(1_000_000):
            sys.getsizeof(0)
        raise AssertionError("it was not interrupted")

    with pytest.raises(Failure) as caught:
        run(execution, user, (), {})
    assert isinstance(caught.value.value.cause, TaskCancelledError)  # type: ignore[attr-defined]
    assert execution.cancelled and not execution.to_interrupt


def test_a_task_that_ended_meanwhile_passes_nothing_to_the_next(worker: Worker) -> None:
    first = worker.running = worker.execution()
    first.to_interrupt = True
    second = worker.running = worker.execution()

    def user() -> str:
        signal.raise_signal(INTERRUPT)
        return "whole"

    assert run(second, user, (), {}) == "whole"
    worker.running = None
    signal.raise_signal(INTERRUPT)
    assert not worker.timers.calls


def test_the_runtime_s_own_code_is_not_interrupted_but_what_follows_is(worker: Worker) -> None:
    execution = worker.running = worker.execution()
    gate = Gate(1)
    steps: list[str] = []

    def user() -> None:
        # In the runtime: `open` wakes its reader, which stands for any call into it.
        gate.reader = SimpleNamespace(wake_unless_handling=wake)  # type: ignore[assignment]
        gate.open()
        steps.append("went on")

    def wake() -> None:
        worker.cancel(execution)
        steps.append("woken")

    with pytest.raises(Failure) as caught:
        run(execution, user, (), {})
    assert isinstance(caught.value.value.cause, TaskCancelledError)  # type: ignore[attr-defined]
    assert steps == ["woken"]
    assert gate.opened
    assert sys.gettrace() is None


def test_a_loop_that_is_nearly_always_in_the_runtime_is_interrupted(worker: Worker) -> None:
    execution = worker.running = worker.execution()

    def user() -> None:
        begun.set()
        [Gate(1).one_ready() for _ in range(10_000_000)]
        raise AssertionError("it was not interrupted")

    begun = threading.Event()

    def cancel() -> None:
        begun.wait(10)
        with worker.lock:
            worker.interrupts.interrupt(execution)

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(Failure) as caught:
        run(execution, user, (), {})
    thread.join()
    assert isinstance(caught.value.value.cause, TaskCancelledError)  # type: ignore[attr-defined]


def test_under_a_debugger_the_signal_comes_again(worker: Worker) -> None:
    execution = worker.running = worker.execution()

    def user() -> str:
        gate = Gate(1)
        gate.reader = SimpleNamespace(wake_unless_handling=lambda: worker.cancel(execution))  # type: ignore[assignment]
        gate.open()
        return "whole"

    sys.settrace(lambda *_: None)
    try:
        assert run(execution, user, (), {}) == "whole"
    finally:
        sys.settrace(None)
    assert len(worker.timers.calls) == 1
    assert execution.to_interrupt


def test_a_wait_inside_the_runtime_is_opened(worker: Worker) -> None:
    execution = worker.running = worker.execution()
    execution.gate = Gate(1)
    worker.cancel(execution)
    assert execution.gate.opened
    assert execution.to_interrupt, "whoever waits there raises it"


def test_frames_outside_a_run_are_no_user_s() -> None:
    assert not in_user_code(sys._getframe())
    assert not in_user_code(None)
