"""Which client streams want to hear of which actors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from manta_common.ids import ActorId
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2

from manta_gcs.kernel.commands import Answer, Command
from manta_gcs.kernel.events import SessionId


class Subscriptions:
    """Ends with the stream, or once the actor's death was pushed."""

    def __init__(self) -> None:
        self._sessions: defaultdict[ActorId, dict[SessionId, None]] = defaultdict(dict)
        self._actors: defaultdict[SessionId, set[ActorId]] = defaultdict(set)

    def add(self, session: SessionId, actor_ids: Iterable[ActorId]) -> None:
        for actor_id in actor_ids:
            self._sessions[actor_id][session] = None
            self._actors[session].add(actor_id)

    def drop_session(self, session: SessionId) -> None:
        for actor_id in self._actors.pop(session, ()):
            self._drop(actor_id, session)

    def push(self, status: actor_pb2.ActorStatus) -> list[Command]:
        """Tell the subscribers; after a death they are subscribers no more."""
        actor_id = ActorId(status.actor_id)
        sessions = list(self._sessions.get(actor_id, ()))
        if status.state == actor_pb2.DEAD:
            for session in sessions:
                self._drop(actor_id, session)
                self._actors[session].discard(actor_id)
        reply = gcs_pb2.GcsReply(actor_statuses=gcs_pb2.ActorStatuses(statuses=[status]))
        return [Answer(session, reply) for session in sessions]

    def _drop(self, actor_id: ActorId, session: SessionId) -> None:
        inside = self._sessions.get(actor_id)
        if inside is not None:
            inside.pop(session, None)
            if not inside:
                del self._sessions[actor_id]
