"""Requests to the GCS at the moment when the process leaves the cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from manta_proto.gcs.v1 import gcs_pb2
from ray._runtime.gcs_client import GcsClient
from ray._runtime.io_thread import IoStopped


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
