"""Before the arena counts as full, the node's processes collect their garbage: references may sit in cycles."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from manta_common.logs import get
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

from manta_object_manager.client_id import ClientId
from manta_object_manager.client_link import Client
from manta_object_manager.rounds import RoundId, Rounds

# A process answers in its reading thread, after a collection that may look at millions of objects.
COLLECT_S: Final = 5.0
# How long the next round waits after one in which nobody let anything go: each costs every process a collection.
FRUITLESS_S: Final = 1.0

_log = get("manta_object_manager")

# Told whether somebody let something go, whose room may come a moment later: its owner has to free it.
Done = Callable[[bool], None]


class Garbage:
    """Rounds of questions. clients: the connected drivers and workers. For the event loop's thread only."""

    def __init__(self, clients: Callable[[], Iterable[Client]]) -> None:
        self._clients = clients
        self._rounds = Rounds()
        self._round: RoundId | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._told: list[Done] = []
        # A round that began serves nobody who comes later: what they wait for may have been dropped since.
        self._next: list[tuple[ClientId, Done]] = []
        self._let_go = False
        self._fruitless_at = -FRUITLESS_S

    def when_collected(self, asker: Client, done: Done) -> None:
        """Call done once all processes but the asker, which has done so itself, have collected; at once if there are
        none."""
        self._next.append((asker.id, done))
        self._begin_next()

    def answered(self, client: Client, request: pb.GarbageCollected) -> None:
        self._let_go = self._let_go or request.let_go
        if self._rounds.answered(client.id, RoundId(request.round)):
            self._over()

    def client_closed(self, client: Client) -> None:
        for number in self._rounds.gone(client.id):
            if number == self._round:
                self._let_go = True  # with its process go its pins
                self._over()

    # ---- inside

    def _begin_next(self) -> None:
        if not self._next or self._round is not None or self._resting is not None:
            return
        loop = asyncio.get_running_loop()
        rest_s = self._fruitless_at + FRUITLESS_S - loop.time()
        if rest_s > 0:
            self._resting = loop.call_later(rest_s, self._rested)
        else:
            self._begin()

    def _rested(self) -> None:
        self._resting = None
        self._begin()

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        waiting, self._next = self._next, []
        askers = {asker for asker, _ in waiting}
        asked = {client.id: client for client in self._clients() if client.id not in askers}
        attentive = self._rounds.attentive(asked)
        if not attentive:
            for _, done in waiting:
                done(False)
            return
        self._told = [done for _, done in waiting]
        self._let_go = False
        self._round = self._rounds.begin(attentive)
        self._timer = loop.call_later(COLLECT_S, self._overdue, self._round)
        for client_id in attentive:
            asked[client_id].send(pb.GARBAGE_ASKED, pb.GarbageAsked(round=self._round))

    def _overdue(self, number: RoundId) -> None:
        late = self._rounds.overdue(number)
        _log.warning("clients_do_not_collect_garbage", clients=sorted(late), waited_s=COLLECT_S)
        self._over()

    def _over(self) -> None:
        number, self._round = self._round, None
        assert number is not None, "a round is over once"
        if self._timer is not None:
            self._timer.cancel()
        self._rounds.end(number)
        told, self._told = self._told, []
        if not self._let_go:
            self._fruitless_at = asyncio.get_running_loop().time()
        _log.info("garbage_collected", asked_for=len(told), let_go=self._let_go)
        for done in told:
            done(self._let_go)
        self._begin_next()
