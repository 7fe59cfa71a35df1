"""Node affinity: one node named by its id."""

from __future__ import annotations

from manta.common.ids import NodeId
from manta.common.scheduling.strategy import NodeAffinity
from manta.common.scheduling.view import ClusterView, Infeasible, Refusal, Request, describe_request, filter_nodes


def choose_affine(request: Request, affinity: NodeAffinity, view: ClusterView) -> NodeId | Refusal | Infeasible | None:
    """The node when it has room, a Refusal while it is busy; None when a soft affinity may look elsewhere.

    A living node that could hold the request is waited for, soft or not. Otherwise a hard affinity is a final
    Infeasible: node ids do not come back.
    """
    node = view.get(affinity.node_id)
    if node is not None:
        alone = filter_nodes(request, {node.node_id: node})
        if alone.free:
            return node.node_id
        if isinstance(alone.answer, Refusal):
            return alone.answer
    if affinity.soft:
        return None
    if node is None:
        reason = f"node {affinity.node_id.hex()} of the hard node affinity is dead or unknown"
    else:
        reason = (
            f"node {affinity.node_id.hex()} of the hard node affinity can never hold "
            f"{describe_request(request.resources)}: {alone.answer}"
        )
    return Infeasible(
        nodes_seen=len(view), filtered={"node affinity": len(view)}, missing={}, final=True, reason=reason
    )
