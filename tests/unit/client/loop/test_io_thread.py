"""The event loop for gRPC: starts when first needed, and stays stopped."""

from __future__ import annotations

import threading

import pytest
from ray._runtime.loop.io_thread import IoStopped, IoThread
from ray._runtime.transport.grpc_channel import GrpcChannel


async def one() -> int:
    return 1


def io_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "manta-io"]


def test_it_starts_when_first_needed_and_ends_with_stop() -> None:
    io = IoThread()
    assert not io_threads()
    assert io.run(one()).result(10) == 1
    assert io_threads()
    io.stop()
    assert not io_threads()


@pytest.mark.filterwarnings("error")
def test_after_stop_it_says_so_and_does_not_start_again() -> None:
    io = IoThread()
    io.stop()
    with pytest.raises(IoStopped, match="was shut down"):
        io.run(one())
    with pytest.raises(IoStopped):
        _ = io.loop
    assert not io_threads()


def test_a_channel_that_is_closed_late_starts_nothing() -> None:
    io = IoThread()
    reasons: list[str] = []
    channel = GrpcChannel(io, lambda kind, payload: None, reasons.append)
    channel.queue(10, b"x")
    io.stop()
    channel.flush()
    channel.close("late")
    assert reasons == ["late"] and channel.closed and not io_threads()


def test_without_a_thread_for_it_nothing_is_left_of_it_and_it_can_start_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    io = IoThread()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        with pytest.raises(RuntimeError, match="new thread"):
            io.run(one())
        closed: list[str] = []
        channel = GrpcChannel(io, lambda kind, payload: None, closed.append, lambda channel: io.loop and None)
        channel.send(1, b"")
        channel.start()
        assert channel.closed and "new thread" in closed[0]
    assert io.run(one()).result(10) == 1
    io.stop()
