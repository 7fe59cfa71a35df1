"""Connecting to another process of this machine, without waiting for it."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

from manta_common.credentials import Token
from manta_proto.common.v1 import common_pb2
from ray._runtime.loop.reactor import Reactor
from ray._runtime.transport.carrier import Identity, open_unix
from ray._runtime.transport.session import Session

DEADLINE_S = 20.0


def test_a_peer_that_accepts_nobody_holds_up_nobody(tmp_path: Path) -> None:
    path = str(tmp_path / "peer")
    identity = Identity(common_pb2.DRIVER, b"n" * 28, b"w" * 28, b"j" * 4, Token(b"token"), "driver")
    refused: list[OSError] = []
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                waits = stack.enter_context(socket.socket(socket.AF_UNIX))
                waits.setblocking(False)
                waits.connect(path)

        def connect() -> None:
            try:
                open_unix(path, identity, Reactor(), lambda _kind, _payload: None, lambda _reason: None, Session())
            except OSError as error:
                refused.append(error)

        thread = threading.Thread(target=connect, daemon=True)
        thread.start()
        thread.join(DEADLINE_S)
        assert refused
