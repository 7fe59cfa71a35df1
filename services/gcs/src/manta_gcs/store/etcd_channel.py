"""Calls to an etcd cluster: one channel an endpoint, failover, login, and a timeout on everything."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from manta_common import logs
from manta_proto.etcd.v3 import rpc_pb2 as pb

from manta_gcs.store.backoff import Backoff
from manta_gcs.store.errors import LeaseEnded, OutcomeUnknown, StoreConfigError, StoreError, StoreUnavailable
from manta_gcs.store.etcd_errors import Verdict, verdict_of
from manta_gcs.store.etcd_methods import AUTHENTICATE, Method
from manta_gcs.store.url import EtcdUrl

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

MAX_RECEIVE_BYTES: Final = 64 * 1024 * 1024
# Of a call's timeout, what a repeated change must have left. Sent in the last moments it would be cut off before its
# answer, and end as unknown although nothing was applied.
LEAST_SHARE: Final = 0.25
CHANNEL_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    # A frozen member is noticed within 8 s. etcd allows one ping per 5 s.
    ("grpc.keepalive_time_ms", 6000),
    ("grpc.keepalive_timeout_ms", 2000),
    ("grpc.http2.ping_timeout_ms", 2000),
    ("grpc.http2.max_pings_without_data", 0),  # a quiet watch sends no data and needs its pings most
    # Without these, recovery after an outage waits for up to 2 minutes of backoff.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
    ("grpc.max_send_message_length", MAX_RECEIVE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),  # two stores in one process do not share connections or their faults
)

log = logs.get("manta_gcs.store")


class CallFailed(Exception):
    """A failed call with its meaning, for callers inside the driver that can answer some of them."""

    def __init__(self, operation: str, verdict: Verdict, reason: str) -> None:
        super().__init__(operation, verdict, reason)
        self.operation, self.verdict, self.reason = operation, verdict, reason

    def as_store_error(self, endpoint_names: str) -> StoreError | ValueError:
        match self.verdict:
            case Verdict.UNKNOWN:
                return OutcomeUnknown(self.operation, self.reason)
            case Verdict.CONFIG | Verdict.AUTH_OFF:
                return StoreConfigError(
                    endpoint_names, self.reason, "check the URL's user, password and rights in etcd"
                )
            case Verdict.BUG:
                return ValueError(f"{self.operation}: etcd refused the request: {self.reason}")
            case Verdict.LEASE_GONE:
                return LeaseEnded(0)
            case _:
                return StoreUnavailable(self.operation, self.reason)


class _Endpoint:
    """One member's address and channel."""

    def __init__(self, name: str, credentials: grpc.ChannelCredentials | None) -> None:
        self.name = name
        options = list(CHANNEL_OPTIONS)
        self.channel = (
            grpc.aio.insecure_channel(name, options)
            if credentials is None
            else grpc.aio.secure_channel(name, credentials, options)
        )
        self._calls: dict[str, Any] = {}

    def unary(self, method: Method[Q, R]) -> Any:
        """The callable of a unary method; grpc has no types for it."""
        call = self._calls.get(method.path)
        if call is None:
            call = self._calls[method.path] = self.channel.unary_unary(
                method.path, method.request.SerializeToString, method.response.FromString
            )
        return call

    def stream(self, method: Method[Q, R]) -> Any:
        return self.channel.stream_stream(method.path, method.request.SerializeToString, method.response.FromString)


class EtcdChannel:
    """Sends requests to whichever endpoint works; stays with one until it fails."""

    def __init__(self, url: EtcdUrl, rng: random.Random | None = None) -> None:
        """raises: StoreConfigError when a TLS file cannot be read. Connects at the first call."""
        self.url = url
        self._rng = rng or random.Random()
        credentials = _credentials(url)
        self._endpoints = [_Endpoint(name, credentials) for name in url.endpoints]
        self._current = 0
        self._token: str | None = None
        self._login_needed = url.user is not None
        self._login: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()

    async def close(self) -> None:
        """Close the channels; calls under way end with StoreUnavailable or OutcomeUnknown."""
        self.closed.set()
        for endpoint in self._endpoints:
            await endpoint.channel.close(None)
        if self._login is not None:
            await asyncio.gather(self._login, return_exceptions=True)

    # ---- unary calls ----

    async def read(self, method: Method[Q, R], request: Q, timeout_s: float | None = None) -> R:
        """A call that may safely be repeated: tried on each endpoint in turn until the timeout.

        raises: CallFailed with any verdict but UNKNOWN, NOT_SENT standing for "no answer in time".
        """
        return await self._call(method, request, timeout_s or self.url.timeout_s, repeatable=True)

    async def change(self, method: Method[Q, R], request: Q) -> R:
        """A call that must not be applied twice: repeated only when surely not applied, and while an answer may come.

        raises: CallFailed; UNKNOWN when it may have been applied. After refusals that can be a quarter of the timeout
        early.
        """
        return await self._call(method, request, self.url.timeout_s, repeatable=False)

    async def _call(self, method: Method[Q, R], request: Q, timeout_s: float, *, repeatable: bool) -> R:
        deadline = time.monotonic() + timeout_s
        backoff = Backoff(self._rng)
        # One frozen endpoint must leave time for the others.
        share_s = timeout_s / max(2, len(self._endpoints)) if repeatable else timeout_s
        least_s = 0.0 if repeatable else timeout_s * LEAST_SHARE
        reason = "no attempt was made"
        logins = 0
        while (left_s := deadline - time.monotonic()) > least_s:
            if self.closed.is_set():
                raise CallFailed(method.name, Verdict.NOT_SENT, "the store was closed")
            endpoint, token = self._endpoints[self._current], self._token
            try:
                await self._log_in_if_needed(min(left_s, share_s))
                token = self._token
                metadata = (("token", token),) if token else None
                result: R = await self._attempt(endpoint, method, request, min(left_s, share_s), metadata)
                return result
            except CallFailed as failure:
                reason = failure.reason
                match failure.verdict:
                    case Verdict.REAUTHENTICATE if self.url.user is not None and logins < 3:
                        logins += 1
                        self.forget_token(token)
                        continue
                    case Verdict.REAUTHENTICATE:
                        raise CallFailed(method.name, Verdict.CONFIG, reason) from failure
                    case Verdict.UNKNOWN if not repeatable and failure.operation == method.name:
                        self._leave(endpoint)
                        raise
                    case Verdict.NOT_SENT | Verdict.REFUSED | Verdict.UNKNOWN:
                        self._leave(endpoint)
                    case _:
                        raise
            await self.pause(min(backoff.delay_s(), max(0.0, deadline - least_s - time.monotonic())))
        raise CallFailed(method.name, Verdict.NOT_SENT, f"no answer within timeout_s={timeout_s:g}: {reason}")

    async def _attempt(
        self,
        endpoint: _Endpoint,
        method: Method[Q, R],
        request: Q,
        timeout_s: float,
        metadata: tuple[tuple[str, str], ...] | None,
    ) -> R:
        try:
            result: R = await endpoint.unary(method)(request, timeout=timeout_s, metadata=metadata)
            return result
        except grpc.aio.AioRpcError as error:
            raise self._failure(method.name, endpoint, error) from error
        except grpc.aio.UsageError as error:  # the channel was closed before the call began
            raise CallFailed(method.name, Verdict.NOT_SENT, f"the store was closed: {error}") from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.closed.is_set() and task is not None and not task.cancelling():
                raise CallFailed(method.name, Verdict.UNKNOWN, "the store was closed during the call") from None
            raise

    def _failure(self, operation: str, endpoint: _Endpoint, error: grpc.aio.AioRpcError) -> CallFailed:
        code, details = error.code(), error.details() or ""
        return CallFailed(operation, verdict_of(code, details), f"{endpoint.name}: {code.name}: {details}")

    def _leave(self, endpoint: _Endpoint) -> None:
        """Turn to the next endpoint, unless another call already did."""
        if self._endpoints[self._current] is endpoint and len(self._endpoints) > 1:
            self._current = (self._current + 1) % len(self._endpoints)
            log.warning("etcd_endpoint_left", endpoint=endpoint.name, next=self._endpoints[self._current].name)

    async def pause(self, seconds: float) -> None:
        """Wait between attempts, or until the store is closed."""
        try:
            async with asyncio.timeout(seconds):
                await self.closed.wait()
        except TimeoutError:
            return

    # ---- login ----

    def forget_token(self, token: str | None) -> None:
        """The server does not know this token any more: log in again before the next call."""
        if self.url.user is not None and self._token == token:
            self._token = None
            self._login_needed = True

    async def _log_in_if_needed(self, timeout_s: float) -> None:
        """One login serves all calls that wait for it."""
        if not self._login_needed:
            return
        if self._login is None or self._login.done():
            self._login = asyncio.create_task(self._log_in(timeout_s), name="etcd-login")
            # Those who wait get its failure; when all of them were cancelled, nobody needs it.
            self._login.add_done_callback(lambda login: login.cancelled() or login.exception())
        await asyncio.shield(self._login)

    async def _log_in(self, timeout_s: float) -> None:
        endpoint = self._endpoints[self._current]
        request = pb.AuthenticateRequest(name=self.url.user or "", password=self.url.password or "")
        try:
            reply = await self._attempt(endpoint, AUTHENTICATE, request, timeout_s, None)
        except CallFailed as failure:
            if failure.verdict is not Verdict.AUTH_OFF:
                raise
            log.warning("etcd_login_not_needed", endpoint=endpoint.name, user=self.url.user)
            self._token, self._login_needed = None, False
            return
        self._token, self._login_needed = reply.token, False
        log.info("etcd_logged_in", endpoint=endpoint.name, user=self.url.user)

    # ---- streams ----

    @asynccontextmanager
    async def stream(
        self, method: Method[Q, R], metadata: tuple[tuple[str, str], ...] = ()
    ) -> AsyncGenerator[EtcdStream[Q, R], None]:
        """One bidirectional stream on the present endpoint; its failures make the next one use another.

        raises: CallFailed, from within too.
        """
        endpoint = self._endpoints[self._current]
        if self.closed.is_set():
            raise CallFailed(method.name, Verdict.NOT_SENT, "the store was closed")
        try:
            await self._log_in_if_needed(self.url.timeout_s)
        except CallFailed:
            self._leave(endpoint)
            raise
        token = self._token
        try:
            call = endpoint.stream(method)(metadata=(*metadata, *((("token", token),) if token else ())))
        except grpc.aio.UsageError as error:
            raise CallFailed(method.name, Verdict.NOT_SENT, f"the store was closed: {error}") from error
        try:
            yield EtcdStream(call, method, endpoint.name, token)
        except grpc.aio.AioRpcError as error:
            failure = self._failure(method.name, endpoint, error)
            if failure.verdict is Verdict.REAUTHENTICATE:
                self.forget_token(token)
            else:
                self._leave(endpoint)
            raise failure from error
        except CallFailed:
            self._leave(endpoint)
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.closed.is_set() and task is not None and not task.cancelling():
                raise CallFailed(method.name, Verdict.NOT_SENT, "the store was closed") from None
            raise
        finally:
            call.cancel()


class EtcdStream(Generic[Q, R]):
    """Reads and writes of one stream, each with a timeout where the driver gives one."""

    def __init__(self, call: Any, method: Method[Q, R], endpoint: str, token: str | None) -> None:
        self._call, self._method = call, method
        self.endpoint, self.token = endpoint, token

    async def send(self, request: Q) -> None:
        try:
            await self._call.write(request)
        except asyncio.InvalidStateError as error:  # the stream is over; a read tells why
            await self._call.read()
            raise CallFailed(self._method.name, Verdict.UNKNOWN, f"{self.endpoint}: the stream ended") from error

    async def receive(self, timeout_s: float | None = None) -> R:
        """The next message; raises CallFailed at the plain end of the stream and after the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._call.read()
        except TimeoutError:
            raise CallFailed(
                self._method.name, Verdict.UNKNOWN, f"{self.endpoint}: no reply within {timeout_s:g} s"
            ) from None
        if not isinstance(reply, self._method.response):  # grpc.aio.EOF
            raise CallFailed(self._method.name, Verdict.UNKNOWN, f"{self.endpoint}: the server ended the stream")
        return reply


def _credentials(url: EtcdUrl) -> grpc.ChannelCredentials | None:
    if url.tls is None:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=_pem(url, url.tls.ca),
        private_key=_pem(url, url.tls.key),
        certificate_chain=_pem(url, url.tls.cert),
    )


def _pem(url: EtcdUrl, path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StoreConfigError(url.shown, f"cannot read {path}: {error.strerror}", "check ca, cert and key") from error
