"""One term of leadership: a core, the streams it serves and the writes it makes."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Iterator

from manta_common import logs
from manta_proto.gcs.v1 import gcs_pb2

from manta_gcs.core.core import GcsCore
from manta_gcs.kernel.commands import Answer, Close, Command, Forget, Note, Persist, StepDown, Tell
from manta_gcs.kernel.events import ClientAsked, Event, Moment, SessionId, TimePassed
from manta_gcs.records.record_writer import RecordWriter, Write
from manta_gcs.requests.client_request import ClientRequests
from manta_gcs.server.gcs_metrics import GcsMetrics
from manta_gcs.server.inbox import Inbox
from manta_gcs.server.outbox import Outbox
from manta_gcs.store import StoreUnavailable
from manta_gcs.store.backoff import Backoff

BATCH_LIMIT = 200
COMPLAIN_AFTER_S = 30.0
STALL_S = 1.0  # being this late is no ordinary load
log = logs.get("gcs")


class SteppedDown(Exception):
    """The core gave the leadership up."""

    def __init__(self, reason: str, claimed_epoch: int) -> None:
        super().__init__(reason, claimed_epoch)
        self.reason, self.claimed_epoch = reason, claimed_epoch


def now() -> Moment:
    return Moment(time.monotonic(), time.time())


class Term:
    """Owns the core: only serve() touches it."""

    def __init__(self, core: GcsCore, writer: RecordWriter, metrics: GcsMetrics, inbox_limit: int) -> None:
        self._core, self._writer, self._metrics = core, writer, metrics
        self._requests = ClientRequests(core)
        self.epoch = core.epoch
        self.identity = core.identity
        self.inbox = Inbox(inbox_limit)
        self._numbers = itertools.count(1)
        self._clients: dict[SessionId, Outbox] = {}
        self._nodes: dict[SessionId, Outbox] = {}
        self._last_told: tuple[gcs_pb2.GcsToNode, bytes] | None = None
        metrics.inbox_depth.set_function(lambda: len(self.inbox))

    def open_client(self) -> tuple[SessionId, Outbox]:
        session, outbox = SessionId(next(self._numbers)), Outbox()
        self._clients[session] = outbox
        self._metrics.sessions.labels(kind="client").set(len(self._clients))
        return session, outbox

    def open_node(self) -> tuple[SessionId, Outbox]:
        session, outbox = SessionId(next(self._numbers)), Outbox()
        self._nodes[session] = outbox
        self._metrics.sessions.labels(kind="node").set(len(self._nodes))
        return session, outbox

    def forget(self, session: SessionId) -> None:
        """The stream has ended."""
        self._clients.pop(session, None)
        self._nodes.pop(session, None)
        self._metrics.sessions.labels(kind="client").set(len(self._clients))
        self._metrics.sessions.labels(kind="node").set(len(self._nodes))

    async def begin(self) -> None:
        """Make durable what loading led to. Nobody is served yet."""
        at = now()
        await self._commit([self._core.begin(at), self._core.settle(at)])

    async def serve(self) -> None:
        """Until cancelled. raises: SteppedDown, and Fenced or OutcomeUnknown from the store."""
        while True:
            due = self._core.deadline()
            timeout_s = None if due is None else max(0.0, due - time.monotonic())
            events = await self.inbox.batch(BATCH_LIMIT, timeout_s)
            at = now()
            if due is not None and at.steady - due > STALL_S:
                # This process did not run: the nodes' signs of life still lie unread in its sockets.
                self._core.nodes.excuse(at.steady - due)
                log.warning("serving_stalled", late_s=at.steady - due)
                due = self._core.deadline()
            if due is not None and at.steady >= due:
                # After the batch: a heartbeat that lies in it is a sign of life.
                events.append(TimePassed(at))
            self._metrics.batch_events.observe(len(events))
            groups = [self._handle(event) for event in events]
            groups.append(self._core.settle(at))
            await self._commit(groups)
            self._measure(events, groups)

    def _handle(self, event: Event) -> list[Command]:
        return self._requests.handle(event) if isinstance(event, ClientAsked) else self._core.handle(event)

    def end(self, error: gcs_pb2.Error) -> None:
        """Tell everyone to go elsewhere, and end all streams."""
        self.inbox.close()
        for client in self._clients.values():
            client.put(gcs_pb2.GcsReply(error=error).SerializeToString())
            client.close("this replica stopped leading")
        for node in self._nodes.values():
            node.put(gcs_pb2.GcsToNode(refused=error).SerializeToString())
            node.close("this replica stopped leading")

    async def _commit(self, groups: list[list[Command]]) -> None:
        """Write first; only then does anything leave, in order."""
        for command in _flat(groups):
            if isinstance(command, StepDown):
                raise SteppedDown(command.reason, command.claimed_epoch)
        writes = [[c for c in group if isinstance(c, Persist | Forget)] for group in groups]
        await self._write([group for group in writes if group])
        for command in _flat(groups):
            self._perform(command)
        self._last_told = None
        self._metrics.show(self._core)

    def _measure(self, events: list[Event], groups: list[list[Command]]) -> None:
        """How long each client's request took, from its arrival to its answer."""
        done = time.monotonic()
        for event, commands in zip(events, groups, strict=False):
            if isinstance(event, ClientAsked) and commands and isinstance(commands[-1], Answer):
                reply = commands[-1].reply
                code = gcs_pb2.Error.Code.Name(reply.error.code) if reply.HasField("error") else "OK"
                request = event.request.WhichOneof("body") or "none"
                self._metrics.answered(request, code, done - event.at.steady)

    async def _write(self, groups: list[list[Write]]) -> None:
        """Surely-not-applied is tried again, for as long as the leadership lasts; nothing has left meanwhile."""
        backoff = Backoff(random.Random(), first_s=0.05)
        began = time.monotonic()
        while groups:
            try:
                with self._metrics.write_seconds.time():
                    await self._writer.write(groups)
            except StoreUnavailable as error:
                if time.monotonic() - began > COMPLAIN_AFTER_S:
                    log.warning("commit_waits_for_store", groups=len(groups), reason=str(error))
                await asyncio.sleep(backoff.delay_s())
            else:
                return

    def _encoded(self, message: gcs_pb2.GcsToNode) -> bytes:
        """Once for all nodes that are told the same, one after the other."""
        if self._last_told is None or self._last_told[0] is not message:
            self._last_told = message, message.SerializeToString()
        return self._last_told[1]

    def _perform(self, command: Command) -> None:
        match command:
            case Answer(session=session, reply=reply):
                client = self._clients.get(session)
                if client is not None:
                    client.put(reply.SerializeToString())
            case Tell(session=session, message=message):
                node = self._nodes.get(session)
                if node is not None:
                    node.put(self._encoded(message))
            case Close(session=session, reason=reason):
                outbox = self._nodes.get(session) or self._clients.get(session)
                if outbox is not None:
                    outbox.close(reason)
            case Note(level=level, event=event, fields=fields):
                getattr(log, level.value)(event, **fields)
            case Persist() | Forget() | StepDown():
                pass  # done before anything is performed


def _flat(groups: list[list[Command]]) -> Iterator[Command]:
    return itertools.chain.from_iterable(groups)
