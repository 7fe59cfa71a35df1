"""What the zygote does ahead of its forks leaves nothing behind in it but what it is for."""

import gc
import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2
from manta_proto.zygote.v1 import zygote_pb2
from ray._runtime import current
from ray._runtime.execution.interrupts import INTERRUPT
from ray._runtime.process import warm_up as rehearsal
from ray._runtime.process import worker_main
from ray._runtime.process.worker_main import Worker


def descriptors() -> set[str]:
    gc.collect()  # what tests before this one left to it
    return {name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}


def test_a_rehearsal_runs_a_worker_to_its_end_and_leaves_nothing() -> None:
    made: list[Worker] = []

    def make() -> Worker:
        made.append(Worker())
        return made[-1]

    before = descriptors(), threading.active_count(), sys.stdout, signal.getsignal(INTERRUPT), signal.getsignal(15)
    rehearsal.rehearse(make)
    after = descriptors(), threading.active_count(), sys.stdout, signal.getsignal(INTERRUPT), signal.getsignal(15)
    assert after == before
    assert current.runtime_or_none() is None
    assert len(made) == rehearsal.ROUNDS
    for worker in made:
        actor = worker.process.executor.actor
        assert actor is not None and type(actor.instance).__name__ == "Rehearsed"
        assert worker.process.executor.exit_reason == "the rehearsal is over"
        assert worker.process.peers.settled()


def test_a_rehearsal_that_breaks_off_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal._Partners, "call", rehearsal._Partners.end)
    with pytest.raises(RuntimeError, match="1 cues early"):
        rehearsal.rehearse(Worker)
    assert current.runtime_or_none() is None


def test_the_sockets_lie_in_the_folder_that_is_named_however_long_its_path_is(tmp_path: Path) -> None:
    folder = tmp_path / ("of_a_session_" + 100 * "x")
    folder.mkdir()
    seen: list[list[str]] = []

    def make() -> Worker:
        seen.append([path.name for path in folder.iterdir()])
        return Worker()

    rehearsal.rehearse(make, str(folder))
    assert [len(names) for names in seen] == [1] * rehearsal.ROUNDS
    assert not list(folder.iterdir())


def test_a_zygote_that_cannot_rehearse_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_make: object, _folder: str) -> None:
        raise OSError("no folder for sockets")

    monkeypatch.setattr(worker_main, "rehearse", refuse)
    worker_main.make_ahead()
    assert "rehearsal_failed" in caplog.text and "no folder for sockets" in caplog.text


def test_a_worker_that_is_prepared_has_no_descriptor_no_thread_and_no_id() -> None:
    before = descriptors(), threading.active_count(), current.runtime_or_none()
    fork = zygote_pb2.Fork(node_id=bytes(28), job_id=b"job1", token=b"token", socket_dir="/nowhere")
    worker = worker_main.prepare(fork)
    assert (descriptors(), threading.active_count(), current.runtime_or_none()) == before
    assert worker.process.job_id == b"job1" and worker.process.socket_dir == "/nowhere"
    for lacking in ("worker_id", "address", "ids"):
        assert not hasattr(worker.process, lacking)
    with pytest.raises(AttributeError):
        worker.process.reactor.fileno()


def test_a_prepared_worker_does_as_the_raylet_will_say_and_is_not_tuned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    details = raylet_pb2.RayletWelcome(max_lineage_bytes=77, tuning=raylet_pb2.Tuning(lease_idle_ms=250))
    welcome = details.SerializeToString(deterministic=True)
    process = worker_main.prepare(zygote_pb2.Fork(token=b"token", welcome=welcome)).process
    assert process.recovery.lineage.limit == 77 and process.tuning.lease_idle_s == 0.25
    tuned: list[bytes] = []
    monkeypatch.setattr(process, "tune", tuned.append)
    process.raylet_welcomed(process.raylet, common_pb2.Welcome(details=welcome))
    assert not tuned
    process.raylet_welcomed(process.raylet, common_pb2.Welcome(details=b""))
    assert tuned == [b""]
