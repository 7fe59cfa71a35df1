"""The process's stream to the GCS: requests matched by id, repeated on a new stream until they are answered.

A request names what it creates by ids that this process chose, so a repeat has one effect. While no GCS leads, or its
store takes nothing, requests wait; nothing else of the process does. Who waits for an answer waits for a limited time.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from manta_common import rpc
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2

from ray._runtime.loop.io_thread import IoStopped
from ray._runtime.loop.wait_variable import seconds_of

if TYPE_CHECKING:
    from ray._runtime.loop.io_thread import IoThread
    from ray._runtime.transport.carrier import Identity

log = logging.getLogger("ray.runtime")

_GCS: Final = gcs_pb2.DESCRIPTOR.services_by_name["Gcs"]
_SLOW_S: Final = 30.0
WAIT_VARIABLE: Final = "MANTA_WAIT_FOR_GCS_S"
WAIT_S: Final = 60.0
# A GCS whose inbox was full is asked again after this, a little earlier or later.
_FULL_S: Final = 0.2
_FATAL: Final = (rpc.StatusCode.UNAUTHENTICATED, rpc.StatusCode.UNIMPLEMENTED)


class GcsError(Exception):
    """The GCS refused a request. `code` is of gcs.v1.Error.Code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class GcsClient:
    """Speaks Gcs.Connect for one process."""

    def __init__(
        self,
        io: IoThread,
        identity: Identity,
        addresses: Sequence[str],
        tls: Any,
    ) -> None:
        self._io = io
        self._identity = identity
        self._addresses = list(addresses)
        self._tls = tls
        self._wait_s = seconds_of(WAIT_VARIABLE, WAIT_S)
        # Told of each status of a subscribed actor.
        self.on_statuses: Callable[[Sequence[actor_pb2.ActorStatus]], None] = lambda statuses: None
        self._ids = itertools.count(2)
        self._unanswered: dict[int, tuple[gcs_pb2.ClientRequest, concurrent.futures.Future[gcs_pb2.GcsReply]]] = {}
        self._outbox: list[gcs_pb2.ClientRequest] = []
        self._subscribed: set[bytes] = set()
        self._more: asyncio.Event | None = None
        self._started = False
        self._closed = False
        self._fatal: Exception | None = None

    def request(self, **body: Any) -> concurrent.futures.Future[gcs_pb2.GcsReply]:
        """Send one request, e.g. request(kv_get=KvGet(...)); the future raises GcsError when it is refused."""
        return self._send(gcs_pb2.ClientRequest(request_id=next(self._ids), **body))

    def call(self, timeout: float | None = None, **body: Any) -> gcs_pb2.GcsReply:
        """request, and wait.

        raises: GcsError; TimeoutError after timeout seconds; where none is given, RpcError after those of
        WAIT_VARIABLE. Then the request is not sent any more, and may have had its effect all the same.
        """
        request = gcs_pb2.ClientRequest(request_id=next(self._ids), **body)
        future = self._send(request)
        started = time.monotonic()
        limit = self._wait_s if timeout is None else timeout
        while True:
            left = min(_SLOW_S, limit - (time.monotonic() - started))
            try:
                return future.result(max(left, 0.001))
            except concurrent.futures.TimeoutError:
                waited = time.monotonic() - started
                if waited >= limit:
                    self._io.loop.call_soon_threadsafe(self._unanswered.pop, request.request_id, None)
                    raise self._unanswered_in(limit, list(body), timeout is None) from None
                log.warning(
                    "still_waiting for=gcs request=%s addresses=%s waited_s=%.0f", list(body), self._addresses, waited
                )

    def _unanswered_in(self, limit_s: float, names: list[str], by_variable: bool) -> Exception:
        text = f"the GCS at {self._addresses} did not answer {names} in {limit_s:g} s"
        if not by_variable:
            return TimeoutError(text)
        from ray.exceptions import RpcError

        return RpcError(
            f"{text} ({WAIT_VARIABLE}); it may be away, or its store may take no writes: its log, logs/gcs.log in the "
            "session folder, says which. Repeat the call once it serves again."
        )

    def _send(self, request: gcs_pb2.ClientRequest) -> concurrent.futures.Future[gcs_pb2.GcsReply]:
        future: concurrent.futures.Future[gcs_pb2.GcsReply] = concurrent.futures.Future()
        self._io.loop.call_soon_threadsafe(self._put, request, future)
        if self._io.stopped:
            # Meanwhile, on another thread, and perhaps before the loop came to it. Later it does: it stops behind this.
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                future.set_exception(IoStopped())
        return future

    def subscribe(self, actor_id: bytes) -> None:
        """Have statuses of the actor pushed, now and on every later stream."""
        self._io.loop.call_soon_threadsafe(self._subscribe, actor_id)

    def unsubscribe(self, actor_id: bytes) -> None:
        self._io.loop.call_soon_threadsafe(self._subscribed.discard, actor_id)

    def close(self) -> None:
        self._closed = True
        if self._more is not None:
            self._io.loop.call_soon_threadsafe(self._more.set)

    # -- on the io thread

    def _put(self, request: gcs_pb2.ClientRequest, future: concurrent.futures.Future[gcs_pb2.GcsReply] | None) -> None:
        if future is not None and future.done():
            return  # the process has left the cluster
        if self._fatal is not None and future is not None:
            future.set_exception(self._fatal)
            return
        if future is not None:
            self._unanswered[request.request_id] = (request, future)
        if not self._started:
            self._started = True
            self._more = asyncio.Event()
            self._io.spawn(self._run())
        assert self._more is not None
        self._outbox.append(request)
        self._more.set()

    def _subscribe(self, actor_id: bytes) -> None:
        if actor_id not in self._subscribed:
            self._subscribed.add(actor_id)
            subscribe = gcs_pb2.SubscribeActors(actor_ids=[actor_id])
            self._put(gcs_pb2.ClientRequest(request_id=next(self._ids), subscribe_actors=subscribe), None)

    async def _run(self) -> None:
        delay = 0.05
        position = 0
        while not self._closed:
            address = self._addresses[position % len(self._addresses)]
            hint = ""
            try:
                served, hint = await self._stream(address)
                if served:
                    delay = 0.05
            except rpc.RpcFailed as error:
                log.debug("gcs_stream_ended address=%s code=%s details=%s", address, error.code(), error.details())
                if error.code() in _FATAL or (
                    error.code() is rpc.StatusCode.FAILED_PRECONDITION and "version" in (error.details() or "")
                ):
                    self._fail_all(error)
                    return
            if self._closed:
                return
            if hint and hint not in self._addresses:
                self._addresses.append(hint)
            position = self._addresses.index(hint) if hint else position + 1
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, 1.0)

    async def _stream(self, address: str) -> tuple[bool, str]:
        """One stream to its end; returns whether it served, and a leader's address if one was named."""
        channel = rpc.open_channel(address, self._identity.token, self._tls)
        served = False
        # The writer of a stream that ended may still wait for more: it must not take what is meant for the next one.
        more = self._more = asyncio.Event()
        try:
            first = gcs_pb2.ClientRequest(request_id=1, hello=self._identity.hello())
            call = rpc.method(channel, _GCS, "Connect")(self._outgoing(first, more))
            async for batch in call:
                for reply in batch.replies:
                    if reply.request_id == 1 and reply.HasField("error"):
                        log.debug("gcs_refused_hello address=%s reason=%s", address, reply.error.message)
                        return served, reply.error.leader
                    served = True
                    self._take(reply)
            return served, ""
        finally:
            # The writer ends when it sees that it is not its own any more; it would wait for ever otherwise.
            self._more = asyncio.Event()
            more.set()
            await channel.close(None)

    async def _outgoing(self, first: gcs_pb2.ClientRequest, more: asyncio.Event) -> Any:
        again = [first]
        if self._subscribed:
            subscribe = gcs_pb2.SubscribeActors(actor_ids=list(self._subscribed))
            again.append(gcs_pb2.ClientRequest(request_id=next(self._ids), subscribe_actors=subscribe))
        again.extend(request for request, _ in self._unanswered.values())
        self._outbox.clear()
        yield gcs_pb2.ClientBatch(requests=again)
        while self._more is more and not self._closed:
            if self._outbox:
                outbox, self._outbox = self._outbox, []
                yield gcs_pb2.ClientBatch(requests=outbox)
                continue
            more.clear()
            await more.wait()

    def _take(self, reply: gcs_pb2.GcsReply) -> None:
        if reply.HasField("actor_statuses"):
            try:
                self.on_statuses(reply.actor_statuses.statuses)
            except Exception:
                # The stream carries everybody's answers; one actor's news must not end it.
                log.exception("actor_status_not_taken")
        entry = self._unanswered.get(reply.request_id)
        if entry is None:
            return
        if reply.HasField("error"):
            error = reply.error
            if error.code == gcs_pb2.Error.NOT_LEADER:
                return  # sent again on the next stream
            if error.code == gcs_pb2.Error.UNAVAILABLE:
                # The stream goes on: it had too much to do to take this one.
                delay_s = _FULL_S * random.uniform(0.5, 1.5)
                asyncio.get_running_loop().call_later(delay_s, self._put_again, reply.request_id)
                return
            del self._unanswered[reply.request_id]
            entry[1].set_exception(GcsError(error.code, error.message))
            return
        del self._unanswered[reply.request_id]
        entry[1].set_result(reply)

    def _put_again(self, request_id: int) -> None:
        entry = self._unanswered.get(request_id)
        if entry is not None and self._more is not None:
            self._outbox.append(entry[0])
            self._more.set()

    def fail(self, error: Exception) -> None:
        """End all requests, now and later, with this error."""
        self._io.loop.call_soon_threadsafe(self._end_with, error)

    def _end_with(self, error: Exception) -> None:
        self._fatal = error
        self._closed = True
        if self._more is not None:
            self._more.set()
        for _, future in self._unanswered.values():
            future.set_exception(error)
        self._unanswered.clear()

    def _fail_all(self, error: rpc.RpcFailed) -> None:
        from ray.exceptions import AuthenticationError, RaySystemError

        text = f"the GCS at {self._addresses} refused the connection: {error.details()}"
        if error.code() is rpc.StatusCode.UNAUTHENTICATED:
            self._end_with(AuthenticationError(text))
        else:
            self._end_with(RaySystemError(text))
