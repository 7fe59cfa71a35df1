"""The states of a placement group and the legal moves between them; the docs' diagram is made from this table."""

from __future__ import annotations

from collections.abc import Mapping, Set
from enum import Enum
from typing import Final

from manta_proto.gcs.v1 import placement_group_pb2 as pb


class GroupState(Enum):
    """The values are those of the protocol."""

    PENDING = pb.PG_PENDING  # not every bundle is reserved yet
    PREPARED = pb.PG_PREPARED  # all reserved; durable, so that the next leader goes on to commit
    CREATED = pb.PG_CREATED  # all committed; leases may use the bundles
    RESCHEDULING = pb.PG_RESCHEDULING  # bundles were lost with their nodes; the others stay usable
    REMOVED = pb.PG_REMOVED  # final


S = GroupState
LEGAL: Final[Mapping[GroupState, Set[GroupState]]] = {
    S.PENDING: {S.PREPARED, S.REMOVED},
    S.PREPARED: {S.CREATED, S.PENDING, S.RESCHEDULING, S.REMOVED},  # PENDING: it was never CREATED, all is returned
    S.CREATED: {S.RESCHEDULING, S.REMOVED},
    S.RESCHEDULING: {S.PREPARED, S.REMOVED},
    S.REMOVED: set(),
}


class IllegalGroupMove(Exception):
    """A bug of the GCS: a move that the table does not have."""

    def __init__(self, group_id: bytes, start: GroupState, finish: GroupState) -> None:
        super().__init__(group_id, start, finish)
        self.group_id, self.start, self.finish = group_id, start, finish

    def __str__(self) -> str:
        return f"placement group {self.group_id.hex()} cannot move from {self.start.name} to {self.finish.name}"
