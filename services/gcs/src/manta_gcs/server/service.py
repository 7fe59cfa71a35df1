"""The gRPC service: streams in, events to the inbox; outboxes to streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from manta_common import logs
from manta_common.ids import NodeId
from manta_common.version import PROTOCOL
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2

from manta_gcs.kernel.events import ClientAsked, ClientLeft, NodeAttached, NodeDetached, NodeSaid, SessionId
from manta_gcs.kernel.refusal import UNAVAILABLE, RequestRefused
from manta_gcs.server.batch_encoding import BatchEncoding
from manta_gcs.server.gcs_metrics import GcsMetrics
from manta_gcs.server.outbox import Outbox
from manta_gcs.server.replica import Replica
from manta_gcs.server.term import Term, now

FIRST_MESSAGE_TIMEOUT_S = 30.0
# Whoever comes while a replica starts is kept for so long, until it serves or knows who does: a refusal would cost a
# new cluster one pause between two tries in each of its processes.
START_S = 2.0
FULL = RequestRefused(UNAVAILABLE, "the GCS has more requests than it can take; repeat this one in a moment")
log = logs.get("gcs")


class GcsService:
    """Implements manta.gcs.v1.Gcs. A stream's fault ends that stream only."""

    def __init__(self, metrics: GcsMetrics) -> None:
        self.replica: Replica | None = None
        self._opened = asyncio.Event()
        self._metrics = metrics

    def open(self, replica: Replica) -> None:
        """The store is open, and this replica campaigns."""
        self.replica = replica
        self._opened.set()

    async def Connect(
        self, batches: AsyncIterator[gcs_pb2.ClientBatch], context: Any
    ) -> AsyncGenerator[gcs_pb2.GcsBatch | bytes, None]:
        """Drivers, workers and tools."""
        first = await _first(batches, context)
        requests = list(first.requests)
        if not requests or requests[0].WhichOneof("body") != "hello":
            await _abort_malformed(context, "the first request of a stream must be a hello")
        term = await self._started()
        if term is None:
            error = await self._refusal()
            yield gcs_pb2.GcsBatch(
                replies=[gcs_pb2.GcsReply(request_id=request.request_id, error=error) for request in requests]
            )
            _set_status(context, error)
            return
        session, outbox = term.open_client()
        hello = requests[0].hello
        who = {"role": common_pb2.Role.Name(hello.role), "pid": hello.pid, "worker_id": hello.worker_id.hex()}
        log.debug("client_connected", session=session, peer=context.peer(), **who)
        welcome = gcs_pb2.GcsWelcome(
            cluster_id=term.identity.cluster_id,
            epoch=term.epoch,
            version=str(PROTOCOL),
            session_name=term.identity.session_name,
        )
        outbox.put(gcs_pb2.GcsReply(request_id=requests[0].request_id, welcome=welcome).SerializeToString())
        reader = asyncio.create_task(
            self._read_client(term, session, outbox, requests[1:], batches), name="gcs-client-reader"
        )
        encoding = BatchEncoding(gcs_pb2.GcsBatch(), "replies")
        try:
            async for replies in outbox.batches():
                yield encoding.join(replies)
        finally:
            await self._end(term, session, reader, outbox, "client")
            if self._term() is term:
                await term.inbox.put(ClientLeft(now(), session))

    async def Attach(
        self, batches: AsyncIterator[gcs_pb2.NodeBatch], context: Any
    ) -> AsyncGenerator[gcs_pb2.GcsToNodeBatch | bytes, None]:
        """Raylets."""
        first = await _first(batches, context)
        messages = list(first.messages)
        if not messages or messages[0].WhichOneof("body") != "attach":
            await _abort_malformed(context, "the first message of a stream must be an attach")
        term = await self._started()
        if term is None:
            error = await self._refusal()
            yield gcs_pb2.GcsToNodeBatch(messages=[gcs_pb2.GcsToNode(refused=error)])
            _set_status(context, error)
            return
        session, outbox = term.open_node()
        attach = messages[0].attach
        node_id = NodeId(attach.info.node_id)
        await term.inbox.put(NodeAttached(now(), session, attach))
        reader = asyncio.create_task(
            self._read_node(term, session, node_id, outbox, messages[1:], batches), name="gcs-node-reader"
        )
        encoding = BatchEncoding(gcs_pb2.GcsToNodeBatch(epoch=term.epoch), "messages")
        try:
            async for taken in outbox.batches():
                yield encoding.join(taken)
        finally:
            await self._end(term, session, reader, outbox, "node")
            if self._term() is term:
                await term.inbox.put(NodeDetached(now(), session, node_id))

    async def _started(self) -> Term | None:
        """The term, also one that begins in a moment; None when this replica does not lead."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                await self._opened.wait()
                if self.replica is not None:
                    await self.replica.decided.wait()
        return self._term()

    def _term(self) -> Term | None:
        return self.replica.term if self.replica is not None else None

    async def _refusal(self) -> gcs_pb2.Error:
        if self.replica is None:
            return gcs_pb2.Error(code=UNAVAILABLE, message="this GCS is starting; try again in a moment")
        return await self.replica.refusal()

    async def _read_client(
        self,
        term: Term,
        session: SessionId,
        outbox: Outbox,
        waiting: list[gcs_pb2.ClientRequest],
        batches: AsyncIterator[gcs_pb2.ClientBatch],
    ) -> None:
        with _Closing(outbox):
            while True:
                for request in waiting:
                    if request.WhichOneof("body") == "hello":
                        raise _MalformedError("a second hello")
                    if not term.inbox.offer(ClientAsked(now(), session, request)):
                        outbox.put(FULL.reply(request.request_id).SerializeToString())
                batch = await anext(batches, None)
                if batch is None:
                    return
                waiting = list(batch.requests)

    async def _read_node(
        self,
        term: Term,
        session: SessionId,
        node_id: NodeId,
        outbox: Outbox,
        waiting: list[gcs_pb2.NodeToGcs],
        batches: AsyncIterator[gcs_pb2.NodeBatch],
    ) -> None:
        with _Closing(outbox):
            while True:
                for message in waiting:
                    if message.WhichOneof("body") == "attach" and message.attach.info.node_id != node_id:
                        raise _MalformedError("a second attach, for another node")
                    await term.inbox.put(NodeSaid(now(), session, node_id, message))
                batch = await anext(batches, None)
                if batch is None:
                    return
                waiting = list(batch.messages)

    async def _end(self, term: Term, session: SessionId, reader: asyncio.Task[None], outbox: Outbox, kind: str) -> None:
        reader.cancel()
        (outcome,) = await asyncio.gather(reader, return_exceptions=True)
        term.forget(session)
        if isinstance(outcome, Exception):
            log.error("stream_reader_failed", kind=kind, session=session, error=repr(outcome))
        reason = outbox.closed_because or "its connection broke"
        self._metrics.stream_ends.labels(kind=kind).inc()
        level = log.debug if reason == LEFT else log.info
        level("stream_ended", kind=kind, session=session, reason=reason)


LEFT = "its peer left"


class _MalformedError(Exception):
    """What the peer sent does not belong there."""


class _Closing:
    """Ends the stream with its reader, and says why."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if isinstance(error, _MalformedError | DecodeError):
            log.warning("stream_malformed", reason=str(error))
            self._outbox.close(f"malformed: {error}")
            return True
        if isinstance(error, grpc.aio.AioRpcError | grpc.aio.UsageError | grpc.aio.BaseError):
            # The connection broke.
            self._outbox.close(f"its stream failed: {error!r}")
            return True
        self._outbox.close(LEFT)
        return False


async def _abort_malformed(context: Any, reason: str) -> NoReturn:
    log.warning("stream_refused", peer=context.peer(), reason=reason)
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, reason)
    raise AssertionError("abort always raises")


async def _first(batches: AsyncIterator[Any], context: Any) -> Any:
    """The first message. A peer that sends none in time loses the stream."""
    try:
        async with asyncio.timeout(FIRST_MESSAGE_TIMEOUT_S):
            first = await anext(batches, None)
    except TimeoutError:
        first = None
    except DecodeError as error:
        await _abort_malformed(context, f"the first message cannot be parsed: {error}")
    if first is None:
        await _abort_malformed(context, "the stream ended, or was silent, before its first message")
    return first


def _set_status(context: Any, error: gcs_pb2.Error) -> None:
    """How the stream ends after its refusal. Not abort(), which fails when the peer left on reading the refusal."""
    refused = error.code == gcs_pb2.Error.NOT_LEADER
    context.set_code(grpc.StatusCode.FAILED_PRECONDITION if refused else grpc.StatusCode.UNAVAILABLE)
    context.set_details(error.message)
