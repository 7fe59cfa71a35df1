"""Calls of an arena's connection that ends in the middle of them, on a real socket with a stand-in behind it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from manta_common.channel.framing import encode_frame
from manta_common.channel.hello import HelloDecoder, hello_bytes
from manta_common.credentials import Token
from manta_common.version import PROTOCOL
from manta_proto.common.v1 import common_pb2
from manta_proto.object_manager.v1 import object_manager_pb2 as pb
from manta_proto.worker.v1 import worker_pb2
from ray._runtime.arena.arena_call import Call
from ray._runtime.arena.arena_client import ArenaClient
from ray._runtime.arena.arena_connection import ArenaConnection
from ray._runtime.arena.arena_errors import ArenaDisconnected

DEADLINE_S = 20.0
TOKEN = Token(b"token")
OBJECT = b"o" * 28


class StandIn:
    """Greets who connects, and says nothing more."""

    def __init__(self, path: str) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.greeted: list[socket.socket] = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            decoder = HelloDecoder(TOKEN)
            while decoder.feed(sock.recv(65536)) is None:
                continue
            arena = os.memfd_create("arena")
            os.ftruncate(arena, 4096)
            welcome = common_pb2.Welcome(details=pb.ArenaWelcome(size=4096).SerializeToString())
            data = encode_frame(worker_pb2.WELCOME, welcome.SerializeToString())
            socket.send_fds(sock, [data], [arena, arena])
            os.close(arena)
            self.greeted.append(sock)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for sock in self.greeted:
            sock.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "om.sock")
    stand_in = StandIn(path)
    yield path
    stand_in.close()


def hello() -> bytes:
    return hello_bytes(TOKEN, PROTOCOL, common_pb2.Hello().SerializeToString())


def client_of(path: str, **callbacks: Any) -> ArenaClient:
    return ArenaClient(path, hello, connect_timeout_s=1.0, **callbacks)


def connection_of(client: ArenaClient) -> ArenaConnection:
    return client._connected()


@pytest.mark.parametrize("end", ["broken", "closed"])
def test_a_call_that_is_made_while_the_connection_ends_is_told(
    served: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(served)
    connection = connection_of(client)
    monkeypatch.setattr(client, "_connected", lambda wait_s=None: connection)  # before it ended
    if end == "broken":
        connection.fail("the other thread saw it")
    else:
        client.close()
    told: list[Any] = []
    client.get_async(OBJECT, [], None, told.append)
    assert len(told) == 1 and isinstance(told[0], ArenaDisconnected)
    with pytest.raises(ArenaDisconnected):
        client.get(OBJECT)
    assert not connection.pending
    client.close()


def test_a_connection_that_broke_before_it_was_watched_is_not_watched_any_more(served: str) -> None:
    watched: list[int] = []
    client = client_of(served, on_connected=watched.append, on_disconnected=watched.remove)
    first = connection_of(client)
    assert watched == [first.fd]
    first.close()
    assert watched == []
    first.enter_epoll(watched.append, None)  # the thread that made it comes late
    assert watched == []
    client.close()


def test_who_reads_closes_what_another_thread_found_broken(served: str) -> None:
    client = client_of(served)
    connection = connection_of(client)
    call = Call(1, OBJECT)
    connection.begin(call)
    reads = threading.Event()

    def lead(*arguments: Any) -> None:
        reads.set()
        original(*arguments)

    original = connection._lead
    connection._lead = lead  # type: ignore[method-assign]
    reader = threading.Thread(target=lambda: connection.wait(call, None, lambda kind, payload: None, DEADLINE_S))
    reader.start()
    assert reads.wait(DEADLINE_S)
    connection.close()  # the reader holds the lock, or had it
    reader.join(DEADLINE_S)
    assert not reader.is_alive() and connection.socket.fileno() == -1
    client.close()


def test_who_comes_to_read_after_the_end_goes_again(served: str) -> None:
    client = client_of(served)
    connection = connection_of(client)
    call = Call(1, OBJECT)
    connection.begin(call)
    client.close()
    assert call.done
    connection._lead(call, 0.0, lambda _kind, _payload: None)  # it had looked at the call before that
    with pytest.raises(ArenaDisconnected):
        raise call.result
