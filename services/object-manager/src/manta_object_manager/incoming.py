"""Objects on their way here: the clients that wait for one, the pulls that bring it, the nodes that may have it.

Everything here runs on the event loop's thread. Waits are callbacks: a request that must wait is kept by its client
and number, and run again when what it waits for has settled.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from manta_common.ids import NodeId, ObjectId
from manta_common.logs import get
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

from manta_object_manager.client_id import PREFETCHES, ClientId
from manta_object_manager.client_link import Client
from manta_object_manager.extent_service import ExtentService
from manta_object_manager.memory import MemoryShort
from manta_object_manager.messages import located, owner_of, short_of_memory
from manta_object_manager.node_table import NodeTable, NotThere, Peer
from manta_object_manager.object_table import Copy, Entry, Exists, Full, ObjectTable, Owner, State
from manta_object_manager.prefetch import Prefetch
from manta_object_manager.pulls import Command, OpenStream, Pulls, Receive, Rest, StopStream, Tell, WaiterId
from manta_object_manager.reservation import Reservations
from manta_object_manager.writes import Writes

_log = get("manta_object_manager")


class Puller(Protocol):
    """Brings objects from other nodes; see flight_pull. Each stream ends with one call of Incoming.stream_*."""

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


class Incoming:
    """Answers GETs. See the proto file for the messages."""

    def __init__(
        self,
        table: ObjectTable,
        pulls: Pulls,
        nodes: NodeTable,
        reservations: Reservations,
        writes: Writes,
        extents: ExtentService,
        prefetch: Prefetch,
        *,
        unknown_node_wait_s: float = 5.0,
    ) -> None:
        self.pulls, self.nodes = pulls, nodes
        self.arrived_objects = 0
        self.arrived_bytes = 0
        self.failed_pulls = 0
        self.own_flight_address = ""
        self._table = table
        self._reservations = reservations
        self._writes = writes
        self._extents = extents
        self.prefetch = prefetch
        self._unknown_node_wait_s = unknown_node_wait_s
        self._puller: Puller | None = None
        self._requests: dict[tuple[ClientId, int], _Waiting] = {}
        self._waiters: dict[WaiterId, _Waiting] = {}
        self._next_waiter = 0
        # Ranges that pulls fill: attempt -> object.
        self._filling: dict[int, ObjectId] = {}
        self._unknown: dict[NodeId, list[OpenStream]] = {}

    def attach(self, puller: Puller) -> None:
        self._puller = puller

    # ---- local clients

    def get(self, client: Client, request: pb.Get) -> None:
        """Answer LOCATED with a pin, after a pull if need be."""
        object_id = ObjectId(request.object_id)
        entry = self._table.pin(client.id, object_id)
        if entry is not None:
            client.send(pb.LOCATED, located(request.request_id, entry))
            if self.prefetch.pinned and client.id != PREFETCHES:
                self.prefetch.release(object_id)
            return
        self._next_waiter += 1
        waiting = _Waiting(
            client,
            request.request_id,
            object_id,
            tuple(NodeId(node) for node in request.node_ids),
            owner_of(request.owner),
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

    def client_closed(self, client: Client) -> None:
        """Nobody reads the answers any more. Pins stay: the process may live, with views."""
        for waiting in [one for one in self._requests.values() if one.client is client]:
            self._forget(waiting)
            self._run(self.pulls.cancel(waiting.waiter))

    # ---- nodes

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

    # ---- pulls, as their streams report

    def stream_opened(self, command: OpenStream, size: int) -> None:
        self._run(self.pulls.opened(command.object_id, command.attempt, size))

    def stream_missing(self, command: OpenStream, reason: str) -> None:
        """The node says that it has no such object."""
        self._note_failure(command, reason)
        self._run(self.pulls.missing(command.object_id, command.attempt))

    def stream_broke(self, command: OpenStream, reason: str) -> None:
        """The node could not be asked, or broke off; the stream's thread has stopped touching its range."""
        self._note_failure(command, reason)
        object_id = self._filling.pop(command.attempt, None)
        if object_id is not None:
            self._table.abort(_writer(command.attempt), object_id)
            self._writes.settled(object_id)
        self._run(self.pulls.unreached(command.object_id, command.attempt))

    def stream_arrived(self, command: OpenStream) -> None:
        """All bytes are in the range, which the stream's thread does not touch any more."""
        object_id = self._filling.pop(command.attempt, None)
        if object_id is None:  # a stream without a range cannot have delivered; a bug of the puller
            raise RuntimeError(f"pull {command.attempt} of {command.object_id.hex()} ended without a range")
        writer = _writer(command.attempt)
        entry = self._table.seal(writer, object_id, keep_pin=True)
        self.arrived_objects += 1
        self.arrived_bytes += entry.size
        self._run(self.pulls.finished(object_id, command.attempt))
        self._writes.settled(object_id)
        # Only now, so that nobody's reservation evicts what the waiters came for.
        self._table.release(writer, object_id)

    # ---- inside

    def _note_failure(self, command: OpenStream, reason: str) -> None:
        self.failed_pulls += 1
        _log.info("pull_failed", object_id=command.object_id.hex(), node_id=command.node_id.hex(), reason=reason)

    def _bring(self, waiting: _Waiting) -> None:
        if waiting.done:
            return
        entry = self._table.pin(waiting.client.id, waiting.object_id)
        if entry is not None:
            self._forget(waiting)
            waiting.client.send(pb.LOCATED, located(waiting.request_id, entry))
            return
        present = self._table.find(waiting.object_id)
        if present is not None and present.creator is not None and present.creator > 0:
            self._writes.when_settled(waiting.object_id, lambda: self._bring(waiting))
            return
        if present is None and not waiting.node_ids and self._extents.anything_unheard():
            self._extents.when_settled(lambda: self._bring_what_is_known(waiting))
            return
        self._request(waiting)

    def _bring_what_is_known(self, waiting: _Waiting) -> None:
        """All that was on its way is here; nobody says where else the object is."""
        if not waiting.done:
            if self._table.find(waiting.object_id) is not None:
                self._bring(waiting)
            else:
                self._request(waiting)

    def _request(self, waiting: _Waiting) -> None:
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
                    case Rest():
                        asyncio.get_running_loop().call_later(command.delay_s, self._rested, command)
                    case Tell():
                        self._tell(command)
            commands = following

    def _open(self, command: OpenStream, puller: Puller) -> list[Command]:
        peer = self.nodes.find(command.node_id)
        if peer is NotThere.UNKNOWN:
            self._unknown.setdefault(command.node_id, []).append(command)
            asyncio.get_running_loop().call_later(self._unknown_node_wait_s, self._still_unknown, command)
            return []
        if peer is NotThere.DEAD:
            return self.pulls.missing(command.object_id, command.attempt)
        if peer.flight == self.own_flight_address:
            if not self._extents.anything_unheard():
                return self._look_again(command)
            self._extents.when_settled(lambda: self._run(self._look_again(command)))
            return []
        asyncio.get_running_loop().call_later(command.patience_s, self._overdue, command)
        puller.open(command, peer.flight)
        return []

    def _look_again(self, command: OpenStream) -> list[Command]:
        """This node itself is said to have the object, and all that was on its way is here."""
        object_id = command.object_id
        if not self.pulls.is_current(object_id, command.attempt):
            return []
        present = self._table.find(object_id)
        if present is not None and present.state is State.SEALED:
            return self.pulls.present(object_id)
        return self.pulls.missing(object_id, command.attempt)

    def _overdue(self, command: OpenStream) -> None:
        commands = self.pulls.overdue(command.object_id, command.attempt)
        if commands:
            self._note_failure(command, f"no answer within {command.patience_s:g} s")
            self._run(commands)

    def _rested(self, command: Rest) -> None:
        self._run(self.pulls.rested(command.object_id, command.attempt))

    def _still_unknown(self, command: OpenStream) -> None:
        waiting = self._unknown.get(command.node_id, [])
        if command in waiting:
            waiting.remove(command)
            if not waiting:
                del self._unknown[command.node_id]
            _log.warning("pull_from_unknown_node", object_id=command.object_id.hex(), node_id=command.node_id.hex())
            self._run(self.pulls.missing(command.object_id, command.attempt))

    def _receive(self, command: Receive, puller: Puller) -> list[Command]:
        size = command.size
        if not self._table.has_room(size):
            self.prefetch.release_all()
        if self._table.has_room(size) or not self._table.room_in_extents(size):
            return self._take_room(command, puller)
        self._extents.when_returned(lambda: self._receive_now(command))
        return []

    def _take_room(self, command: Receive, puller: Puller) -> list[Command]:
        writer = _writer(command.attempt)
        result = self._table.create(writer, command.object_id, command.size, command.owner, Copy.SECONDARY)
        if isinstance(result, Full):
            return self._refuse(command, str(result), puller)
        if result is Exists.SEALED:
            return self.pulls.present(command.object_id)
        if isinstance(result, Entry):
            self._filling[command.attempt] = command.object_id
            entry = result
            self._reservations.reserve(entry.range.end, lambda problem: self._fill(command, entry, problem))
            return []
        self._writes.when_settled(command.object_id, lambda: self._receive_again(command))
        return []

    def _receive_now(self, command: Receive) -> None:
        assert self._puller is not None
        if self.pulls.is_receiving(command.object_id, command.attempt):
            self._run(self._take_room(command, self._puller))

    def _receive_again(self, command: Receive) -> None:
        assert self._puller is not None
        if self.pulls.is_receiving(command.object_id, command.attempt):
            self._run(self._receive(command, self._puller))

    def _fill(self, command: Receive, entry: Entry, problem: MemoryShort | None) -> None:
        assert self._puller is not None
        if self._table.find(entry.object_id) is not entry:
            return  # the stream ended while the memory was being reserved
        if problem is None:
            self._puller.receive(command.attempt, entry.range.offset, entry.size)
            return
        commands = self._refuse(command, short_of_memory(command.size, problem), self._puller)
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
            entry = self._table.pin(waiting.client.id, command.object_id)
            if entry is not None:
                self._forget(waiting)
                waiting.client.send(pb.LOCATED, located(waiting.request_id, entry))
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


def _writer(attempt: int) -> ClientId:
    return ClientId(-attempt)
