"""Brings objects from other nodes: one thread a stream, which copies chunks into the arena while they are warm."""

import asyncio
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
from manta_common.credentials import TlsFiles, Token
from manta_common.threads import Threads
from pyarrow import flight

from manta_object_manager.flight_credentials import call_options
from manta_object_manager.flight_server import SIZE_KEY
from manta_object_manager.incoming import Incoming
from manta_object_manager.memory import ArenaMemory
from manta_object_manager.pulls import OpenStream

# Connections that are kept; a node that is asked again after that many others is connected to anew.
_CLIENTS: Final = 256
_THREADS_PER_STREAM: Final = 4
_OPTIONS: Final[list[tuple[str, int | str]]] = [
    # A machine that vanished sends no reset.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # The user's http_proxy is for the world outside; nodes talk directly.
    ("grpc.enable_http_proxy", 0),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


class _Broken(Exception):
    """A stream that cannot be used; the text says why."""


@dataclass(slots=True)
class _Stream:
    """What the loop tells a stream's thread: a destination, or None to stop."""

    command: OpenStream
    address: str
    destination: "queue.SimpleQueue[tuple[int, int] | None]" = field(default_factory=queue.SimpleQueue)
    stopped: bool = False
    answered: bool = False
    reader: Any = None


class FlightPuller:
    """The client's side of Flight. Its methods are for the event loop's thread.

    threads: at least the streams that Pulls opens at the same time.
    """

    def __init__(
        self,
        incoming: Incoming,
        memory: ArenaMemory,
        token: Token,
        tls: TlsFiles | None,
        loop: asyncio.AbstractEventLoop,
        *,
        threads: int,
    ) -> None:
        self._incoming = incoming
        self._memory = memory
        self._loop = loop
        self._scheme = "grpc+tls" if tls else "grpc+tcp"
        self._security: dict[str, Any] = {}
        if tls is not None:
            ca, cert, key = tls.read()
            self._security = {"tls_root_certs": ca, "cert_chain": cert, "private_key": key}
        self._options = call_options(token)
        self._streams: dict[int, _Stream] = {}
        self._clients: OrderedDict[str, flight.FlightClient] = OrderedDict()
        self._clients_lock = threading.Lock()
        # Stopped streams that wait for a frozen node end only when its connection does; they must not hold up others.
        self._unanswered_limit = threads
        self._threads = Threads(_THREADS_PER_STREAM * threads, "flight-pull")

    def open(self, command: OpenStream, address: str) -> None:
        """Ask the node at host:port for the object."""
        stream = _Stream(command, address)
        if self._unanswered(address) >= self._unanswered_limit:
            # Another thread would only wait with those, and be missing where a node answers.
            reason = f"{address} has not answered earlier requests"
            self._loop.call_soon(self._incoming.stream_broke, command, reason)
            return
        self._streams[command.attempt] = stream
        try:
            self._threads.submit(self._run, stream)
        except RuntimeError as error:  # the system has no thread to give
            self._loop.call_soon(self._ended, stream, self._incoming.stream_broke, (str(error),))

    def _unanswered(self, address: str) -> int:
        """Requests to that node that were given up, and still hold a thread."""
        streams = (stream for stream in self._streams.values() if stream.address == address)
        return sum(stream.stopped and not stream.answered for stream in streams)

    def receive(self, attempt: int, offset: int, size: int) -> None:
        """The range for the bytes is ready."""
        stream = self._streams.get(attempt)
        if stream is not None:
            stream.destination.put((offset, size))

    def stop(self, attempt: int) -> None:
        """End the stream soon; it still reports its end, after which its range is not touched any more."""
        stream = self._streams.get(attempt)
        if stream is None:
            return
        stream.stopped = True
        stream.destination.put(None)
        if stream.reader is not None:
            stream.reader.cancel()

    def close(self) -> None:
        """Stop every stream and wait for the threads."""
        for attempt in list(self._streams):
            self.stop(attempt)
        self._threads.shutdown(wait=True, cancel_futures=True)
        for client in self._clients.values():
            client.close()

    def _run(self, stream: _Stream) -> None:
        report: Callable[..., None] = self._incoming.stream_broke
        arguments: tuple[str, ...] = ()
        try:
            self._transfer(stream)
        except pa.ArrowKeyError as error:
            report, arguments = self._incoming.stream_missing, (f"{stream.address}: {error}",)
        except _Broken as error:
            arguments = (str(error),)
        except (pa.ArrowException, OSError, ValueError) as error:
            arguments = (f"{stream.address}: {error}",)
        except Exception as error:  # the end of a stream must be reported, whatever ended it
            arguments = (f"{stream.address}: {error!r}",)
        else:
            report = self._incoming.stream_arrived
        stream.reader = None
        self._tell(self._ended, stream, report, arguments)

    def _transfer(self, stream: _Stream) -> None:
        if stream.stopped:
            raise _Broken("stopped")
        address = stream.address
        # Returns when the node has sent the schema.
        reader = self._client(address).do_get(flight.Ticket(stream.command.object_id), self._options)
        stream.answered = True
        stream.reader = reader
        announced = (reader.schema.metadata or {}).get(SIZE_KEY, b"")
        if not announced.isdigit():
            raise _Broken(f"{address} announces a size of {announced!r} bytes")
        size = int(announced)
        self._tell(self._incoming.stream_opened, stream.command, size)
        destination = stream.destination.get()
        if destination is None or stream.stopped:
            reader.cancel()
            raise _Broken("stopped")
        offset, reserved = destination
        if reserved != size:
            raise _Broken(f"{reserved} bytes were reserved for {size}")
        received = self._copy(reader, offset, size, address)
        if received != size:
            raise _Broken(f"{address} ended the stream after {received} of {size} bytes")

    def _copy(self, reader: Any, offset: int, size: int, address: str) -> int:
        received = 0
        with memoryview(self._memory.view[offset : offset + size]) as view:
            writer = pa.FixedSizeBufferWriter(pa.py_buffer(view)) if size else None
            try:
                while True:
                    try:
                        chunk = reader.read_chunk().data
                    except StopIteration:
                        break
                    count = chunk.num_rows
                    if received + count > size:
                        raise _Broken(f"{address} sends more than the {size} bytes that it announced")
                    if count and writer is not None:
                        column = chunk.column(0)
                        # write() leaves the interpreter's lock while it copies.
                        writer.write(column.buffers()[1].slice(column.offset, count))
                    received += count
            finally:
                # Else the view cannot be let go, and that error would hide the one that ended the stream.
                del writer
        return received

    def _client(self, address: str) -> flight.FlightClient:
        with self._clients_lock:
            client = self._clients.get(address)
            if client is None:
                client = flight.FlightClient(f"{self._scheme}://{address}", generic_options=_OPTIONS, **self._security)
                self._clients[address] = client
            self._clients.move_to_end(address)
            if len(self._clients) > _CLIENTS:
                # Not closed here, since a stream may be using it; its end closes it.
                self._clients.popitem(last=False)
        return client

    def _ended(self, stream: _Stream, report: Callable[..., None], arguments: tuple[str, ...]) -> None:
        self._streams.pop(stream.command.attempt, None)
        report(stream.command, *arguments)

    def _tell(self, function: Any, *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError as error:
            raise _Broken("the object manager has stopped") from error
