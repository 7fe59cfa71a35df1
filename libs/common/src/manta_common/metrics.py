"""A part's Prometheus metrics and the page that serves them."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from manta_common.channel.acceptor import Acceptor

Kind = TypeVar("Kind", Counter, Gauge, Histogram)

_REQUEST_LIMIT_BYTES: Final = 8192
_REQUEST_TIMEOUT_S: Final = 10.0
_PAGE_CONNECTIONS: Final = 32
_BACKLOG: Final = 100


class _Registry(CollectorRegistry):
    """A registry that adds constant labels to each sample on its way out, at no cost where it is counted."""

    def __init__(self, constant: dict[str, str]) -> None:
        super().__init__(auto_describe=True)
        self._constant = constant

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            labelled = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            labelled.samples = [self._with_constant(sample) for sample in metric.samples]
            yield labelled

    def _with_constant(self, sample: Sample) -> Sample:
        return sample._replace(labels={**self._constant, **sample.labels})


class Metrics:
    """The metrics of one part. Its own registry, so that several parts in one test process stay apart.

    Labels have few values: states, methods, names that the operator chose; never ids.
    """

    def __init__(self, part: str, **const_labels: str) -> None:
        self.registry: CollectorRegistry = _Registry({"part": part, **const_labels})
        self._known: dict[str, Counter | Gauge | Histogram] = {}
        self._texts: list[Callable[[], bytes]] = []
        self._server: Acceptor | None = None
        self._open: set[asyncio.StreamWriter] = set()
        ProcessCollector(registry=self.registry)

    def counter(self, name: str, doc: str, labels: Sequence[str] = ()) -> Counter:
        """What only grows; its sample's name ends in _total. The same one when asked for again."""
        return self._metric(Counter, name, doc, labels)

    def gauge(self, name: str, doc: str, labels: Sequence[str] = ()) -> Gauge:
        """What goes up and down; set_function reads it when the page is asked for, on the event loop."""
        return self._metric(Gauge, name, doc, labels)

    def histogram(
        self, name: str, doc: str, labels: Sequence[str] = (), buckets: Sequence[float] = Histogram.DEFAULT_BUCKETS
    ) -> Histogram:
        """A distribution, seconds unless the name says otherwise."""
        return self._metric(Histogram, name, doc, labels, buckets)

    def _metric(
        self, kind: type[Kind], name: str, doc: str, labels: Sequence[str], buckets: Sequence[float] = ()
    ) -> Kind:
        known = self._known.get(name)
        if known is not None:
            if not isinstance(known, kind) or tuple(known._labelnames) != tuple(labels):
                raise ValueError(f"metric {name} exists as {type(known).__name__} with labels {known._labelnames}")
            return known
        if kind is Histogram:
            made = kind(name, doc, labels, registry=self.registry, buckets=buckets)  # type: ignore[call-arg]
        else:
            made = kind(name, doc, labels, registry=self.registry)
        self._known[name] = made
        return made

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return b"".join((generate_latest(self.registry), *(text() for text in self._texts)))

    def names(self) -> set[str]:
        """The names of this part's metrics, as they are shown."""
        return {name for known in self._known for name in (known, f"{known}_total")}

    def add_text(self, text: Callable[[], bytes]) -> None:
        """Have the page end with what this gives, in the same format, under names that are not of `names`."""
        self._texts.append(text)

    async def serve(self, port: int, host: str = "127.0.0.1") -> int:
        """Serve http://host:port/metrics from this event loop. returns: the port, chosen when port is 0.

        raises: OSError when the port is taken.
        """
        info = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = info[0]
        sock = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            server = Acceptor(sock, self._page_protocol)
            server.start(_BACKLOG)
        except OSError:
            sock.close()
            raise
        self._server = server
        return int(sock.getsockname()[1])

    def _page_protocol(self) -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=_REQUEST_LIMIT_BYTES)
        return asyncio.StreamReaderProtocol(reader, self._answer)

    async def close(self) -> None:
        """Stop serving the page; nothing when it is not served."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for writer in list(self._open):
            writer.close()
            # One that is in the middle of its request ends it by an error, which is told there.
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= _PAGE_CONNECTIONS:
            writer.close()
            return
        self._open.add(writer)
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.writelines(self._response(request.split(b"\r\n", 1)[0]))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # A scraper that stalls, goes or sends no HTTP gets no page; the next scrape is its retry.
            writer.transport.abort()
        finally:
            self._open.discard(writer)
            writer.close()

    def _response(self, request_line: bytes) -> Iterable[bytes]:
        method, _, target = request_line.partition(b" ")
        path = target.split(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            status, body = "405 Method Not Allowed", b"only GET is served\n"
        elif path not in (b"/", b"/metrics"):
            status, body = "404 Not Found", b"the page is /metrics\n"
        else:
            status, body = "200 OK", self.page()
        kind = CONTENT_TYPE_LATEST if status.startswith("200") else "text/plain; charset=utf-8"
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return [head.encode(), b"" if method == b"HEAD" else body]
