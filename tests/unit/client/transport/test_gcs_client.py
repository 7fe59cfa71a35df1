"""Requests to a GCS that has too much to do, answers nothing, or is left."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from manta_proto.gcs.v1 import gcs_pb2
from ray._runtime.loop.io_thread import IoStopped
from ray._runtime.transport.gcs_client import GcsClient
from ray.exceptions import RpcError


def client_with(io: Any) -> GcsClient:
    identity: Any = None
    return GcsClient(io, identity, ["127.0.0.1:1"], None)


@pytest.mark.parametrize("comes_to_it", [False, True])
def test_a_request_that_is_made_while_the_loop_ends_fails(comes_to_it: bool) -> None:
    calls: list[Any] = []
    loop = SimpleNamespace(call_soon_threadsafe=lambda *call: calls.append(call))
    gcs = client_with(SimpleNamespace(loop=loop, stopped=True))
    future = gcs.request(list_nodes=gcs_pb2.ListNodes())
    if comes_to_it:
        for call, *arguments in calls:
            call(*arguments)
    with pytest.raises(IoStopped):
        future.result(0)
    assert not gcs._unanswered


class Loop:
    """The loop of a process whose GCS says what the test says."""

    def __init__(self) -> None:
        self.stopped = False
        self.loop = asyncio.new_event_loop()

    def spawn(self, coroutine: Any) -> None:
        coroutine.close()  # no network

    def step(self) -> None:
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()


def test_a_request_that_met_a_full_inbox_is_sent_again_on_the_same_stream() -> None:
    io = Loop()
    gcs = client_with(io)
    future = gcs.request(list_nodes=gcs_pb2.ListNodes())
    io.step()
    (sent,) = gcs._outbox
    gcs._outbox.clear()
    full = gcs_pb2.GcsReply(request_id=sent.request_id, error=gcs_pb2.Error(code=gcs_pb2.Error.UNAVAILABLE))

    async def until_sent_again() -> None:
        gcs._take(full)
        assert not gcs._outbox, "not at once"
        assert gcs._more is not None
        gcs._more.clear()
        await asyncio.wait_for(gcs._more.wait(), 10)

    io.loop.run_until_complete(until_sent_again())
    assert gcs._outbox == [sent] and not future.done()
    gcs._take(gcs_pb2.GcsReply(request_id=sent.request_id, node_list=gcs_pb2.NodeList()))
    assert future.result(0).HasField("node_list")
    io.loop.close()


def test_a_call_that_gets_no_answer_ends_in_time_and_is_not_sent_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANTA_WAIT_FOR_GCS_S", "0.01")
    io = Loop()
    gcs = client_with(io)
    with pytest.raises(RpcError, match="MANTA_WAIT_FOR_GCS_S"):
        gcs.call(list_nodes=gcs_pb2.ListNodes())
    with pytest.raises(TimeoutError, match=r"0\.02 s"):
        gcs.call(0.02, list_nodes=gcs_pb2.ListNodes())
    io.step()
    assert not gcs._unanswered
    io.loop.close()
