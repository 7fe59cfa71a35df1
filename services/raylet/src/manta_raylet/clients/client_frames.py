"""What a client's frames mean: each is read, checked and given to the node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from google.protobuf.message import DecodeError
from manta_common.channel.framing import ProtocolError
from manta_common.ids import LEASE_ID_SIZE, WORKER_ID_SIZE, LeaseId, NodeId, WorkerId
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import task_pb2
from manta_proto.raylet.v1 import raylet_pb2

from manta_raylet.clients.client import Client
from manta_raylet.clients.node import Node
from manta_raylet.kernel.death import dead, node_cause
from manta_raylet.kernel.lease import request_of
from manta_raylet.workers.worker_table import Worker

Handler = Callable[["ClientFrames", Client, bytes], None]


class ClientFrames:
    """For both carriers. A malformed frame raises ProtocolError, which ends that connection only."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def handle(self, client: Client, kind: int, payload: bytes) -> None:
        """raises: ProtocolError naming what is malformed."""
        handler = _HANDLERS.get(kind)
        if handler is None:
            raise ProtocolError(f"kind {kind} is none that a client sends to its raylet")
        try:
            handler(self, client, payload)
        except (DecodeError, ValueError) as error:
            raise ProtocolError(f"{raylet_pb2.Kind.Name(kind)}: {error}") from error

    def _leases_wanted(self, client: Client, payload: bytes) -> None:
        wanted = raylet_pb2.LeasesWanted.FromString(payload)
        self._node.core.leases_wanted(request_of(client.id, wanted), wanted.backlog)
        self._node.settle_soon()

    def _lease_cancelled(self, client: Client, payload: bytes) -> None:
        self._node.core.leases.cancelled(client.id, raylet_pb2.LeaseCancelled.FromString(payload).request_id)
        self._node.settle_soon()

    def _lease_returned(self, client: Client, payload: bytes) -> None:
        returned = raylet_pb2.LeaseReturned.FromString(payload)
        lease_id = LeaseId(_sized("lease_id", returned.lease_id, LEASE_ID_SIZE))
        # A lease that is not there ended with its worker, and the news of that crossed this message.
        self._node.core.leases.returned(client.id, lease_id, returned.retire_worker, self._node.now())
        self._node.settle_soon()

    def _blocked(self, client: Client, payload: bytes) -> None:
        worker = self._worker(client)
        if _concerns(worker, raylet_pb2.Blocked.FromString(payload)):
            self._node.core.blocked(worker)
            self._node.settle_soon()

    def _unblocked(self, client: Client, payload: bytes) -> None:
        worker = self._worker(client)
        if _concerns(worker, raylet_pb2.Blocked.FromString(payload)):
            self._node.core.unblocked(worker)
            self._node.settle_soon()

    def _watch(self, client: Client, payload: bytes) -> None:
        watch = raylet_pb2.Watch.FromString(payload)
        for worker_id in watch.forget:
            self._node.watches.forget(client.id, WorkerId(worker_id))
        known: list[common_pb2.DeadWorker] = []
        for address in watch.workers:
            worker_id = WorkerId(_sized("worker_id", address.worker_id, WORKER_ID_SIZE))
            death = self._known_death(NodeId(address.node_id), worker_id)
            if death is not None:
                known.append(death)
            else:
                self._node.watches.watch(client.id, NodeId(address.node_id), worker_id)
        if known:
            client.tell_deaths(known)

    def _known_death(self, node_id: NodeId, worker_id: WorkerId) -> common_pb2.DeadWorker | None:
        node = self._node
        death = node.deaths.get(worker_id)
        if death is not None:
            return death
        info = node.core.nodes.dead_info(node_id)
        if info is not None:
            return dead(node_id, worker_id, node_cause(info))
        if node_id != node.node_id or node.core.worker(worker_id) is not None or node.clients.get(worker_id):
            return None
        cause = common_pb2.DeathCause(
            kind=common_pb2.DeathCause.UNKNOWN, node_id=node_id, message="the process is not on this node any more"
        )
        return dead(node_id, worker_id, cause)

    def _endpoint_wanted(self, client: Client, payload: bytes) -> None:
        wanted = raylet_pb2.EndpointWanted.FromString(payload)
        worker_id = WorkerId(wanted.worker_id)
        asker = (client.id, wanted.request_id)
        node = self._node
        if node.core.worker(worker_id) is None and node.clients.get(worker_id) is None:
            node.answer_endpoint(worker_id, [asker], "")
            return
        address = node.endpoints.wanted(worker_id, asker, tcp=wanted.tcp)
        if address is not None:
            node.answer_endpoint(worker_id, [asker], address)
        elif node.endpoints.is_first(worker_id, tcp=wanted.tcp):
            self._open_endpoint(worker_id, tcp=wanted.tcp)

    def _open_endpoint(self, worker_id: WorkerId, *, tcp: bool) -> None:
        # A worker that is still starting is asked when it reports.
        order = raylet_pb2.OpenEndpoint(host=self._node.surroundings.node_ip, tcp=tcp)
        self._node.clients.send(worker_id, raylet_pb2.OPEN_ENDPOINT, order)

    def _endpoint_opened(self, client: Client, payload: bytes) -> None:
        address = raylet_pb2.EndpointOpened.FromString(payload).address
        self._node.answer_endpoint(client.id, self._node.endpoints.opened(client.id, address), address)

    def came(self, client: Client) -> None:
        """It is connected: what waits for it goes out."""
        for tcp in self._node.endpoints.asked_for(client.id):
            self._open_endpoint(client.id, tcp=tcp)

    def _worker_ready(self, client: Client, payload: bytes) -> None:
        raylet_pb2.WorkerReady.FromString(payload)
        worker = self._worker(client)
        worker.pid = client.pid
        self._node.core.worker_ready(worker, self._node.now())
        self._node.settle_soon()

    def _actor_started(self, client: Client, payload: bytes) -> None:
        started = raylet_pb2.ActorStarted.FromString(payload)
        worker = self._worker(client)
        if started.actor_id != worker.actor_id or started.incarnation != worker.incarnation:
            raise ValueError(f"actor {started.actor_id.hex()} is not what this worker was told to start")
        failure = started.failure if started.HasField("failure") else None
        self._node.core.actor_started(worker, failure, started.repr_name, self._node.now())
        self._node.settle_soon()

    def _exiting(self, client: Client, payload: bytes) -> None:
        exiting = raylet_pb2.Exiting.FromString(payload)
        worker = self._node.core.worker(client.id)
        if worker is not None:
            worker.cause = worker.cause or exiting.cause
        elif client.is_driver:
            self._node.driver_died(client, exiting.cause)

    def _exit_declined(self, client: Client, payload: bytes) -> None:
        raylet_pb2.ExitDeclined.FromString(payload)
        self._node.core.exit_declined(self._worker(client), self._node.now())
        self._node.settle_soon()

    def _logs_wanted(self, client: Client, payload: bytes) -> None:
        raylet_pb2.LogsWanted.FromString(payload)
        self._node.logs_wanted(client)

    def _logs_flush(self, client: Client, payload: bytes) -> None:
        raylet_pb2.LogsFlush.FromString(payload)
        self._node.flush_logs(client)

    def _task_events(self, client: Client, payload: bytes) -> None:
        events = task_pb2.TaskEvents.FromString(payload)
        if events.teller.worker_id != client.id:
            raise ValueError(f"{client.id.hex()} tells of tasks in the name of {events.teller.worker_id.hex()}")
        self._node.gcs.tell_tasks(len(payload), events)

    def _user_metrics(self, client: Client, payload: bytes) -> None:
        told = raylet_pb2.UserMetrics.FromString(payload)
        if not client.local:
            raise ValueError(f"{client.id.hex()} is of another node, on whose page its metrics are")
        self._node.user_metrics.told(client.id, told)

    def _references_listed(self, client: Client, payload: bytes) -> None:
        self._node.survey.answered(client.id, raylet_pb2.ReferenceList.FromString(payload))

    def _worker(self, client: Client) -> Worker:
        worker = self._node.core.worker(client.id)
        if worker is None:
            raise ValueError(f"{client.id.hex()} is no worker of this node")
        return worker


def _concerns(worker: Worker, message: raylet_pb2.Blocked) -> bool:
    """A message about a lease that ended meanwhile concerns nobody; actors name none."""
    return not message.lease_id or message.lease_id == worker.lease_id


def _sized(name: str, value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise ValueError(f"{name} {value.hex()!r} must have {size} bytes")
    return value


_HANDLERS: Mapping[int, Handler] = {
    raylet_pb2.LEASES_WANTED: ClientFrames._leases_wanted,
    raylet_pb2.LEASE_CANCELLED: ClientFrames._lease_cancelled,
    raylet_pb2.LEASE_RETURNED: ClientFrames._lease_returned,
    raylet_pb2.BLOCKED: ClientFrames._blocked,
    raylet_pb2.UNBLOCKED: ClientFrames._unblocked,
    raylet_pb2.WATCH: ClientFrames._watch,
    raylet_pb2.ENDPOINT_WANTED: ClientFrames._endpoint_wanted,
    raylet_pb2.ENDPOINT_OPENED: ClientFrames._endpoint_opened,
    raylet_pb2.WORKER_READY: ClientFrames._worker_ready,
    raylet_pb2.ACTOR_STARTED: ClientFrames._actor_started,
    raylet_pb2.EXITING: ClientFrames._exiting,
    raylet_pb2.EXIT_DECLINED: ClientFrames._exit_declined,
    raylet_pb2.LOGS_WANTED: ClientFrames._logs_wanted,
    raylet_pb2.LOGS_FLUSH: ClientFrames._logs_flush,
    raylet_pb2.TASK_EVENTS: ClientFrames._task_events,
    raylet_pb2.USER_METRICS: ClientFrames._user_metrics,
    raylet_pb2.REFERENCES_LISTED: ClientFrames._references_listed,
}
