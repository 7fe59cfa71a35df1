"""What a process sent last is taken though there is no descriptor left to read it by."""

import errno
import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from manta_common.channel.framing import encode_frame
from manta_object_manager.client_id import ClientId
from manta_object_manager.client_server import LocalClient
from manta_proto.common.v1.common_pb2 import Hello


def test_the_rest_of_a_dead_client_is_read_without_another_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(descriptor: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    taken: list[tuple[int, bytes]] = []
    server: Any = SimpleNamespace(dispatch=lambda client, kind, payload: taken.append((kind, payload)))
    ours, theirs = socket.socketpair()
    transport: Any = SimpleNamespace(get_extra_info=lambda name: ours, is_closing=lambda: False)
    client = LocalClient(ClientId(7), Hello(), 1, server)
    client.connection_made(transport)
    theirs.sendall(encode_frame(20, b"last"))
    theirs.close()
    monkeypatch.setattr(os, "dup", exhausted)
    client.read_rest()
    assert taken == [(20, b"last")]
    assert ours.fileno() >= 0  # it stays the transport's
    ours.close()
