"""gRPC as every service and client uses it: one server and one channel factory, with token, version and TLS."""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

# gRPC's own fork handlers stop its threads in the parent and touch them in the child. User code that forks must harm
# neither; our children never use what they inherit.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from manta_common import logs
from manta_common.channel.framing import MAX_MESSAGE_BYTES
from manta_common.credentials import TlsFiles, Token
from manta_common.version import PROTOCOL, Version, VersionMismatch, check

if TYPE_CHECKING:  # 20 ms that processes without metrics of their own need not spend
    from manta_common.metrics import Metrics

# For callers: who imports grpc before this module would have its fork handlers.
StatusCode = grpc.StatusCode
RpcFailed = grpc.aio.AioRpcError
Channel = grpc.aio.Channel


_AUTHORIZATION: Final = "authorization"
_VERSION: Final = "manta-version"
_SCHEME: Final = "Bearer"
_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_COMMON_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Token, version and path fit many times over; strangers get to fill no more than this.
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
_SERVER_OPTIONS: Final = (
    *_COMMON_OPTIONS,
    # Without this two services could share a port, and each get some of the other's calls.
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    # Pings are answered, never punished: a GOAWAY for them would break a stream that is idle and well.
    ("grpc.http2.max_ping_strikes", 0),
)
_CHANNEL_OPTIONS: Final = (
    *_COMMON_OPTIONS,
    # A restarted service is found again within a second or two and not after gRPC's default of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # The user's http_proxy is for the world outside; nodes talk directly.
    ("grpc.enable_http_proxy", 0),
    # Each channel has a connection of its own, which closes with it.
    ("grpc.use_local_subchannel_pool", 1),
)

_log = logs.get("rpc")


class RpcServer:
    """A gRPC server that answers nobody without the cluster's token and a matching protocol version.

    Both are checked before any message is parsed, for every method and also for unknown ones.
    """

    def __init__(
        self, token: Token, tls: TlsFiles | None = None, part: str = "gcs", metrics: "Metrics | None" = None
    ) -> None:
        self._tls = tls
        self._part = part
        self._seconds = self._streams = None
        refused = None
        if metrics is not None:
            self._seconds = metrics.histogram("manta_rpc_seconds", "Unary calls", ["method", "code"], _BUCKETS)
            self._streams = metrics.gauge("manta_rpc_open_streams", "Streams that are open", ["method"])
            refused = metrics.counter("manta_rpc_refused", "Calls refused before they were parsed", ["reason"])
        self._methods: list[tuple[str, str]] = []
        gate = _Gate(token, part, lambda reason: refused.labels(reason=reason).inc() if refused else None)
        self._server = grpc.aio.server(interceptors=[gate], options=_SERVER_OPTIONS)

    @property
    def methods(self) -> list[tuple[str, str]]:
        """Every registered method as (full path, kind); kind is unary_unary, unary_stream and so on."""
        return list(self._methods)

    def add_service(self, service: ServiceDescriptor, implementation: object) -> None:
        """Serve a service with the implementation's methods of the same names, before start.

        Unary answers: async def name(request, context); streamed ones: an async generator of the same parameters.
        A streamed request is an async iterator. Bytes in place of an answer are its encoding. raises: TypeError
        naming methods that are missing.
        """
        missing = [
            method.name for method in service.methods if not callable(getattr(implementation, method.name, None))
        ]
        if missing:
            raise TypeError(
                f"{type(implementation).__name__} lacks methods of {service.full_name}: {', '.join(missing)}"
            )
        handlers = {}
        for method in service.methods:
            path, kind = _path(method), _kind(method)
            behaviour = self._measured(path, kind, getattr(implementation, method.name))
            handlers[method.name] = getattr(grpc, f"{kind}_rpc_method_handler")(
                behaviour,
                request_deserializer=GetMessageClass(method.input_type).FromString,
                response_serializer=_serialized,
            )
            self._methods.append((path, kind))
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))

    async def start(self, listen: str) -> str:
        """Serve on host:port. returns: the same with the port that port 0 chose. raises: OSError when it is taken."""
        host, _, _ = listen.rpartition(":")
        try:
            if self._tls is None:
                port = self._server.add_insecure_port(listen)
            else:
                ca, cert, key = self._tls.read()
                credentials = grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=True)
                port = self._server.add_secure_port(listen, credentials)
        except RuntimeError as error:
            raise OSError(f"the {self._part} cannot listen on {listen}; is another process there?") from error
        if port == 0:
            raise OSError(f"the {self._part} cannot listen on {listen}; is another process there?")
        await self._server.start()
        return f"{host}:{port}"

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, let those that run go on for grace_s, then cancel them."""
        await self._server.stop(grace_s)

    def _measured(self, path: str, kind: str, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        """The behaviour with its time, and with a log line for an exception that it did not turn into a status."""
        seconds, streams = self._seconds, self._streams

        async def answer_once(request: Any, context: Any) -> Any:
            started = time.perf_counter()
            code = "OK"
            try:
                return await behaviour(request, context)
            except grpc.aio.AbortError:
                code = _code_name(context.code())
                raise
            except Exception as error:
                code = "UNKNOWN"
                _log.exception("rpc_failed", method=path, error=repr(error))
                raise
            except BaseException:
                code = "CANCELLED"
                raise
            finally:
                if seconds is not None:
                    code = _code_name(context.code()) if code == "OK" and context.code() else code
                    seconds.labels(method=path, code=code).observe(time.perf_counter() - started)

        async def answer_many(request: Any, context: Any) -> AsyncIterator[Any]:
            open_streams = None if streams is None else streams.labels(method=path)
            if open_streams is not None:
                open_streams.inc()
            try:
                async with aclosing(behaviour(request, context)) as answers:
                    async for answer in answers:
                        yield answer
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                _log.exception("rpc_failed", method=path, error=repr(error))
                raise
            finally:
                if open_streams is not None:
                    open_streams.dec()

        return answer_many if kind.endswith("_stream") else answer_once


class _Gate(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Lets a call through to its method, or answers it with a status before its messages are parsed."""

    def __init__(self, token: Token, part: str, count: Callable[[str], None]) -> None:
        self._token = token
        self._part = part
        self._count = count

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Awaitable[grpc.RpcMethodHandler[Any, Any]]"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        refusal = self._refusal(handler_call_details)
        if refusal is None:
            return await continuation(handler_call_details)
        code, reason = refusal
        self._count(code.name.lower())
        _log.warning("rpc_refused", method=handler_call_details.method[:200], code=code.name, reason=reason)

        async def refuse(_: Any, context: Any) -> None:
            await context.abort(code, reason)

        # Without a deserializer, and as a stream that nobody reads: no byte of a stranger's message is looked at.
        return grpc.stream_stream_rpc_method_handler(refuse)

    def _refusal(self, call: grpc.HandlerCallDetails) -> tuple[grpc.StatusCode, str] | None:
        metadata = dict(call.invocation_metadata or ())
        authorization = str(metadata.get(_AUTHORIZATION, ""))
        scheme, _, candidate = authorization.partition(" ")
        if not self._token.matches(candidate.encode()) or scheme != _SCHEME:
            reason = "is not this cluster's" if authorization else "is missing"
            return grpc.StatusCode.UNAUTHENTICATED, f"the token {reason}; check MANTA_TOKEN or the token file"
        text = str(metadata.get(_VERSION, ""))
        try:
            check(Version.parse(text), peer="the caller")
        except VersionMismatch as error:
            return grpc.StatusCode.FAILED_PRECONDITION, f"{self._part}: {error}"
        except ValueError as error:
            return grpc.StatusCode.FAILED_PRECONDITION, f"{self._part} speaks protocol {PROTOCOL}; {_VERSION}: {error}"
        return None


def _serialized(answer: Message | bytes) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


class MultiCallable(Protocol):
    """A method of a channel. Unary: await it; streamed: iterate the call, or use its read and write.

    When a server ends a stream just as the client writes to it, gRPC may report INTERNAL "Internal error from Core"
    in place of the server's status: treat it as a broken stream and open another, which then tells the reason.
    """

    def __call__(self, request: Any = None, /, *, timeout: float | None = None, **options: Any) -> Any:
        """Start the call. options: metadata, wait_for_ready. raises, awaited: grpc.aio.AioRpcError."""


class _Authorized:
    """A multicallable of gRPC that adds the token and the version to each call.

    gRPC's client interceptors would do the same, but send each message of a stream through one more task.
    """

    __slots__ = ("_inner", "_metadata")

    def __init__(self, inner: Callable[..., Any], metadata: tuple[tuple[str, str], ...]) -> None:
        self._inner = inner
        self._metadata = metadata

    def __call__(self, *arguments: Any, metadata: Sequence[tuple[str, str]] | None = None, **options: Any) -> Any:
        merged = (*self._metadata, *metadata) if metadata else self._metadata
        return self._inner(*arguments, metadata=merged, **options)


class _Channel(grpc.aio.Channel):
    """A channel whose every method carries the token and the version."""

    def __init__(self, inner: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
        self._inner = inner
        self._metadata = metadata

    async def __aenter__(self) -> "_Channel":
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        return await self._inner.__aexit__(*error)

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        return _Authorized(self._inner.unary_unary(*arguments, **options), self._metadata)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        return _Authorized(self._inner.unary_stream(*arguments, **options), self._metadata)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        return _Authorized(self._inner.stream_unary(*arguments, **options), self._metadata)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        return _Authorized(self._inner.stream_stream(*arguments, **options), self._metadata)


def open_channel(
    address: str, token: Token, tls: TlsFiles | None = None, *, version: Version = PROTOCOL
) -> grpc.aio.Channel:
    """A channel to host:port that connects when first used and reconnects within seconds; close it when done.

    raises: CredentialError for TLS files that cannot be read. Call it on the event loop that will use it.
    """
    metadata = ((_AUTHORIZATION, f"{_SCHEME} {token.value.decode('ascii')}"), (_VERSION, str(version)))
    if tls is None:
        inner = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
    else:
        ca, cert, key = tls.read()
        credentials = grpc.ssl_channel_credentials(ca, key, cert)
        inner = grpc.aio.secure_channel(address, credentials, options=_CHANNEL_OPTIONS)
    return _Channel(inner, metadata)


def method(channel: grpc.aio.Channel, service: ServiceDescriptor, name: str) -> MultiCallable:
    """The multicallable of one method, unary or streamed as the descriptor says. Keep it; making one is not free.

    raises: LookupError when the service has no such method.
    """
    descriptor = service.methods_by_name.get(name)
    if descriptor is None:
        raise LookupError(f"{service.full_name} has no method {name!r}")
    make = getattr(channel, _kind(descriptor))
    return cast(
        MultiCallable,
        make(
            _path(descriptor),
            request_serializer=GetMessageClass(descriptor.input_type).SerializeToString,
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        ),
    )


def _path(descriptor: MethodDescriptor) -> str:
    return f"/{descriptor.containing_service.full_name}/{descriptor.name}"


def _kind(descriptor: MethodDescriptor) -> str:
    sides = (descriptor.client_streaming, descriptor.server_streaming)
    return "_".join("stream" if streaming else "unary" for streaming in sides)


def _code_name(code: Any) -> str:
    """The name of a status code, which gRPC gives as an enum or as its number."""
    if isinstance(code, grpc.StatusCode):
        return code.name
    return next((known.name for known in grpc.StatusCode if known.value[0] == code), "UNKNOWN")
