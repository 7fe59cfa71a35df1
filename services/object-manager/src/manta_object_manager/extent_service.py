"""Extents, as clients ask for them and give them back; and what waits for word from those who hold some.

Two things do. An object of which somebody was told that it is here, before the news of its end of writing: the question
is answered behind that news. And a request that finds no room, while clients hold some ahead.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from manta_common.ids import ObjectId
from manta_common.logs import get
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

from manta_object_manager.client_id import ClientId
from manta_object_manager.client_link import Client
from manta_object_manager.extent import Extent
from manta_object_manager.memory import MemoryShort
from manta_object_manager.object_table import ObjectTable
from manta_object_manager.reservation import Reservations
from manta_object_manager.rounds import RoundId, Rounds

# A client answers in its reading thread; one that runs C code without giving the interpreter up answers late.
SETTLE_S: Final = 5.0
ROOM_S: Final = 1.0
# Objects freed while they may be on their way. Beyond it the oldest stay until their owner ends.
FREED_EARLY_LIMIT: Final = 200_000

_log = get("manta_object_manager")

Done = Callable[[], None]


class ExtentService:
    """For the event loop's thread only."""

    def __init__(self, table: ObjectTable, reservations: Reservations) -> None:
        self._table = table
        self._extents = table.extents
        self._reservations = reservations
        self._rounds = Rounds()
        self._clients: dict[ClientId, Client] = {}
        # A round that began serves nobody who comes later: the next begins when it is over.
        self._settling: RoundId | None = None
        self._to_settle: list[Done] = []
        self._told: dict[RoundId, list[Done]] = {}
        self._timers: dict[RoundId, asyncio.TimerHandle] = {}
        self._making_room: RoundId | None = None
        # -> the round, once it began, whose answers come behind the object if it is on its way
        self._freed_early: dict[ObjectId, RoundId | None] = {}

    # ---- from clients

    def wanted(self, client: Client, request: pb.ExtentWanted) -> None:
        """Answer EXTENT_GRANTED."""
        if client.closed:
            return
        extent = self._extents.grant(client.id, request.size, request.at_least)
        if extent is None:
            client.send(pb.EXTENT_GRANTED, pb.ExtentGranted())
            return
        self._clients[client.id] = client
        self._reservations.reserve(extent.range.end, lambda problem: self._granted(client, extent, problem))

    def returned(self, client: Client, request: pb.ExtentReturned) -> None:
        """raises: NotAllowed."""
        for part in request.parts:
            self._extents.give_back(client.id, part.extent, part.offset, part.size)

    def answered(self, client: Client, request: pb.ExtentsAnswered) -> None:
        number = RoundId(request.round)
        if self._rounds.answered(client.id, number):
            self._over(number)

    def client_closed(self, client: Client) -> None:
        """Nothing comes from it any more; its extents stay its own, since the process may be writing."""
        self._clients.pop(client.id, None)
        for number in self._rounds.gone(client.id):
            self._over(number)

    # ---- for the other parts

    def anything_unheard(self) -> bool:
        """Whether an object that is not here may be on its way."""
        return bool(self._clients) and len(self._extents) > 0

    def when_settled(self, done: Done) -> None:
        """Call done once everything has arrived that a client with extents had sent by now; at once if none has any."""
        if not self.anything_unheard():
            done()
            return
        self._to_settle.append(done)
        if self._settling is None:
            self._settle()

    def when_returned(self, done: Done) -> None:
        """Call done once clients have given back what they do not write to; at once if nobody is to be asked."""
        if self._making_room is not None and not self._rounds.is_over(self._making_room):
            self._told[self._making_room].append(done)
            return
        clients = self._rounds.attentive(self._holders())
        if not clients:
            done()
            return
        self._making_room = self._ask(clients, [done], ROOM_S, give_back=True)

    def freed_early(self, object_id: ObjectId) -> None:
        """Nobody refers to an object that is not here; if it is on its way, it is not wanted."""
        if not self.anything_unheard():
            return
        self._freed_early[object_id] = None
        if len(self._freed_early) > FREED_EARLY_LIMIT:
            dropped = next(iter(self._freed_early))
            del self._freed_early[dropped]
            _log.warning("early_free_dropped", object_id=dropped.hex(), limit=FREED_EARLY_LIMIT)
        self.when_settled(lambda: self._forget_freed(object_id))

    def was_freed_early(self, client: Client, object_id: ObjectId) -> bool:
        """Whether the object that this client has just made was freed before; each is told once."""
        if object_id not in self._freed_early:
            return False
        number = self._freed_early[object_id]
        if number is not None and client.id not in self._rounds.awaited(number):
            return False  # it was made after the free was known here: by a later attempt of its task
        del self._freed_early[object_id]
        return True

    # ---- inside

    def _holders(self) -> list[ClientId]:
        return [client for client in self._extents.clients if client in self._clients]

    def _granted(self, client: Client, extent: Extent, problem: MemoryShort | None) -> None:
        part = extent.range
        if client.id not in self._extents.clients:
            return  # it died meanwhile
        if problem is not None:
            self._extents.give_back(client.id, extent.number, part.offset, part.size)
            client.send(pb.EXTENT_GRANTED, pb.ExtentGranted())
            return
        granted = pb.ExtentGranted(extent=extent.number, offset=part.offset, size=part.size)
        client.send(pb.EXTENT_GRANTED, granted)

    def _settle(self) -> None:
        waiting, self._to_settle = self._to_settle, []
        holders = self._holders()
        if not holders:
            for done in waiting:
                done()
            return
        number = self._settling = self._ask(holders, waiting, SETTLE_S, give_back=False)
        for object_id, known in self._freed_early.items():
            if known is None:
                self._freed_early[object_id] = number

    def _ask(self, clients: list[ClientId], waiting: list[Done], patience_s: float, *, give_back: bool) -> RoundId:
        number = self._rounds.begin(clients)
        self._told[number] = waiting
        question = pb.ExtentsAsked(round=number, give_back=give_back)
        for client in clients:
            self._clients[client].send(pb.EXTENTS_ASKED, question)
        self._timers[number] = asyncio.get_running_loop().call_later(patience_s, self._overdue, number, patience_s)
        return number

    def _overdue(self, number: RoundId, patience_s: float) -> None:
        late = self._rounds.overdue(number)
        _log.warning("clients_with_extents_do_not_answer", clients=sorted(late), waited_s=patience_s)
        self._over(number)

    def _over(self, number: RoundId) -> None:
        timer = self._timers.pop(number, None)
        if timer is not None:
            timer.cancel()
        for done in self._told.pop(number, ()):
            done()
        self._rounds.end(number)
        if number == self._settling:
            self._settling = None
            if self._to_settle:
                self._settle()

    def _forget_freed(self, object_id: ObjectId) -> None:
        self._freed_early.pop(object_id, None)
