"""A TCP proxy before a real server that swallows bytes, in both directions or on the way back, when told to."""

from __future__ import annotations

import asyncio
import contextlib


class TcpProxy:
    """Forwards bytes to `upstream` (host:port); `endpoint` is what a client connects to."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = host, int(port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._lose_after: bytes | None = None
        self.reply_lost = asyncio.Event()

    @property
    def endpoint(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    def hold(self) -> None:
        """Let nothing pass, as a network that swallows packets."""
        self._passing.clear()

    def release(self) -> None:
        self._passing.set()

    def lose_replies(self, request: bytes | None) -> None:
        """From the first request with these bytes in it, a connection forwards no answer; None: answer again."""
        self._lose_after = request

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._upstream)
        deaf = asyncio.Event()
        pumps = [
            asyncio.create_task(self._pump(reader, back, deaf, upwards=True)),
            asyncio.create_task(self._pump(there, writer, deaf, upwards=False)),
        ]
        self._tasks.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for side in (back, writer):
            side.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event, upwards: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._passing.wait()
                if upwards and self._lose_after is not None and self._lose_after in data:
                    deaf.set()
                if deaf.is_set() and not upwards:
                    self.reply_lost.set()
                    continue
                writer.write(data)
                await writer.drain()

    async def __aenter__(self) -> TcpProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
