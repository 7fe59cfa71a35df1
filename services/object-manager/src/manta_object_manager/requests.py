"""What local clients may send: each kind of frame with its message and its answer."""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import Message
from manta_common.channel.framing import ProtocolError
from manta_common.ids import OBJECT_ID_SIZE, JobId, NodeId, WorkerId
from manta_proto.common.v1.common_pb2 import NodeInfo, Role
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

from manta_object_manager.client_id import NotAllowed
from manta_object_manager.client_server import LocalClient
from manta_object_manager.garbage import Garbage
from manta_object_manager.incoming import Incoming
from manta_object_manager.node_table import Peer
from manta_object_manager.remote_free import RemoteFrees
from manta_object_manager.store import Store

_RAYLET_ONLY: Final = frozenset({pb.NODES, pb.WORKERS_DIED, pb.JOB_ENDED, pb.PREFETCH})


class Requests:
    """Parses frames, checks them and calls the store."""

    def __init__(self, store: Store, incoming: Incoming, frees: RemoteFrees, garbage: Garbage) -> None:
        self._store = store
        self._garbage = garbage
        self._incoming = incoming
        self._frees = frees
        self._handlers: dict[int, tuple[type[Message], Callable[[LocalClient, Any], None]]] = {
            pb.CREATE: (pb.Create, self._create),
            pb.SEAL: (pb.Seal, self._seal),
            pb.ABORT: (pb.Abort, store.abort),
            pb.GET: (pb.Get, self._get),
            pb.GET_CANCELLED: (pb.GetCancelled, incoming.cancel_get),
            pb.RELEASE: (pb.Release, store.release),
            pb.FREE: (pb.Free, self._free),
            pb.EXTENT_WANTED: (pb.ExtentWanted, store.extents.wanted),
            pb.EXTENT_RETURNED: (pb.ExtentReturned, store.extents.returned),
            pb.EXTENTS_ANSWERED: (pb.ExtentsAnswered, store.extents.answered),
            pb.GARBAGE_COLLECTED: (pb.GarbageCollected, garbage.answered),
            pb.DESCRIBE: (pb.DescribeRequest, self._describe),
            pb.NODES: (pb.Nodes, self._nodes),
            pb.WORKERS_DIED: (pb.WorkersDied, self._workers_died),
            pb.JOB_ENDED: (pb.JobEnded, self._job_ended),
            pb.PREFETCH: (pb.Prefetch, self._prefetch),
        }

    def handle(self, client: LocalClient, kind: int, payload: bytes) -> None:
        """raises: ProtocolError or DecodeError, which end the connection."""
        found = self._handlers.get(kind)
        if found is None:
            raise ProtocolError(f"frame kind {kind} is not known here")
        if kind in _RAYLET_ONLY and client.hello.role != Role.RAYLET:
            raise ProtocolError(f"frame kind {kind} is for raylets only")
        message, handler = found
        try:
            handler(client, message.FromString(payload))
        except NotAllowed as error:
            raise ProtocolError(str(error)) from error

    def client_closed(self, client: LocalClient) -> None:
        """The connection ended; the process may live on, with views."""
        self._incoming.client_closed(client)
        self._store.extents.client_closed(client)
        self._garbage.client_closed(client)

    def _create(self, client: LocalClient, request: pb.Create) -> None:
        _check_object_id(request.object_id)
        if request.collect:
            create = self._store.create
            self._garbage.when_collected(
                client, lambda let_go: create(client, request, frees_follow=let_go or request.let_go)
            )
        else:
            self._store.create(client, request)

    def _seal(self, client: LocalClient, request: pb.Seal) -> None:
        _check_object_id(request.object_id)
        self._store.seal(client, request)

    def _get(self, client: LocalClient, request: pb.Get) -> None:
        _check_object_id(request.object_id)
        if request.collect:
            self._garbage.when_collected(client, lambda _let_go: self._get_collected(client, request))
        else:
            self._incoming.get(client, request)

    def _get_collected(self, client: LocalClient, request: pb.Get) -> None:
        if not client.closed:
            self._incoming.get(client, request)

    def _free(self, client: LocalClient, request: pb.Free) -> None:
        here: list[bytes] = []
        maybe: list[bytes] = []
        for item in request.items:
            elsewhere = [NodeId(node) for node in item.node_ids if not self._incoming.is_own_node(NodeId(node))]
            if len(elsewhere) < len(item.node_ids):
                here.append(item.object_id)
            elif not item.only_there:
                maybe.append(item.object_id)
            for node_id in elsewhere:
                self._frees.add(node_id, item.object_id)
        self._store.free(here)
        self._store.free_if_here(maybe)

    def _describe(self, client: LocalClient, request: pb.DescribeRequest) -> None:
        client.send(pb.DESCRIBED, self._store.describe(request))

    def _prefetch(self, client: LocalClient, request: pb.Prefetch) -> None:
        for item in request.items:
            _check_object_id(item.object_id)
        self._store.prefetch.wanted(request, self._incoming.get)

    def _nodes(self, client: LocalClient, request: pb.Nodes) -> None:
        for node in request.nodes:
            node_id = NodeId(node.node_id)
            if node.state == NodeInfo.DEAD:
                self._incoming.node_died(node_id)
                self._frees.node_died(node_id)
                self._store.node_died(node_id)
            else:
                self._incoming.node_alive(node_id, Peer(node.flight_address, node.object_manager_address))

    def _workers_died(self, client: LocalClient, request: pb.WorkersDied) -> None:
        self._store.workers_died(WorkerId(worker.address.worker_id) for worker in request.workers)

    def _job_ended(self, client: LocalClient, request: pb.JobEnded) -> None:
        surviving = (WorkerId(worker_id) for worker_id in request.surviving_worker_ids)
        self._store.job_ended(JobId(request.job_id), surviving)


def _check_object_id(object_id: bytes) -> None:
    if len(object_id) != OBJECT_ID_SIZE:
        raise ProtocolError(f"an object id of {len(object_id)} bytes; it must have {OBJECT_ID_SIZE}")
