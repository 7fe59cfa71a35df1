"""Who wants to hear of placement groups: clients that wait for one, and raylets with requests for one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from manta_common.ids import NodeId, PlacementGroupId

from manta_gcs.kernel.events import SessionId


class GroupAudience:
    """Ends with the stream, for raylets with the node's next one. Bounded by what streams ask for."""

    def __init__(self) -> None:
        self._waiting: defaultdict[PlacementGroupId, list[tuple[SessionId, int]]] = defaultdict(list)
        self._sessions: defaultdict[SessionId, set[PlacementGroupId]] = defaultdict(set)
        self._watching: defaultdict[PlacementGroupId, set[NodeId]] = defaultdict(set)
        self._nodes: defaultdict[NodeId, set[PlacementGroupId]] = defaultdict(set)

    def wait(self, group_id: PlacementGroupId, session: SessionId, request_id: int) -> None:
        """A client's request that is answered when the group is created or removed."""
        self._waiting[group_id].append((session, request_id))
        self._sessions[session].add(group_id)

    def take_waiting(self, group_id: PlacementGroupId) -> list[tuple[SessionId, int]]:
        """Those to be answered now."""
        answered = self._waiting.pop(group_id, [])
        for session, _ in answered:
            self._forget(session, group_id)
        return answered

    def drop_session(self, session: SessionId) -> None:
        for group_id in self._sessions.pop(session, ()):
            left = [item for item in self._waiting[group_id] if item[0] != session]
            if left:
                self._waiting[group_id] = left
            else:
                del self._waiting[group_id]

    def watch(self, node_id: NodeId, group_ids: Iterable[PlacementGroupId]) -> None:
        for group_id in group_ids:
            self._watching[group_id].add(node_id)
            self._nodes[node_id].add(group_id)

    def unwatch(self, node_id: NodeId, group_ids: Iterable[PlacementGroupId]) -> None:
        for group_id in group_ids:
            self._nodes[node_id].discard(group_id)
            watchers = self._watching[group_id]
            watchers.discard(node_id)
            if not watchers:
                del self._watching[group_id]

    def drop_node(self, node_id: NodeId) -> None:
        """It is dead, or attached anew and has said what it watches now."""
        self.unwatch(node_id, list(self._nodes.get(node_id, ())))
        self._nodes.pop(node_id, None)

    def watchers(self, group_id: PlacementGroupId) -> list[NodeId]:
        return list(self._watching.get(group_id, ()))

    def _forget(self, session: SessionId, group_id: PlacementGroupId) -> None:
        groups = self._sessions.get(session)
        if groups is not None:
            groups.discard(group_id)
            if not groups:
                del self._sessions[session]
