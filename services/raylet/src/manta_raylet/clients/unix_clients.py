"""raylet.sock: the drivers and workers of this machine."""

from __future__ import annotations

from manta_common.channel.framing import ProtocolError
from manta_common.channel.hello import HelloRefused
from manta_common.channel.unix_asyncio import Connection, UnixServer, serve_unix
from manta_common.ids import WORKER_ID_SIZE, JobId, NodeId, WorkerId
from manta_common.logs import get
from manta_common.process import explain_lack
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2

from manta_raylet.clients.client import Client
from manta_raylet.clients.client_frames import ClientFrames
from manta_raylet.clients.node import Node
from manta_raylet.processes.worker_starter import worker_details

_log = get("manta_raylet.clients")

FRAME_LIMIT_BYTES = 64 * 1024 * 1024


class UnixClients:
    """Serves the node's socket; the peer's pid comes from the kernel, and its end is seen by pidfd."""

    def __init__(self, node: Node, frames: ClientFrames, path: str) -> None:
        self._node = node
        self._frames = frames
        self.path = path
        self._server: UnixServer | None = None

    async def start(self) -> None:
        """raises: OSError when another process serves the path."""
        self._server = await serve_unix(
            self.path, self._node.token, self._serve, welcome=self._welcome, max_frame_bytes=FRAME_LIMIT_BYTES
        )

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def _welcome(self, connection: Connection, hello: common_pb2.Hello) -> common_pb2.Welcome:
        """raises: HelloRefused with what is wrong with the hello, or that this process has no descriptor left."""
        reason = refusal(self._node, hello)
        if not reason and hello.pid != connection.peer_pid:
            reason = f"the hello says pid {hello.pid}, the kernel {connection.peer_pid}"
        if not reason and hello.role == common_pb2.WORKER and self._node.core.worker(WorkerId(hello.worker_id)) is None:
            reason = f"no worker {hello.worker_id.hex()} is wanted on this node"
        if not reason and hello.role == common_pb2.DRIVER:
            try:
                self._node.processes.watch_driver(WorkerId(hello.worker_id), hello.pid)
            except OSError as error:
                reason = f"the raylet cannot watch another process: {explain_lack(error)}"
        if reason:
            raise HelloRefused(reason)
        return worker_welcome(self._node) if hello.role == common_pb2.WORKER else welcome_of(self._node)

    async def _serve(self, connection: Connection, hello: common_pb2.Hello) -> None:
        client = client_of(hello, local=True)
        client.link = connection
        node = self._node
        node.client_came(client)
        known = node.clients.get(client.id)
        if known is None:
            return
        self._frames.came(known)
        reason = ""
        try:
            async for kind, payload in connection:
                self._frames.handle(known, kind, payload)
        except ProtocolError as error:
            reason = str(error)
            _log.warning("client_malformed", client=client.id, pid=client.pid, reason=reason)
        finally:
            connection.close(reason or "closed by this side")
            node.client_left(client.id, connection, reason or connection.reason)


def refusal(node: Node, hello: common_pb2.Hello) -> str:
    """Why this hello cannot be accepted on any carrier; empty when it can."""
    if hello.role not in (common_pb2.DRIVER, common_pb2.WORKER):
        return f"role {hello.role} does not use leases; drivers and workers do"
    if len(hello.worker_id) != WORKER_ID_SIZE:
        return f"worker id {hello.worker_id.hex()!r} must have {WORKER_ID_SIZE} bytes"
    if node.deaths.get(WorkerId(hello.worker_id)) is not None:
        return f"process {hello.worker_id.hex()} was declared dead; start anew under another id"
    return ""


def worker_welcome(node: Node) -> common_pb2.Welcome:
    """What this node's workers are prepared for."""
    return common_pb2.Welcome(node_id=node.node_id, details=worker_details(node.surroundings, node.node_id))


def welcome_of(node: Node) -> common_pb2.Welcome:
    around = node.surroundings
    details = raylet_pb2.RayletWelcome(
        node_id=node.node_id,
        object_manager_socket=around.object_manager_socket,
        gcs_addresses=around.gcs_addresses,
        node=node.info(),
        task_event_interval_ms=around.task_event_interval_ms,
        metrics_interval_ms=around.metrics_interval_ms,
        max_lineage_bytes=around.max_lineage_bytes,
        tuning=around.tuning,
    )
    return common_pb2.Welcome(node_id=node.node_id, details=details.SerializeToString())


def client_of(hello: common_pb2.Hello, *, local: bool) -> Client:
    return Client(
        id=WorkerId(hello.worker_id),
        role=hello.role,
        node_id=NodeId(hello.node_id),
        job_id=JobId(hello.job_id),
        pid=hello.pid,
        local=local,
    )
