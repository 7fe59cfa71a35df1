"""A process that cannot listen for TCP offers the other carrier."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from manta_common.credentials import Token
from ray._runtime.loop.io_thread import IoThread
from ray._runtime.transport.carrier import TCP
from ray._runtime.transport.remote import Remote


def test_no_room_for_a_tcp_listener_is_no_error_of_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_host: str) -> Any:
        raise OSError("no descriptors are left")

    monkeypatch.setattr("ray._runtime.transport.remote.bind_tcp", full)
    io = IoThread()
    process: Any = SimpleNamespace(io=io, tls=None, identity=SimpleNamespace(token=Token(b"t" * 32)))
    remote, opened = Remote(process), threading.Event()
    addresses: list[str] = []

    def done(address: str) -> None:
        addresses.append(address)
        opened.set()

    remote.open_endpoint("127.0.0.1", True, done)
    assert opened.wait(20)
    assert addresses[0].startswith("127.0.0.1:") and not addresses[0].startswith(TCP)
    remote.close()
    io.stop()
