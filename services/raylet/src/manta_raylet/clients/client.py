"""The drivers and workers that speak to this raylet, whether connected now or not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from google.protobuf.message import Message
from manta_common.channel.connection import ConnectionClosed
from manta_common.ids import JobId, NodeId
from manta_common.logs import get
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2

from manta_raylet.kernel.lease import ClientId

if TYPE_CHECKING:
    from manta_raylet.clients.log_feed import LogFeed

_log = get("manta_raylet.clients")

# Deaths that a client missed while it was not connected.
_MISSED_DEATHS: Final = 1_000


class Link(Protocol):
    """An open connection to a client, on either carrier."""

    @property
    def closed(self) -> bool: ...
    def send(self, kind: int, message: bytes | Message) -> None: ...
    async def drain(self) -> None: ...
    def close(self, reason: str = ...) -> None: ...


@dataclass(slots=True)
class Client:
    """One driver or worker by its worker id; it stays until its death is declared. local: its pid is of this node."""

    id: ClientId
    role: int
    node_id: NodeId
    job_id: JobId
    pid: int
    local: bool
    link: Link | None = None
    logs: LogFeed | None = None
    missed_deaths: deque[common_pb2.DeadWorker] = field(default_factory=lambda: deque(maxlen=_MISSED_DEATHS))

    @property
    def is_driver(self) -> bool:
        return self.role == common_pb2.DRIVER

    def send(self, kind: int, message: Message) -> bool:
        """returns: False when it is not connected; then the message is lost, or sent again when it is back."""
        if self.link is None or self.link.closed:
            return False
        try:
            self.link.send(kind, message)
        except ConnectionClosed as error:
            _log.warning("client_not_reached", client=self.id, reason=str(error))
            return False
        return True

    def tell_deaths(self, deaths: list[common_pb2.DeadWorker]) -> None:
        """WORKERS_DIED now, or when it is back."""
        if not self.send(raylet_pb2.WORKERS_DIED, raylet_pb2.WorkersDied(workers=deaths)):
            self.missed_deaths.extend(deaths)


class ClientTable:
    """Clients by id."""

    def __init__(self) -> None:
        self._clients: dict[ClientId, Client] = {}

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients.values()))

    def get(self, client: ClientId) -> Client | None:
        return self._clients.get(client)

    def put(self, client: Client) -> None:
        self._clients[client.id] = client

    def pop(self, client: ClientId) -> Client | None:
        return self._clients.pop(client, None)

    def send(self, client: ClientId, kind: int, message: Message) -> bool:
        found = self._clients.get(client)
        return found is not None and found.send(kind, message)

    def ask_tasks_again(self) -> None:
        """Have all of this node tell of their tasks anew. Who is not connected now has told, or will, what ends."""
        for client in self:
            if client.local:
                client.send(raylet_pb2.TASK_EVENTS_LOST, raylet_pb2.TaskEventsLost())

    def on_node(self, node_id: NodeId) -> list[Client]:
        return [client for client in self if client.node_id == node_id]

    def remote_workers(self, job_id: JobId) -> set[ClientId]:
        """Workers of the job on other nodes that lease, or leased, workers here."""
        return {c.id for c in self if not c.local and not c.is_driver and c.job_id in (job_id, b"")}

    def listening_jobs(self) -> set[JobId]:
        """Jobs whose driver wants its workers' output."""
        return {client.job_id for client in self if client.logs is not None}

    def listeners(self, job_id: JobId) -> list[Client]:
        """Drivers of the job that want its workers' output."""
        return [client for client in self if client.logs is not None and client.job_id == job_id]
