"""No descriptor or thread is left in a driver, a worker or a supervisor: one request fails, and nothing else does."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from manta_proto.worker.v1 import worker_pb2
from ray._node import NodeOptions, NodeStartError, local_node, start_local
from ray._runtime.arena import arena_connection
from ray._runtime.arena.arena_connection import ArenaConnection
from ray._runtime.execution.concurrency import ConcurrencyGroups
from ray._runtime.execution.incoming import Incoming
from ray._runtime.execution.threaded_lane import ThreadedLane

from tests.integration.conditions import wait_for
from tests.unit.client.supervisor.test_supervisor_process import Supervised


def exhausted(*_: object, **__: object) -> Any:
    raise OSError(errno.EMFILE, "Too many open files")


def none_left(*_: object, **__: object) -> Any:
    raise RuntimeError("can't start new thread")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("name", ["pipe", "pidfd_open"])
def test_a_node_that_cannot_be_started_for_want_of_descriptors_says_so(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(local_node.os, name, exhausted)
        with pytest.raises(NodeStartError, match="RLIMIT_NOFILE"):
            start_local(NodeOptions(num_cpus=1, object_store_memory=100 << 20))
    assert descriptors() == before


def test_an_arena_that_cannot_be_connected_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = descriptors()
    with pytest.raises(FileNotFoundError):
        ArenaConnection(str(tmp_path / "none"), b"hello")
    with monkeypatch.context() as patch:
        patch.setattr(arena_connection.os, "eventfd", exhausted)
        with pytest.raises(OSError, match="Too many"):
            ArenaConnection(str(tmp_path / "none"), b"hello")
    assert descriptors() == before


class Calls:
    """In the place of a worker's CallRunner: keeps what becomes of calls."""

    def __init__(self) -> None:
        self.replies = SimpleNamespace(flush=lambda: None, overdue=lambda: True)
        self.ended: list[tuple[bytes, str]] = []
        self.done = threading.Condition()

    def refuse(self, incoming: Incoming) -> bool:
        return False

    def reject(self, incoming: Incoming, error: Exception) -> None:
        self._end(incoming, str(error))

    def perform(self, incoming: Incoming, execution: object) -> None:
        self._end(incoming, "done")

    def _end(self, incoming: Incoming, how: str) -> None:
        with self.done:
            self.ended.append((incoming.task.task_id, how))
            self.done.notify_all()

    def wait(self, count: int) -> list[tuple[bytes, str]]:
        with self.done:
            assert self.done.wait_for(lambda: len(self.ended) >= count, 20)
            return self.ended


def test_calls_for_which_there_is_no_thread_fail_and_later_ones_run(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls()
    executor: Any = SimpleNamespace(calls=calls, exit_reason="", end_after=lambda execution: None)
    lane = ThreadedLane(SimpleNamespace(), executor, ConcurrencyGroups(2, {}))  # type: ignore[arg-type]

    def arrive(*names: str) -> None:
        tasks = [worker_pb2.Task(task_id=name.encode()) for name in names]
        lane.arrived([Incoming(None, worker_pb2.Tasks(), task) for task in tasks])  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        arrive(*"abcd")
    assert [name for name, _ in calls.ended] == [b"a", b"b", b"c", b"d"]
    assert all("no thread can be started" in how for _, how in calls.ended)
    arrive("e")
    assert calls.wait(5)[-1] == (b"e", "done")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        arrive(*"fgh")  # by the thread that there is
        assert sorted(calls.wait(8)[5:]) == [(b"f", "done"), (b"g", "done"), (b"h", "done")]
    assert not lane.running()


def test_a_supervisor_that_cannot_write_its_log_goes_on(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path)
    try:
        message = supervised.ready()
        logs = Path(message["session_dir"]) / "logs"
        shutil.move(logs, tmp_path / "aside")
        gcs = message["services"]["gcs"]["pid"]
        os.kill(gcs, signal.SIGKILL)
        wait_for(lambda: not os.path.exists(f"/proc/{gcs}"), "the supervisor has seen its end")
        # Without the folder no service can be started either: it is tried until there is one.
        shutil.move(tmp_path / "aside", logs)
        wait_for(lambda: supervised.log().count("service_ready service=gcs") == 2, "the GCS is back")
        assert supervised.process.poll() is None
    finally:
        supervised.close()
