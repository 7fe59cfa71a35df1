"""What becomes of one unit of a lease request: served here, sent on, refused, or kept waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from manta_common.ids import NodeId

from manta_raylet.kernel.lease import LeaseRequest

# One unit is sent on so often at once. Beyond it it waits where it is, and may go on after a pause that doubles each
# time: however stale the views are, it comes to rest, and yet is not stuck behind a long task while others are free.
HOP_LIMIT: Final = 8
FIRST_PAUSE_S: Final = 1.0
_DOUBLINGS: Final = 6


@dataclass(frozen=True, slots=True)
class Here:
    """This node takes it now."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """That node should be asked."""

    node_id: NodeId
    address: str


@dataclass(frozen=True, slots=True)
class Waits:
    """Not now. feasible_here: this node alone could serve it once something is given back.

    infeasible: no node that is known could ever serve it.
    """

    reason: str
    feasible_here: bool
    infeasible: bool = False


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """Waiting cannot help."""

    reason: str


@dataclass(frozen=True, slots=True)
class GroupGone:
    """The placement group that it names was removed."""

    reason: str


Placement = Here | Elsewhere | Waits | Unschedulable | GroupGone


def may_go_on(request: LeaseRequest, waited_s: float) -> bool:
    """Whether a unit may be sent on once more. waited_s: how long it has been here."""
    beyond = request.hops - HOP_LIMIT
    return beyond < 0 or waited_s >= FIRST_PAUSE_S * 2 ** min(beyond, _DOUBLINGS)
