"""The node's objects: joins the object table, the arena's memory and the pulls; the one owner of all three.

Everything here runs on the event loop's thread. Waits are callbacks: a request that must wait is kept by its client
and number, and run again when what it waits for has settled.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from google.protobuf.message import Message
from manta.common.ids import JobId, NodeId, ObjectId, WorkerId
from manta.common.logs import get
from manta.object_manager.memory import ArenaMemory, MemoryShort
from manta.object_manager.node_table import NodeTable, NotThere, Peer
from manta.object_manager.object_table import ClientId, Copy, Entry, Exists, Full, NotAllowed, ObjectTable, Owner
from manta.object_manager.pulls import Command, OpenStream, Pulls, Receive, StopStream, Tell, WaiterId
from manta.object_manager.reservation import Reservations
from manta.proto.common.v1.common_pb2 import WorkerAddress
from manta.proto.object_manager.v1 import object_manager_pb2 as pb

# Holds the pins of transfers to other nodes. Clients count from 1; pulls write as the negative of their attempt.
TRANSFERS: Final = ClientId(0)

_log = get("manta.object_manager")


class Client(Protocol):
    """A local process with an open connection."""

    id: ClientId
    closed: bool

    def send(self, kind: int, message: Message) -> None: ...


class Puller(Protocol):
    """Brings objects from other nodes; see flight_pull. Each stream ends with one call of Store.stream_ended."""

    def open(self, command: OpenStream, address: str) -> None: ...

    def receive(self, attempt: int, offset: int, size: int) -> None: ...

    def stop(self, attempt: int) -> None: ...


@dataclass(slots=True, eq=False)
class _Waiting:
    """A GET that is not answered yet."""

    client: Client
    request_id: int
    object_id: ObjectId
    node_ids: tuple[NodeId, ...]
    owner: Owner
    waiter: WaiterId
    done: bool = False


class Store:
    """Answers local clients and other nodes. See the proto file for the messages."""

    def __init__(
        self,
        memory: ArenaMemory,
        table: ObjectTable,
        pulls: Pulls,
        nodes: NodeTable,
        reservations: Reservations,
        *,
        unknown_node_wait_s: float = 5.0,
    ) -> None:
        self.memory, self.table, self.pulls, self.nodes = memory, table, pulls, nodes
        self.arrived_objects = 0
        self.arrived_bytes = 0
        self.failed_pulls = 0
        self.own_flight_address = ""
        self._reservations = reservations
        self._unknown_node_wait_s = unknown_node_wait_s
        self._puller: Puller | None = None
        self._requests: dict[tuple[ClientId, int], _Waiting] = {}
        self._waiters: dict[WaiterId, _Waiting] = {}
        self._next_waiter = 0
        # What to run again once an object that is being written here is sealed or given up.
        self._on_settled: dict[ObjectId, list[Callable[[], None]]] = {}
        # Ranges that pulls fill: attempt -> object.
        self._filling: dict[int, ObjectId] = {}
        self._unknown: dict[NodeId, list[OpenStream]] = {}

    def attach(self, puller: Puller) -> None:
        self._puller = puller

    # ---- local clients

    def create(self, client: Client, request: pb.Create) -> None:
        """Answer CREATED once a range is reserved, or why not; one that is being written elsewhere is waited for."""
        if client.closed:
            return
        object_id = ObjectId(request.object_id)
        result: Entry | Exists | Full | NotAllowed
        try:
            result = self.table.create(client.id, object_id, request.size, _owner(request.owner), Copy.PRIMARY)
        except NotAllowed as error:
            result = error
        if isinstance(result, (Full, NotAllowed)):
            code = pb.Failure.FULL if isinstance(result, Full) else pb.Failure.INVALID
            failure = pb.Failure(code=code, message=str(result))
            client.send(pb.CREATED, pb.Created(request_id=request.request_id, failure=failure))
        elif result is Exists.SEALED:
            client.send(pb.CREATED, pb.Created(request_id=request.request_id, exists=True))
        elif isinstance(result, Entry):
            entry = result
            self._reserve(entry, lambda problem: self._created(client, request.request_id, entry, problem))
        else:
            self._when_settled(object_id, lambda: self.create(client, request))

    def seal(self, client: Client, request: pb.Seal) -> None:
        """raises: NotAllowed."""
        object_id = ObjectId(request.object_id)
        self.table.seal(client.id, object_id, keep_pin=request.keep_pin)
        self._settled(object_id)

    def abort(self, client: Client, request: pb.Abort) -> None:
        """raises: NotAllowed."""
        object_id = ObjectId(request.object_id)
        self.table.abort(client.id, object_id)
        self._settled(object_id)

    def get(self, client: Client, request: pb.Get) -> None:
        """Answer LOCATED with a pin, after a pull if need be."""
        object_id = ObjectId(request.object_id)
        entry = self.table.pin(client.id, object_id)
        if entry is not None:
            client.send(pb.LOCATED, _located(request.request_id, entry))
            return
        self._next_waiter += 1
        waiting = _Waiting(
            client,
            request.request_id,
            object_id,
            tuple(NodeId(node) for node in request.node_ids),
            _owner(request.owner),
            WaiterId(self._next_waiter),
        )
        self._requests[client.id, request.request_id] = waiting
        self._waiters[waiting.waiter] = waiting
        self._bring(waiting)

    def cancel_get(self, client: Client, request: pb.GetCancelled) -> None:
        waiting = self._requests.get((client.id, request.request_id))
        if waiting is not None:  # else it was answered a moment ago, and the client gives the pin back
            self._forget(waiting)
            self._run(self.pulls.cancel(waiting.waiter))

    def release(self, client: Client, request: pb.Release) -> None:
        """raises: NotAllowed, after which the rest of the list was not released."""
        for object_id in request.object_ids:
            self.table.release(client.id, ObjectId(object_id))

    def client_closed(self, client: Client) -> None:
        """Nobody reads the answers any more. Pins stay: the process may live, with views."""
        for waiting in [one for one in self._requests.values() if one.client is client]:
            self._forget(waiting)
            self._run(self.pulls.cancel(waiting.waiter))

    def client_gone(self, client: Client) -> None:
        """The process is dead: its pins and unfinished objects go."""
        for object_id in self.table.drop_client(client.id):
            self._settled(object_id)

    def free(self, object_ids: Iterable[bytes]) -> None:
        self.table.free(ObjectId(object_id) for object_id in object_ids)

    def describe(self, request: pb.DescribeRequest) -> pb.DescribeReply:
        reply = pb.DescribeReply(
            request_id=request.request_id,
            arena_size=self.memory.size,
            used=sum(entry.range.size for entry in self.table),
            touched=self.memory.reserved,
            objects_count=len(self.table),
            pins_count=sum(sum(entry.pins.values()) + (entry.creator is not None) for entry in self.table),
        )
        if request.with_objects:
            reply.objects.extend(_description(entry) for entry in self.table)
        return reply

    # ---- the node's raylet

    def node_alive(self, node_id: NodeId, peer: Peer) -> None:
        self.nodes.alive(node_id, peer)
        for command in self._unknown.pop(node_id, ()):
            if self.pulls.is_current(command.object_id, command.attempt):
                self._run([command])

    def is_own_node(self, node_id: NodeId) -> bool:
        peer = self.nodes.find(node_id)
        return isinstance(peer, Peer) and peer.flight == self.own_flight_address

    def node_died(self, node_id: NodeId) -> None:
        if self.nodes.died(node_id):
            self._unknown.pop(node_id, None)
            self._run(self.pulls.node_died(node_id))

    def workers_died(self, workers: Iterable[WorkerId]) -> None:
        freed = self.table.drop_owners(tuple(workers))
        if freed:
            _log.info("objects_of_dead_owners_freed", objects=freed)

    def job_ended(self, job: JobId, surviving: Iterable[WorkerId]) -> None:
        freed = self.table.drop_job(job, frozenset(surviving))
        _log.info("objects_of_job_freed", job_id=job.hex(), objects=freed)

    # ---- transfers to other nodes

    async def pin_for_transfer(self, object_id: ObjectId, wait_s: float) -> Entry | None:
        """Pin a sealed object for a transfer; one that a local process is just writing is waited for."""
        entry = self.table.pin(TRANSFERS, object_id)
        present = self.table.find(object_id)
        # One that is itself being pulled is no source: two nodes could wait for each other.
        if entry is not None or present is None or present.creator is None or present.creator < 0:
            return entry
        settled = asyncio.get_running_loop().create_future()
        self._when_settled(object_id, lambda: None if settled.done() else settled.set_result(None))
        try:
            async with asyncio.timeout(wait_s):
                await settled
        except TimeoutError:
            return None
        return self.table.pin(TRANSFERS, object_id)

    def unpin_transfer(self, object_id: ObjectId) -> None:
        self.table.release(TRANSFERS, object_id)

    # ---- pulls, as their streams report

    def stream_opened(self, command: OpenStream, size: int) -> None:
        self._run(self.pulls.opened(command.object_id, command.attempt, size))

    def stream_ended(self, command: OpenStream, problem: str) -> None:
        """The stream's thread has stopped touching its range. problem: empty when all bytes arrived."""
        object_id = self._filling.pop(command.attempt, None)
        if problem:
            self.failed_pulls += 1
            _log.info("pull_failed", object_id=command.object_id.hex(), node_id=command.node_id.hex(), reason=problem)
            if object_id is not None:
                self.table.abort(_writer(command.attempt), object_id)
                self._settled(object_id)
            self._run(self.pulls.failed(command.object_id, command.attempt))
            return
        if object_id is None:  # a stream without a range cannot have delivered; a bug of the puller
            raise RuntimeError(f"pull {command.attempt} of {command.object_id.hex()} ended without a range")
        writer = _writer(command.attempt)
        entry = self.table.seal(writer, object_id, keep_pin=True)
        self.arrived_objects += 1
        self.arrived_bytes += entry.size
        self._run(self.pulls.finished(object_id, command.attempt))
        self._settled(object_id)
        # Only now, so that nobody's reservation evicts what the waiters came for.
        self.table.release(writer, object_id)

    # ---- inside

    def _created(self, client: Client, request_id: int, entry: Entry, problem: MemoryShort | None) -> None:
        if self.table.find(entry.object_id) is not entry:
            return  # its writer died meanwhile
        if problem is None:
            client.send(pb.CREATED, pb.Created(request_id=request_id, offset=entry.range.offset))
            return
        self.table.abort(client.id, entry.object_id)
        failure = pb.Failure(code=pb.Failure.FULL, message=_short_of_memory(entry.size, problem))
        client.send(pb.CREATED, pb.Created(request_id=request_id, failure=failure))
        self._settled(entry.object_id)

    def _bring(self, waiting: _Waiting) -> None:
        if waiting.done:
            return
        entry = self.table.pin(waiting.client.id, waiting.object_id)
        if entry is not None:
            self._forget(waiting)
            waiting.client.send(pb.LOCATED, _located(waiting.request_id, entry))
            return
        present = self.table.find(waiting.object_id)
        if present is not None and present.creator is not None and present.creator > 0:
            self._when_settled(waiting.object_id, lambda: self._bring(waiting))
            return
        self._run(self.pulls.request(waiting.waiter, waiting.object_id, waiting.node_ids, waiting.owner))

    def _run(self, commands: list[Command]) -> None:
        assert self._puller is not None, "attach a puller before serving"
        while commands:
            following: list[Command] = []
            for command in commands:
                match command:
                    case OpenStream():
                        following += self._open(command, self._puller)
                    case Receive():
                        following += self._receive(command, self._puller)
                    case StopStream():
                        self._puller.stop(command.attempt)
                    case Tell():
                        self._tell(command)
            commands = following

    def _open(self, command: OpenStream, puller: Puller) -> list[Command]:
        peer = self.nodes.find(command.node_id)
        if peer is NotThere.UNKNOWN:
            self._unknown.setdefault(command.node_id, []).append(command)
            asyncio.get_running_loop().call_later(self._unknown_node_wait_s, self._still_unknown, command)
            return []
        if peer is NotThere.DEAD or peer.flight == self.own_flight_address:
            return self.pulls.failed(command.object_id, command.attempt)
        puller.open(command, peer.flight)
        return []

    def _still_unknown(self, command: OpenStream) -> None:
        waiting = self._unknown.get(command.node_id, [])
        if command in waiting:
            waiting.remove(command)
            if not waiting:
                del self._unknown[command.node_id]
            _log.warning("pull_from_unknown_node", object_id=command.object_id.hex(), node_id=command.node_id.hex())
            self._run(self.pulls.failed(command.object_id, command.attempt))

    def _receive(self, command: Receive, puller: Puller) -> list[Command]:
        writer = _writer(command.attempt)
        result = self.table.create(writer, command.object_id, command.size, command.owner, Copy.SECONDARY)
        if isinstance(result, Full):
            return self._refuse(command, str(result), puller)
        if result is Exists.SEALED:
            return self.pulls.present(command.object_id)
        if isinstance(result, Entry):
            self._filling[command.attempt] = command.object_id
            entry = result
            self._reserve(entry, lambda problem: self._fill(command, entry, problem))
            return []
        self._when_settled(command.object_id, lambda: self._receive_again(command))
        return []

    def _receive_again(self, command: Receive) -> None:
        assert self._puller is not None
        if self.pulls.is_receiving(command.object_id, command.attempt):
            self._run(self._receive(command, self._puller))

    def _fill(self, command: Receive, entry: Entry, problem: MemoryShort | None) -> None:
        assert self._puller is not None
        if self.table.find(entry.object_id) is not entry:
            return  # the stream ended while the memory was being reserved
        if problem is None:
            self._puller.receive(command.attempt, entry.range.offset, entry.size)
            return
        commands = self._refuse(command, _short_of_memory(command.size, problem), self._puller)
        self._run(commands)

    def _refuse(self, command: Receive, reason: str, puller: Puller) -> list[Command]:
        failure = pb.Failure(code=pb.Failure.FULL, message=reason)
        for waiter in self.pulls.refused(command.object_id, command.attempt):
            self._answer(waiter, failure)
        puller.stop(command.attempt)
        return self.pulls.advance()

    def _tell(self, command: Tell) -> None:
        for waiter in command.waiters:
            waiting = self._waiters.get(waiter)
            if waiting is None:
                continue
            entry = self.table.pin(waiting.client.id, command.object_id)
            if entry is not None:
                self._forget(waiting)
                waiting.client.send(pb.LOCATED, _located(waiting.request_id, entry))
                continue
            lost_at = command.lost_at or ()
            asked = f"{len(lost_at)} nodes that were asked" if lost_at else "the request, which names no other node"
            failure = pb.Failure(
                code=pb.Failure.LOST,
                message=f"object {command.object_id.hex()} is neither on this node nor at {asked}",
                lost_at=lost_at,
            )
            self._answer(waiter, failure)

    def _answer(self, waiter: WaiterId, failure: pb.Failure) -> None:
        waiting = self._waiters.get(waiter)
        if waiting is None:
            return
        self._forget(waiting)
        reply = pb.Located(request_id=waiting.request_id, object_id=waiting.object_id, failure=failure)
        waiting.client.send(pb.LOCATED, reply)

    def _forget(self, waiting: _Waiting) -> None:
        waiting.done = True
        self._requests.pop((waiting.client.id, waiting.request_id), None)
        self._waiters.pop(waiting.waiter, None)

    def _reserve(self, entry: Entry, done: Callable[[MemoryShort | None], None]) -> None:
        self._reservations.reserve(entry.range.end, done)

    def _when_settled(self, object_id: ObjectId, again: Callable[[], None]) -> None:
        self._on_settled.setdefault(object_id, []).append(again)

    def _settled(self, object_id: ObjectId) -> None:
        for again in self._on_settled.pop(object_id, ()):
            again()


def _writer(attempt: int) -> ClientId:
    return ClientId(-attempt)


def _owner(address: WorkerAddress) -> Owner:
    return Owner(NodeId(address.node_id), WorkerId(address.worker_id))


def _located(request_id: int, entry: Entry) -> pb.Located:
    return pb.Located(request_id=request_id, object_id=entry.object_id, offset=entry.range.offset, size=entry.size)


def _short_of_memory(size: int, problem: MemoryShort) -> str:
    return f"the object store cannot hold an object of {size} bytes: {problem}"


def _description(entry: Entry) -> pb.DescribeReply.Object:
    described = pb.DescribeReply.Object(
        object_id=entry.object_id,
        size=entry.size,
        sealed=entry.creator is None,
        primary=entry.copy is Copy.PRIMARY,
        freed=entry.freed,
        pins=sum(entry.pins.values()) + (entry.creator is not None),
    )
    described.owner.node_id = entry.owner.node_id
    described.owner.worker_id = entry.owner.worker_id
    return described
