"""Breaks connections between processes that live on: Unix sockets under their owners, TCP between nodes by a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ray._runtime import current
from ray._runtime.transport.socket_channel import SocketChannel

# Closing with this discards what is queued and resets the connection.
_RESET = struct.pack("ii", 1, 0)


def cut_here() -> int:
    """Shut all Unix sockets of this process to its peers, under both ends. returns: how many."""
    cut = 0
    for peer in list(current.runtime().peers._peers.values()):
        for carrier in list(peer.carriers):
            if isinstance(carrier, SocketChannel) and not carrier.closed:
                with contextlib.suppress(OSError):
                    carrier._socket.shutdown(socket.SHUT_RDWR)
                    cut += 1
    return cut


def connections() -> int:
    """How many connections this process has had with its peers."""
    return sum(peer.connections for peer in list(current.runtime().peers._peers.values()))


@contextlib.contextmanager
def cutting(seed: int, cut: Callable[[], int], longest_pause_s: float) -> Iterator[list[int]]:
    """Call `cut` at seeded moments on a thread of its own. yields: how many connections each call broke."""
    pauses = random.Random(seed)
    stop = threading.Event()
    counts: list[int] = []

    def run() -> None:
        while not stop.wait(pauses.random() * longest_pause_s):
            counts.append(cut())

    thread = threading.Thread(target=run, name="cutter")
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()


class ResettingProxies:
    """TCP proxies, one before each address that is asked for; `reset` breaks all connections through them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._ports: dict[str, int] = {}
        self._servers: list[asyncio.Server] = []
        self._sockets: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies")
        self._thread.start()

    def before(self, address: str) -> str:
        """The address of the proxy that leads there."""
        scheme, host = ("tcp://", address[6:]) if address.startswith("tcp://") else ("", address)
        return address and f"{scheme}127.0.0.1:{self._run(self._port(host))}"

    def reset(self) -> int:
        """Break all connections. returns: how many."""
        return self._run(self._reset())

    def hold(self) -> None:
        """Let nothing pass until `release`, from the return of this on."""
        self._run(self._hold())

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._flowing.set)

    def close(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def _port(self, address: str) -> int:
        if address not in self._ports:

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._serve(address, reader, writer)

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            self._servers.append(server)
            self._ports[address] = server.sockets[0].getsockname()[1]
        return self._ports[address]

    async def _serve(self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = address.rpartition(":")
        try:
            there_reader, there_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        self._sockets |= {writer, there_writer}
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            pump = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                await self._flowing.wait()
                sink.write(data)
                await sink.drain()
        self._sockets.discard(sink)
        sink.close()

    async def _hold(self) -> None:
        self._flowing.clear()

    async def _reset(self) -> int:
        sockets, self._sockets = self._sockets, set()
        for writer in sockets:
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        return len(sockets) // 2

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        await self._reset()
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
