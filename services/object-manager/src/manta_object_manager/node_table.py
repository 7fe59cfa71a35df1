"""Where the object managers of the other nodes are."""

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from manta_common.ids import NodeId

# Dead nodes that are remembered, so that asking for one fails at once instead of after a wait.
DEAD_LIMIT: Final = 10_000


class NotThere(Enum):
    DEAD = auto()
    UNKNOWN = auto()  # its raylet may have registered a moment ago


@dataclass(frozen=True, slots=True)
class Peer:
    """Addresses, host:port each."""

    flight: str
    object_manager: str


class NodeTable:
    """What the raylet told of the cluster's nodes."""

    def __init__(self) -> None:
        self._peers: dict[NodeId, Peer] = {}
        self._dead: OrderedDict[NodeId, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._peers)

    def alive(self, node_id: NodeId, peer: Peer) -> None:
        # Death is final: news of a dead node's life is late.
        if node_id not in self._dead:
            self._peers[node_id] = peer

    def died(self, node_id: NodeId) -> bool:
        """Whether that is news."""
        self._peers.pop(node_id, None)
        if node_id in self._dead:
            return False
        self._dead[node_id] = None
        if len(self._dead) > DEAD_LIMIT:
            self._dead.popitem(last=False)
        return True

    def find(self, node_id: NodeId) -> Peer | NotThere:
        peer = self._peers.get(node_id)
        if peer is not None:
            return peer
        return NotThere.DEAD if node_id in self._dead else NotThere.UNKNOWN
