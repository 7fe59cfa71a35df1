"""The main thread's way through the lanes of a worker; without a process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ray._runtime.execution.executor import Executor


def an_executor(served: list[str]) -> Any:
    executor: Any = Executor.__new__(Executor)
    executor.exit_reason = ""
    executor.serial = SimpleNamespace(interrupts=SimpleNamespace(install=lambda: None))
    executor.calls = SimpleNamespace(replies=SimpleNamespace(flush=lambda: served.append("flush")))
    return executor


def test_a_worker_serves_until_there_is_a_reason_to_end() -> None:
    served: list[str] = []
    executor = an_executor(served)

    def serve() -> None:
        served.append("serial")
        executor.exit_reason = "idle" if len(served) == 3 else ""

    executor.lane = SimpleNamespace(serve=serve)
    assert executor.serve() == "idle"
    assert served == ["serial"] * 3 + ["flush"]


def test_an_actor_that_ends_before_its_lane_is_served_has_its_running_calls_awaited() -> None:
    served: list[str] = []
    executor = an_executor(served)
    threaded = SimpleNamespace(serve=lambda: served.append("threaded"))

    def serve() -> None:
        served.append("serial")
        executor.lane, executor.exit_reason = threaded, "exit_actor() was called"

    executor.lane = SimpleNamespace(serve=serve)
    assert executor.serve() == "exit_actor() was called"
    assert served == ["serial", "threaded", "flush"]
