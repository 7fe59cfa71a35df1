"""The node table: who is alive, what is free there, and who must be told of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from manta_common.ids import NodeId
from manta_common.kept_messages import KeptMessages
from manta_common.resources import ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2, records_pb2

from manta_gcs.kernel.commands import Command, Forget, Persist, Tell
from manta_gcs.kernel.events import Moment, SessionId
from manta_gcs.kernel.record import Key, Table, id_of, record

ALIVE = common_pb2.NodeInfo.ALIVE
DEAD = common_pb2.NodeInfo.DEAD
DRAINING = common_pb2.NodeInfo.DRAINING
DEAD_LIMIT: Final = 1_000
DEAD_BYTES: Final = 8 * 1024 * 1024
SHARE_INTERVAL_S = 0.1
# Who changed, times who hears of it: beyond it a share comes later, so that the work does not grow with the square of
# the nodes. The longest interval stays below the 2 s for which a raylet counts what it sent to a node.
DELIVERIES_PER_S = 2_000_000
LONGEST_SHARE_INTERVAL_S = 1.5
SHORTEST_DRAIN_S = 0.001  # 0 would mean that there is no deadline


class Node:
    """One node that was not declared dead."""

    __slots__ = ("arena_used", "available", "demands", "info", "last_heard", "outdated", "session", "total")

    def __init__(self, info: common_pb2.NodeInfo, last_heard: float) -> None:
        self.info = info
        self.total = ResourceSet.from_proto(info.total)
        self.available = ResourceSet()
        self.demands: Sequence[gcs_pb2.ResourceDemand] = ()
        self.last_heard = last_heard  # Moment.steady
        self.session: SessionId | None = None
        self.arena_used = 0  # bytes; shown, and of no concern to who places something
        # It refused something that `available` has room for: wait for its next word before asking again.
        self.outdated = False

    @property
    def id(self) -> NodeId:
        return NodeId(self.info.node_id)

    @property
    def schedulable(self) -> bool:
        return self.session is not None and not self.outdated and self.info.state == ALIVE


class NodeTable:
    """Living nodes and the last dead ones. Death is final: an id that died is refused for ever."""

    def __init__(self, death_timeout_s: float, dead_limit: int = DEAD_LIMIT) -> None:
        self._timeout_s = death_timeout_s
        self._nodes: dict[NodeId, Node] = {}
        self._dead: KeptMessages[NodeId, common_pb2.NodeInfo] = KeptMessages(
            common_pb2.NodeInfo.FromString, dead_limit, DEAD_BYTES
        )
        self._unshared: dict[NodeId, None] = {}  # free resources not yet shared with the other nodes
        self._share_at = float("-inf")  # not before
        self._check_at: float | None = None  # no node dies of silence before
        # Nodes that look different to who places something on them than when they were last taken out of this.
        self.changed: set[NodeId] = set()

    def restore(self, info: common_pb2.NodeInfo, serving_since: float) -> None:
        """A node's silence counts at the earliest from when this leader began to serve."""
        if info.state == DEAD:
            self._dead.add(NodeId(info.node_id), info)
        else:
            self._put(Node(info, serving_since))

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, node_id: bytes) -> Node | None:
        return self._nodes.get(NodeId(node_id))

    def death_of(self, node_id: bytes) -> common_pb2.NodeInfo | None:
        return self._dead.get(NodeId(node_id))

    def infos(self) -> list[common_pb2.NodeInfo]:
        """Of the living, then of the dead that are remembered."""
        return [*(node.info for node in self), *self._dead.values()]

    def attach(self, message: gcs_pb2.AttachNode, session: SessionId, at: Moment) -> list[Command]:
        """A new node, or a known one on a new stream. The caller has refused the dead."""
        known = self.get(message.info.node_id)
        info = common_pb2.NodeInfo()
        info.CopyFrom(message.info)
        info.started_at = known.info.started_at if known else at.wall
        info.state = ALIVE
        if known is not None and known.info.state == DRAINING:
            info.state = DRAINING
            info.drain_message, info.drain_deadline = known.info.drain_message, known.info.drain_deadline
        commands: list[Command] = []
        node = known or Node(info, at.steady)
        if known is None or known.info != info:
            node.info, node.total = info, ResourceSet.from_proto(info.total)
            self._put(node)
            commands.append(_persist(info))
            commands += self.tell_others(node.id, gcs_pb2.GcsToNode(node=info))
        node.session, node.last_heard, node.outdated = session, at.steady, False
        node.arena_used = 0  # told anew, if it is more
        node.available = ResourceSet.from_proto(message.available)
        self._count_anew(node)
        return commands

    def detach(self, node_id: NodeId, session: SessionId) -> None:
        """The stream ended; the node has until the timeout to come back."""
        node = self.get(node_id)
        if node is not None and node.session == session:
            node.session = None
            self.changed.add(node_id)

    def distrust(self, node: Node) -> None:
        """It refused what `available` has room for: nothing is sent there before its next word."""
        node.outdated = True
        self.changed.add(node.id)

    def heard(self, node: Node, at: Moment) -> None:
        node.last_heard = at.steady

    def heartbeat(self, node: Node, beat: gcs_pb2.Heartbeat) -> None:
        if beat.HasField("arena_used"):
            node.arena_used = beat.arena_used
        if beat.demands_changed:
            node.demands = list(beat.demands)
        if node.outdated:
            node.outdated = False
            self.changed.add(node.id)
        if beat.HasField("available"):
            node.available = ResourceSet.from_proto(beat.available)
            # Also when it is what it was: other nodes may have counted on less since, and wait for its word.
            self._count_anew(node)

    def set_available(self, node: Node, available: ResourceSet) -> None:
        """The node's own count, told with what it did; others hear of it with the next share."""
        if available != node.available:
            node.available = available
            self._count_anew(node)

    def _count_anew(self, node: Node) -> None:
        self._unshared[node.id] = None
        self.changed.add(node.id)

    def _put(self, node: Node) -> None:
        self._nodes[node.id] = node
        self.changed.add(node.id)
        due = node.last_heard + self._timeout_s
        self._check_at = due if self._check_at is None else min(self._check_at, due)

    def excuse(self, seconds: float) -> None:
        """Time in which nobody listened does not count as the nodes' silence."""
        for node in self:
            node.last_heard += seconds

    def drain(self, node: Node, message: str, deadline_s: float, at: Moment) -> list[Command]:
        """Send nothing new there, and have it end when it is done. deadline_s: from now on, 0: none."""
        stored, *told = self.leaves(node, message, at.wall + deadline_s if deadline_s > 0 else 0)
        return [stored, *self.drain_order(node, at), *told]

    def leaves(self, node: Node, message: str, deadline: float = 0) -> list[Command]:
        """It ends soon: send nothing new there. deadline: by the clock, 0: none."""
        info = common_pb2.NodeInfo()
        info.CopyFrom(node.info)
        info.state, info.drain_message, info.drain_deadline = DRAINING, message, deadline
        node.info = info
        self.changed.add(node.id)
        return [_persist(info), *self.tell_others(node.id, gcs_pb2.GcsToNode(node=info))]

    def drain_order(self, node: Node, at: Moment) -> list[Command]:
        """For a node that drains: says so, also again after it was out of touch."""
        if node.info.state != DRAINING:
            return []
        until = node.info.drain_deadline
        deadline_s = max(until - at.wall, SHORTEST_DRAIN_S) if until else 0.0
        return self.tell(node.id, gcs_pb2.GcsToNode(drain=gcs_pb2.Drain(deadline_s=deadline_s)))

    def expired(self, at: Moment) -> list[NodeId]:
        """Nodes that were silent for the whole timeout. cost: O(1) until one could be, then O(n)."""
        if self._check_at is None or at.steady < self._check_at:
            return []
        expired = [node.id for node in self if at.steady - node.last_heard >= self._timeout_s]
        oldest = min((node.last_heard for node in self), default=None)
        self._check_at = oldest + self._timeout_s if oldest is not None else None
        return expired

    def bury(self, node: Node, cause: common_pb2.DeathCause, at: Moment) -> list[Command]:
        """Declare a node dead, to itself and to all others."""
        info = common_pb2.NodeInfo()
        info.CopyFrom(node.info)
        info.state, info.ended_at = DEAD, at.wall
        info.death_cause.CopyFrom(cause)
        del self._nodes[node.id]
        self._unshared.pop(node.id, None)
        self.changed.add(node.id)
        left = self._dead.add(node.id, info)
        commands: list[Command] = [_persist(info)]
        if node.session is not None:
            declared = gcs_pb2.DeclaredDead(reason=cause.message)
            commands.append(Tell(node.session, gcs_pb2.GcsToNode(declared_dead=declared)))
        commands += self.tell_others(node.id, gcs_pb2.GcsToNode(node=info))
        return [*commands, *(Forget(Key(Table.NODE, id_of(oldest))) for oldest in left)]

    def tell(self, node_id: NodeId, message: gcs_pb2.GcsToNode) -> list[Command]:
        """To one node; nothing when it is out of touch: it hears all it needs when it attaches again."""
        node = self.get(node_id)
        return [Tell(node.session, message)] if node is not None and node.session is not None else []

    def tell_others(self, but: NodeId | None, message: gcs_pb2.GcsToNode) -> list[Command]:
        return [Tell(n.session, message) for n in self if n.session is not None and n.id != but]

    def share_resources(self, at: Moment) -> list[Command]:
        """Send changed free resources to the other nodes, at most every SHARE_INTERVAL_S; in large clusters, while much
        changes, less often."""
        if not self._unshared or at.steady < self._share_at:
            return []
        worth_s = len(self._unshared) * len(self) / DELIVERIES_PER_S
        self._share_at = at.steady + min(max(SHARE_INTERVAL_S, worth_s), LONGEST_SHARE_INTERVAL_S)
        changed, self._unshared = self._unshared, {}
        # One message for all, although who changed does not need its own: a message for each pair of nodes would be the
        # square of them.
        only = next(iter(changed)) if len(changed) == 1 else None
        return self.tell_others(only, _resource_news(self._nodes[node_id] for node_id in changed))

    def all_resources_but(self, node_id: NodeId) -> list[gcs_pb2.GcsToNode]:
        """For a node that just attached: what is free at the others."""
        others = [node for node in self if node.id != node_id and node.session is not None]
        return [_resource_news(others)] if others else []

    def deadline(self) -> float | None:
        """When (Moment.steady) something is due next: a death, or sharing free resources."""
        due = [self._check_at] if self._check_at is not None else []
        if self._unshared:
            due.append(self._share_at)
        return min(due, default=None)


def _resource_news(nodes: Iterable[Node]) -> gcs_pb2.GcsToNode:
    news = [gcs_pb2.NodeResources(node_id=node.id, available=node.available.to_proto()) for node in nodes]
    return gcs_pb2.GcsToNode(resource_news=gcs_pb2.ResourceNews(nodes=news))


def _persist(info: common_pb2.NodeInfo) -> Persist:
    return Persist(Key(Table.NODE, id_of(info.node_id)), record(node=records_pb2.StoredNode(info=info)))
