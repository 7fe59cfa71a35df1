"""Nodes that requests name and that this raylet has not heard of: whether there are such is the GCS's to say."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from manta_common.ids import NodeId
from manta_proto.gcs.v1 import gcs_pb2

# Of the answers; one that is forgotten is asked for again.
ANSWERS_KEPT: Final = 1_000


class NodeInquiry:
    """The GCS's answer comes behind all its news, so that a node which is still unheard of then is none.

    Open questions are bounded by the requests that wait for them.
    """

    def __init__(self) -> None:
        self._open: dict[NodeId, None] = {}
        self._new: list[NodeId] = []
        self._answered: OrderedDict[NodeId, None] = OrderedDict()

    def is_answered(self, node_id: NodeId) -> bool:
        """Whether the GCS has told all that it knows of this node; it is asked if not."""
        if node_id in self._answered:
            return True
        if node_id not in self._open:
            self._open[node_id] = None
            self._new.append(node_id)
        return False

    def answered(self, node_ids: Iterable[NodeId]) -> None:
        for node_id in node_ids:
            self._open.pop(node_id, None)
            self._answered[node_id] = None
            self._answered.move_to_end(node_id)
        while len(self._answered) > ANSWERS_KEPT:
            self._answered.popitem(last=False)

    def attached(self) -> None:
        """A GCS that accepts us lists all living nodes: that answers everything."""
        self._new.clear()
        self.answered(list(self._open))

    def take(self) -> gcs_pb2.LookUpNodes | None:
        """What the GCS is to be asked now, if there is anything new."""
        if not self._new:
            return None
        message = gcs_pb2.LookUpNodes(node_ids=self._new)
        self._new = []
        return message
