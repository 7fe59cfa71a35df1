import asyncio
import errno
import socket
from pathlib import Path
from typing import cast

import pytest
from manta_common.channel.acceptor import Acceptor

LIMIT_S = 10.0


class Short(socket.socket):
    """There is no descriptor for the first connections."""

    refusals = 2

    def accept(self) -> tuple[socket.socket, object]:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


class Greeting(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.WriteTransport, transport).write(b"hello")
        transport.close()


async def test_those_who_connect_without_room_for_them_wait_until_there_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "s")
    listening = Short(socket.AF_UNIX)
    listening.bind(path)
    acceptor = Acceptor(listening, Greeting)
    acceptor.start(8)

    async def greeting() -> bytes:
        reader, writer = await asyncio.open_unix_connection(path)
        text = await reader.read(-1)
        writer.close()
        return text

    async with asyncio.timeout(LIMIT_S):
        assert await asyncio.gather(greeting(), greeting(), greeting()) == [b"hello"] * 3
    assert caplog.messages.count("connections_not_accepted") == 2
    acceptor.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_unix_connection(path)
