"""An actor as one process sees it: its calls, where it lives, and the handles of it here."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Final, NamedTuple

from ray._runtime.actors.actor_calls import ActorCalls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manta_proto.common.v1 import common_pb2
    from manta_proto.gcs.v1 import actor_pb2

    from ray._runtime.actors.actor_calling import PlainCalls
    from ray._runtime.api import MethodInfo
    from ray._runtime.specs.task_kind import TaskKind
    from ray._runtime.transport.carrier import Peer
    from ray._runtime.values.object_ref import ObjectRef

# A handle is counted like an object; its id cannot be a task's return, whose id begins with a random prefix.
HANDLE_PREFIX: Final = b"\0" * 8
_HANDLE_SUFFIX: Final = b"\1\0\0\0"


def handle_id(actor_id: bytes) -> bytes:
    """The object id by which handles of the actor are counted."""
    return HANDLE_PREFIX + actor_id + _HANDLE_SUFFIX


class HandleState(NamedTuple):
    """What every handle of an actor needs; pickled once, into the actor's spec and into exported handles."""

    class_name: str
    methods: Mapping[str, MethodInfo]
    detached: bool
    max_task_retries: int
    in_order: bool
    max_pending_calls: int = -1
    concurrency_groups: tuple[str, ...] = ()
    # How many calls of one group run at once, of the group that has most.
    widest: int = 1

    def pickled(self) -> bytes:
        return pickle.dumps(tuple(self))


class Actor:
    """One actor. `ref` keeps it alive while `handles` > 0; `weak_handles` do not: those by name, the actor's own."""

    __slots__ = (
        "calls",
        "cause",
        "handle_state",
        "handles",
        "held",
        "kinds",
        "mine",
        "peer",
        "pickled_state",
        "plain_calls",
        "ref",
        "status",
        "subscribed",
        "weak_handles",
    )

    def __init__(self, actor_id: bytes, pickled_state: bytes, handle_state: HandleState | None = None) -> None:
        """handle_state: what pickled_state holds, where it is known."""
        self.pickled_state = pickled_state
        self.handle_state = handle_state or HandleState(*pickle.loads(pickled_state))
        self.calls = ActorCalls(actor_id, self.handle_state.in_order, self.handle_state.widest)
        self.handles = 0
        self.weak_handles = 0
        self.ref: ObjectRef | None = None
        self.status: actor_pb2.ActorStatus | None = None
        self.peer: Peer | None = None
        self.cause: common_pb2.DeathCause | None = None
        # This process created it.
        self.mine = False
        self.subscribed = False
        # Refs in the constructor's arguments, needed for restarts.
        self.held: tuple[bytes, ...] = ()
        # By method.
        self.plain_calls: dict[str, PlainCalls] = {}
        # Of each method and name that its calls go by.
        self.kinds: dict[tuple[str, str], TaskKind] = {}

    @property
    def actor_id(self) -> bytes:
        return self.calls.actor_id

    @property
    def class_name(self) -> str:
        return self.handle_state.class_name
