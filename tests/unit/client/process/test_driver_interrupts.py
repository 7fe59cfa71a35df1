"""When Ctrl-C has to wait: in the middle of what other threads rely on."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest
from ray._runtime.loop.reactor import Reactor
from ray._runtime.loop.reading import Reading
from ray._runtime.process.connect import in_the_middle
from ray._runtime.transport.socket_channel import SocketChannel


class Token:
    """A lock that asks, in the step after it is taken, whether an interrupt would have to wait."""

    def __init__(self) -> None:
        self.waits: list[bool] = []

    def acquire(self, blocking: bool = True) -> bool:
        self.waits.append(in_the_middle(sys._getframe()))
        return True

    def release(self) -> None:
        self.waits.append(in_the_middle(sys._getframe()))


def test_the_token_is_not_lost_by_an_interrupt() -> None:
    reactor = Reactor()
    token: Any = Token()
    reactor.token = token
    reading = Reading(reactor)
    assert reading.try_take()
    reading._parked = False
    reading.leave()
    assert token.waits == [True, True]
    assert not in_the_middle(sys._getframe())


def test_a_frame_that_was_counted_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    reactor = Reactor()
    left, right = socket.socketpair()
    with left, right:
        channel = SocketChannel(left, reactor, lambda _kind, _payload: None, lambda _reason: None)
        waits: list[bool] = []
        original = channel._gathered
        monkeypatch.setattr(channel, "_gathered", lambda: (waits.append(in_the_middle(sys._getframe())), original())[1])
        channel.send(1, b"a")
        assert waits and all(waits)
