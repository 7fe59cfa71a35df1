"""The stream to the GCS: kept open, told of every change, obeyed in the order of epochs."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import grpc
from manta_common.credentials import TlsFiles, Token
from manta_common.ids import JobId, WorkerId
from manta_common.logs import get
from manta_common.resources import ResourceSet
from manta_common.rpc import method, open_channel
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2, placement_group_pb2, task_pb2

from manta_raylet.clients.node import Node
from manta_raylet.clients.task_event_backlog import TaskEventBacklog
from manta_raylet.gcs.report_timer import Bell

_log = get("manta_raylet.gcs")

HEARTBEAT_S: Final = 1.0
# Between two heartbeats that tell of changes in what is free or wanted here.
COALESCE_S: Final = 0.05
# What the news of a living actor waits for its neighbours, while more actors are being made.
REPORTS_TOGETHER_S: Final = 0.02
# A new node's GCS is often started with it, and listens a moment later.
FIRST_RETRY_S: Final = 0.02
RETRY_S: Final = 0.2
LONGEST_RETRY_S: Final = 0.5  # a new leader waits for its nodes
# Reports that a GCS has not acknowledged; beyond it the oldest are in AttachNode.recent_deaths or lost with it.
REPORTS_KEPT: Final = 1_000
# How long a node that leaves waits for the GCS to take note.
GOODBYE_S: Final = 1.0
_SERVICE = gcs_pb2.DESCRIPTOR.services_by_name["Gcs"]


class StaleEpoch(Exception):
    """A GCS that was deposed still speaks; it is not obeyed."""


class GcsLink:
    """Attaches to the leader among several addresses, again and again, until it is closed."""

    def __init__(
        self,
        addresses: Sequence[str],
        token: Token,
        tls: TlsFiles | None,
        node: Node,
        handle: Callable[[gcs_pb2.GcsToNode], None],
    ) -> None:
        self._addresses = list(addresses)
        self._token = token
        self._tls = tls
        self._node = node
        self._handle = handle
        self.epoch = 0
        self.attached = asyncio.Event()
        self._bell = Bell()
        self._outgoing: deque[gcs_pb2.NodeToGcs] = deque()
        self._deaths: list[common_pb2.DeadWorker] = []
        self._reports: OrderedDict[int, gcs_pb2.WorkersDiedReport] = OrderedDict()
        self._drivers_gone: OrderedDict[WorkerId, JobId] = OrderedDict()
        self._task_events = TaskEventBacklog()
        # Of the leader that has been told of the tasks that go on.
        self._told_epoch = 0
        self._next_report = 1
        self._sent_available: ResourceSet | None = None
        self._sent_arena_used = 0
        self._sent_use = 0
        self._sent_demands: list[gcs_pb2.ResourceDemand] = []
        self._task: asyncio.Task[None] | None = None
        self._reattach = asyncio.Event()
        self._hint = ""
        self._streaming = False
        self._drain_done = False
        self._leaves = False

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="gcs link")

    async def close(self) -> None:
        """Say that the node is done, then end the stream."""
        if self._task is None:
            return
        if self._streaming:
            self._drain_done = True
            self._bell.ring_now()
            # Cancelling the stream would discard what the GCS has not read yet; it ends the stream when it has.
            await asyncio.wait([self._task], timeout=GOODBYE_S)
        self._task.cancel()
        await asyncio.wait([self._task])

    def attach_again(self) -> None:
        """What AttachNode says has changed (addresses, node id)."""
        if self._streaming:
            self._reattach.set()

    # ---- what the node tells

    def changed(self) -> None:
        """Resources or demands may have changed: a heartbeat follows soon."""
        in_use = self._sent_use != self._node.core.ledger.bundles.version
        taken = self._node.core.actors.has_taken
        arena_use = self._sent_arena_used != self._node.arena_used
        if in_use or taken or arena_use or self._available_changed() or self._demands_changed():
            if self._node.core.leases.claims:
                # What the GCS waits for may be what was given back just now.
                self._bell.ring_now()
            else:
                self._bell.ring()

    def _available_changed(self) -> bool:
        available = self._node.core.ledger.available
        if available is self._sent_available:
            return False
        # Somebody came and went: equal amounts are news for other nodes too, which had subtracted what they sent here.
        return available != self._sent_available or bool(self._node.core.nodes.living())

    def report_actor(self, report: gcs_pb2.ActorReport) -> None:
        # While there is no stream the report is not kept: attaching tells of all actors, living and failed.
        if not self._streaming:
            return
        self._outgoing.append(gcs_pb2.NodeToGcs(actor_report=report))
        if report.HasField("failure") or report.rejected or not self._node.core.actors.unfinished:
            self._bell.ring_now()
        else:
            # Others are about to follow: one message, one txn and one push for all of them.
            self._bell.ring_within(REPORTS_TOGETHER_S)

    def report_bundles(self, report: placement_group_pb2.BundleReport) -> None:
        # Not kept without a stream: attaching tells of all bundles.
        if self._streaming:
            self._outgoing.append(gcs_pb2.NodeToGcs(bundle_report=report))
            # What is freed later must be told even if it makes the amounts those of the last heartbeat again.
            self._sent_available = ResourceSet.from_proto(report.available)
            self._bell.ring_now()

    def watch_groups(self, message: placement_group_pb2.WatchPlacementGroups) -> None:
        # As above: attaching names all groups that are watched.
        if self._streaming:
            self._outgoing.append(gcs_pb2.NodeToGcs(watch_placement_groups=message))
            self._bell.ring_now()

    def look_up_nodes(self, message: gcs_pb2.LookUpNodes) -> None:
        # As above: the answer to attaching lists all living nodes.
        if self._streaming:
            self._outgoing.append(gcs_pb2.NodeToGcs(look_up_nodes=message))
            self._bell.ring_now()

    def report_deaths(self, deaths: list[common_pb2.DeadWorker]) -> None:
        self._deaths += deaths
        self._bell.ring_now()

    def leaves(self) -> None:
        """The node is told to stop. Ahead of what that leads to, so that nothing is sent here again for it."""
        self._leaves = True
        if self._streaming:
            self._outgoing.append(gcs_pb2.NodeToGcs(heartbeat=gcs_pb2.Heartbeat(leaves=True)))
            self._bell.ring_now()

    def driver_gone(self, job_id: JobId, worker_id: WorkerId) -> None:
        self._drivers_gone[worker_id] = job_id
        if len(self._drivers_gone) > REPORTS_KEPT:
            self._drivers_gone.popitem(last=False)
        if self._streaming:
            self._outgoing.append(_driver_gone(job_id, worker_id))
            self._bell.ring_now()

    def tell_tasks(self, size: int, events: task_pb2.TaskEvents) -> None:
        """Pass on what a process told of its tasks; size: of the serialized message, bytes."""
        self._task_events.add(size, events)
        self._bell.ring()

    # ---- the stream

    async def _run(self) -> None:
        retry_s = FIRST_RETRY_S
        turn = 0
        while True:
            address = self._hint or self._addresses[turn % len(self._addresses)]
            turn += not self._hint
            self._hint = ""
            reason, attached = await self._attach(address)
            log = _log.warning if attached else _log.info
            log("gcs_stream_ended", address=address, reason=reason)
            if self._drain_done:
                return
            if attached:
                retry_s = RETRY_S
            if not self._hint and not self._reattach.is_set():
                await asyncio.sleep(retry_s * random.uniform(0.5, 1.0))  # backoff before the next replica is asked
                retry_s = min(retry_s * 1.5, LONGEST_RETRY_S)
            self._reattach.clear()

    async def _attach(self, address: str) -> tuple[str, bool]:
        """One stream from begin to end. returns: why it ended, and whether the GCS had accepted us."""
        channel = open_channel(address, self._token, self._tls)
        loop = asyncio.get_running_loop()
        call = method(channel, _SERVICE, "Attach")()
        reading = loop.create_task(self._read(call), name="gcs link reads")
        writing = loop.create_task(self._write(call), name="gcs link writes")
        again = loop.create_task(self._reattach.wait(), name="gcs link attaches again")
        try:
            await asyncio.wait([reading, again], return_when=asyncio.FIRST_COMPLETED)
            accepted = self.attached.is_set()
            if not reading.done():
                call.cancel()
                return "attaches again", accepted
            return reading.result(), accepted
        finally:
            self._streaming = False
            self.attached.clear()
            for task in (reading, writing, again):
                task.cancel()
            await asyncio.gather(reading, writing, again, return_exceptions=True)
            await channel.close(None)

    async def _read(self, call: grpc.aio.StreamStreamCall) -> str:  # type: ignore[type-arg]
        try:
            async for batch in call:
                for message in batch.messages:
                    if message.HasField("refused"):
                        # From a replica that does not lead, so it has no epoch.
                        self._hint = message.refused.leader
                        raise _Refused(f"refused: {message.refused.message}")
                self._check_epoch(batch.epoch)
                for message in batch.messages:
                    self._take(message)
        except grpc.aio.AioRpcError as error:
            self._hint = _leader_of(error)
            return f"{error.code().name}: {error.details()}"
        except StaleEpoch as error:
            call.cancel()
            return str(error)
        except _Refused as error:
            call.cancel()
            return str(error)
        return "the GCS ended the stream"

    def _check_epoch(self, epoch: int) -> None:
        if epoch < self.epoch:
            raise StaleEpoch(f"epoch {epoch} is below {self.epoch}, which was obeyed already; the sender was deposed")
        self.epoch = epoch

    def _take(self, message: gcs_pb2.GcsToNode) -> None:
        body = message.WhichOneof("body")
        if body == "workers_died_received":
            self._reports.pop(message.workers_died_received.report_id, None)
            return
        self._handle(message)
        if body == "attached":
            _log.info("node_attached", node_id=self._node.node_id, epoch=self.epoch)
            self._drivers_gone.clear()
            if self._told_epoch and self._told_epoch != self.epoch:
                self._node.clients.ask_tasks_again()
            self._told_epoch = self.epoch
            self.attached.set()

    async def _write(self, call: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]
        """All that goes up: the attach message and what was not acknowledged, then changes and heartbeats."""
        self._outgoing.clear()
        self._streaming = True
        try:
            await call.write(gcs_pb2.NodeBatch(messages=self._first_messages()))
            await self._write_changes(call)
        except grpc.aio.AioRpcError:
            pass  # the reader meets the same end of the stream, and says why
        except asyncio.InvalidStateError:
            pass  # it ended between two writes
        except Exception:
            # A bug of ours: without heartbeats the node would be declared dead, so begin a new stream.
            _log.exception("gcs_stream_not_written")
            call.cancel()

    async def _write_changes(self, call: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await self._bell.wait(last + HEARTBEAT_S, last + COALESCE_S)
            messages = self._pending_messages()
            messages.append(gcs_pb2.NodeToGcs(heartbeat=self._heartbeat()))
            goodbye = self._drain_done
            if goodbye:
                messages.append(gcs_pb2.NodeToGcs(drain_done=gcs_pb2.DrainDone()))
            last = loop.time()
            await call.write(gcs_pb2.NodeBatch(messages=messages))
            if goodbye:
                await call.done_writing()
                return

    def _first_messages(self) -> list[gcs_pb2.NodeToGcs]:
        node = self._node
        self._sent_available = node.core.ledger.available
        attach = gcs_pb2.AttachNode(
            info=node.info(),
            available=self._sent_available.to_proto(),
            epoch=self.epoch,
            actors=node.core.actors.present(),
            recent_deaths=node.deaths.last(REPORTS_KEPT, node.node_id),
            job_ids=node.core.jobs.running_ids(),
            bundles=node.core.bundles.held(),
            watched_placement_groups=node.core.spillback.groups.watched(),
        )
        self._sent_use = node.core.ledger.bundles.version
        self._sent_arena_used = 0
        messages = [gcs_pb2.NodeToGcs(attach=attach)]
        messages += [gcs_pb2.NodeToGcs(actor_report=report) for report in node.core.actors.failures()]
        messages += [gcs_pb2.NodeToGcs(workers_died=report) for report in self._reports.values()]
        messages += [_driver_gone(job_id, worker_id) for worker_id, job_id in self._drivers_gone.items()]
        self._sent_demands = []
        self._bell.ring()
        return messages

    def _pending_messages(self) -> list[gcs_pb2.NodeToGcs]:
        messages = list(self._outgoing)
        self._outgoing.clear()
        messages += [gcs_pb2.NodeToGcs(task_events=events) for events in self._task_events.take()]
        if self._deaths:
            report = gcs_pb2.WorkersDiedReport(report_id=self._next_report, workers=self._deaths)
            self._deaths = []
            self._next_report += 1
            self._reports[report.report_id] = report
            if len(self._reports) > REPORTS_KEPT:
                self._reports.popitem(last=False)
            messages.append(gcs_pb2.NodeToGcs(workers_died=report))
        return messages

    def _heartbeat(self) -> gcs_pb2.Heartbeat:
        heartbeat = gcs_pb2.Heartbeat(leaves=self._leaves)
        available = self._node.core.ledger.available
        if self._available_changed():
            self._sent_available = available
            heartbeat.available.CopyFrom(available.to_proto())
        version = self._node.core.ledger.bundles.version
        if version != self._sent_use:
            self._sent_use = version
            heartbeat.used_bundles.extend(self._node.core.bundles.used())
            heartbeat.used_bundles_changed = True
        heartbeat.taken_actors.extend(self._node.core.actors.take_taken())
        if self._sent_arena_used != self._node.arena_used:
            self._sent_arena_used = heartbeat.arena_used = self._node.arena_used
        if self._demands_changed():
            self._sent_demands = self._node.core.demands()
            heartbeat.demands.extend(self._sent_demands)
            heartbeat.demands_changed = True
        return heartbeat

    def _demands_changed(self) -> bool:
        return self._node.core.demands() != self._sent_demands


class _Refused(Exception):
    """The GCS does not take this node now."""


def _driver_gone(job_id: JobId, worker_id: WorkerId) -> gcs_pb2.NodeToGcs:
    return gcs_pb2.NodeToGcs(driver_gone=gcs_pb2.DriverGone(job_id=job_id, worker_id=worker_id))


def _leader_of(error: grpc.aio.AioRpcError) -> str:
    """The leader's address that a replica which does not lead sends along; empty when there is none."""
    metadata: Iterable[tuple[str, str | bytes]] = error.trailing_metadata() or ()  # type: ignore[assignment]
    for key, value in metadata:
        if key == "manta-leader":
            return value if isinstance(value, str) else value.decode()
    return ""
