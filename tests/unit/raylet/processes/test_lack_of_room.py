"""No descriptor, process or memory is left: the start of one worker fails, and nothing else does."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from manta_common.channel.framing import encode_frame
from manta_common.ids import JobId, WorkerId
from manta_common.version import PROTOCOL
from manta_proto.zygote.v1 import zygote_pb2
from manta_raylet.kernel.commands import RefuseLease, ReportActor, StartWorker
from manta_raylet.processes import child_processes, worker_output, zygote_link
from manta_raylet.processes.child_processes import ChildProcesses
from manta_raylet.processes.worker_output import WorkerOutput
from manta_raylet.processes.zygote_link import ZygoteLink
from manta_raylet.processes.zygote_process import ZygoteProcess
from manta_raylet.workers.worker_pool import NO_ROOM_PAUSE_S

from tests.unit.raylet.core_driver import CoreDriver, actor

DEADLINE_S = 10.0
WORKER, JOB = WorkerId(b"w" * 28), JobId(b"j" * 4)


def starts(driver: CoreDriver) -> list[StartWorker]:
    return [command for command in driver.commands if isinstance(command, StartWorker)]


def no_room(driver: CoreDriver) -> None:
    """None of the workers that are to start can."""
    for command in starts(driver):
        worker = driver.core.worker(command.worker_id)
        assert worker is not None
        driver.core.start_failed(worker, "no descriptor", driver.now, lacks_room=True)
    driver.settle()


# ---- the core


def test_tasks_wait_for_the_workers_that_there_are_when_no_other_can_start() -> None:
    driver = CoreDriver(cpu=3)
    first = driver.lease(request_id=1)
    for request_id in (2, 3):
        driver.want(request_id=request_id)
        no_room(driver)
    for _ in range(5):
        driver.now += NO_ROOM_PAUSE_S
        driver.settle()
        assert len(starts(driver)) == 2  # it tries again now and then
        no_room(driver)
        assert not starts(driver)  # and not at once
    driver.give_back(first)
    (second,) = driver.grants()
    assert second.worker_id == first.worker_id


def test_a_start_is_tried_again_as_soon_as_a_process_has_ended() -> None:
    driver = CoreDriver(cpu=2)
    first = driver.lease(request_id=1)
    driver.want(request_id=2)
    no_room(driver)
    assert not starts(driver)
    driver.die(first.worker_id)
    assert len(starts(driver)) == 1


def test_tasks_are_refused_with_the_reason_when_all_workers_wait_for_them() -> None:
    driver = CoreDriver(cpu=1)
    parent = driver.lease(request_id=1)
    worker = driver.core.worker(parent.worker_id)
    assert worker is not None
    driver.core.blocked(worker)
    driver.want(request_id=2)
    no_room(driver)
    for _ in range(2):
        driver.now += NO_ROOM_PAUSE_S
        driver.settle()
        no_room(driver)
    (refused,) = [command for command in driver.commands if isinstance(command, RefuseLease)]
    assert refused.request_id == 2 and "no descriptor" in refused.message


def test_an_actor_without_room_fails_with_the_reason_and_gives_its_cpu_back() -> None:
    driver = CoreDriver(cpu=1)
    driver.core.create_actor(actor(1, cpu=1), 1, driver.now)
    reports: list[ReportActor] = []
    driver.settle()
    while starts(driver):
        no_room(driver)
        reports += [command for command in driver.commands if isinstance(command, ReportActor)]
    (report,) = reports
    assert "no descriptor" in report.report.failure.message
    driver.want()
    assert len(starts(driver)) == 1


# ---- pipes


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_outputs_that_cannot_be_made_leave_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors()
    made: list[int] = []

    def one_pipe(flags: int) -> tuple[int, int]:
        if made:
            raise OSError(errno.EMFILE, "Too many open files")
        made.append(1)
        return os.pipe()

    with monkeypatch.context() as patch:
        patch.setattr(worker_output.os, "pipe2", one_pipe)
        with pytest.raises(OSError, match="Too many"):
            WorkerOutput(WORKER, JOB, tmp_path, lambda job, batch: None)
    assert descriptors() == before


async def test_a_worker_may_not_take_the_last_descriptors(tmp_path: Path) -> None:
    before = descriptors()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with pytest.raises(OSError, match="Too many"):
        WorkerOutput(WORKER, JOB, tmp_path, lambda job, batch: None, spare=limit)
    assert descriptors() == before
    WorkerOutput(WORKER, JOB, tmp_path, lambda job, batch: None, spare=8).close()
    assert descriptors() == before


# ---- pidfds


def no_pidfd(pid: int) -> int:
    raise OSError(errno.EMFILE, "Too many open files")


async def test_a_worker_that_cannot_be_watched_is_killed_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    children = ChildProcesses(lambda worker_id, status: None)
    monkeypatch.setattr(child_processes, "open_pidfd", no_pidfd)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=subprocess.PIPE)
    with pytest.raises(OSError, match="Too many"):
        children.add_worker(WORKER, process.pid)
    assert await asyncio.wait_for(process.wait(), DEADLINE_S) == -9
    assert children.workers() == []


# ---- the zygote


class Heard:
    """What the link tells; worker 1 has no room."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self._wanted = 0
        self._enough = asyncio.Event()

    async def wait(self, count: int) -> None:
        """Until so many things were told."""
        self._wanted = count
        self._enough.clear()
        if len(self.told) < count:
            await asyncio.wait_for(self._enough.wait(), DEADLINE_S)

    def forked(self, request_id: int, pid: int) -> None:
        if request_id == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        self.told.append(("forked", request_id))
        if len(self.told) >= self._wanted:
            self._enough.set()

    def fork_failed(self, request_id: int, message: str, lacks_room: bool) -> None:
        self.told.append(("failed", request_id, lacks_room))

    def fork_lost(self, request_id: int) -> None: ...
    def exited(self, pid: int, status: int) -> None: ...
    def zygote_gone(self) -> None: ...


@pytest.fixture
def stand_in() -> Iterator[tuple[ZygoteProcess, socket.socket]]:
    """A process in the zygote's place, and the zygote's end of its socket pair."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield ZygoteProcess(process, ours), theirs
    theirs.close()
    ours.close()
    process.kill()
    process.wait()


def say(theirs: socket.socket, kind: int, message: zygote_pb2.Ready | zygote_pb2.Forked) -> None:
    theirs.sendall(encode_frame(kind, message.SerializeToString()))


READY = zygote_pb2.Ready(version_major=PROTOCOL.major, version_minor=PROTOCOL.minor)


async def test_what_goes_wrong_with_one_worker_loses_no_news_of_others(
    stand_in: tuple[ZygoteProcess, socket.socket], tmp_path: Path
) -> None:
    zygote, theirs = stand_in
    heard = Heard()
    link = ZygoteLink(["none"], heard, tmp_path / "log", zygote)
    link.start()
    news = [zygote_pb2.Forked(request_id=number, pid=number) for number in (1, 2, 3)]
    say(theirs, zygote_pb2.READY, READY)
    # In one piece, as they are read.
    theirs.sendall(b"".join(encode_frame(zygote_pb2.FORKED, forked.SerializeToString()) for forked in news))
    await heard.wait(2)
    assert heard.told == [("forked", 2), ("forked", 3)]
    link.stop()


class FullSocket:
    """The kernel takes no more descriptors, as often as is said."""

    def __init__(self, real: socket.socket, times: int) -> None:
        self._real, self._times = real, times

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def sendmsg(self, *arguments: object) -> int:
        if self._times:
            self._times -= 1
            raise OSError(errno.ETOOMANYREFS, "Too many references: cannot splice")
        return self._real.sendmsg(*arguments)  # type: ignore[arg-type]


async def test_a_request_that_cannot_be_sent_waits_for_an_answer_to_another_or_fails(
    stand_in: tuple[ZygoteProcess, socket.socket], tmp_path: Path
) -> None:
    zygote, theirs = stand_in
    heard = Heard()
    link = ZygoteLink(["none"], heard, tmp_path / "log", zygote)
    link.start()
    say(theirs, zygote_pb2.READY, READY)
    await link.came_up()

    def ask(number: int) -> None:
        link.fork(zygote_pb2.Fork(request_id=number), list(os.pipe()))

    link._socket = FullSocket(zygote.connection, 1)  # type: ignore[assignment]
    ask(5)  # nothing is under way whose answer would make room
    assert heard.told == [("failed", 5, True)]
    ask(6)
    link._socket = FullSocket(zygote.connection, 1)  # type: ignore[assignment]
    ask(7)
    assert len(link._outgoing) == 1
    say(theirs, zygote_pb2.FORKED, zygote_pb2.Forked(request_id=6, pid=6))
    await heard.wait(2)
    assert heard.told == [("failed", 5, True), ("forked", 6)]
    assert not link._outgoing
    link.stop()


async def test_a_zygote_that_cannot_be_watched_is_ended_and_another_is_started(
    stand_in: tuple[ZygoteProcess, socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zygote, theirs = stand_in
    link = ZygoteLink(["none"], Heard(), tmp_path / "log", zygote)
    with monkeypatch.context() as patch:
        patch.setattr(zygote_link, "open_pidfd", no_pidfd)
        link.start()
    assert zygote.process.poll() == -9
    readable, _, _ = select.select([theirs], [], [], DEADLINE_S)
    assert readable and link._restart is not None
    link.stop()
