"""The states of an actor and the legal moves between them; the docs' diagram is made from this table."""

from __future__ import annotations

from collections.abc import Mapping, Set
from enum import Enum
from typing import Final

from manta_proto.gcs.v1 import actor_pb2


class ActorState(Enum):
    """The values are those of the protocol."""

    DEPENDENCIES_UNREADY = actor_pb2.DEPENDENCIES_UNREADY  # its arguments are still being made
    PENDING_CREATION = actor_pb2.PENDING_CREATION  # waits for a node, or for the node to start it
    ALIVE = actor_pb2.ALIVE  # its constructor returned
    RESTARTING = actor_pb2.RESTARTING  # as PENDING_CREATION, after an incarnation died
    DEAD = actor_pb2.DEAD  # final


S = ActorState
LEGAL: Final[Mapping[ActorState, Set[ActorState]]] = {
    S.DEPENDENCIES_UNREADY: {S.PENDING_CREATION, S.DEAD},
    S.PENDING_CREATION: {S.ALIVE, S.RESTARTING, S.DEAD},  # RESTARTING: its process died in the constructor
    S.ALIVE: {S.RESTARTING, S.DEAD},
    S.RESTARTING: {S.ALIVE, S.RESTARTING, S.DEAD},  # itself: the restart died too
    S.DEAD: set(),
}
UNREADY: Final = frozenset({S.DEPENDENCIES_UNREADY})
WAITING: Final = frozenset({S.PENDING_CREATION, S.RESTARTING})


class IllegalMove(Exception):
    """A bug of the GCS: a move that the table does not have."""

    def __init__(self, actor_id: bytes, start: ActorState, finish: ActorState) -> None:
        super().__init__(actor_id, start, finish)
        self.actor_id, self.start, self.finish = actor_id, start, finish

    def __str__(self) -> str:
        return f"actor {self.actor_id.hex()} cannot move from {self.start.name} to {self.finish.name}"
