"""Node affinity: one node named by its id."""

from __future__ import annotations

from manta_common.ids import NodeId
from manta_common.scheduling.standing import FREE, Standing, standing_of
from manta_common.scheduling.strategy import NodeAffinity
from manta_common.scheduling.view import ClusterView, Infeasible, NodeView, Refusal, Request, describe_request


def choose_affine(request: Request, affinity: NodeAffinity, view: ClusterView) -> NodeId | Refusal | Infeasible | None:
    """The node when it has room, a Refusal while it is busy; None when a soft affinity may look elsewhere.

    A living node that could hold the request is waited for, soft or not, unless the affinity says what to do with a
    busy one. Otherwise a hard affinity is a final Infeasible: node ids do not come back. cost: O(1) in the nodes.
    """
    node = view.get(affinity.node_id)
    if node is None:
        why = "is dead or unknown"
    else:
        standing = standing_of(node, request.resources, request.label_selector)
        if standing is FREE:
            return node.node_id
        why = _why(request, standing)
        if standing.could_later:
            if affinity.fail_on_unavailable:
                return _final(affinity, why, len(view))
            if not affinity.spill_on_unavailable:
                return _wait(node, standing, len(view))
    return None if affinity.soft else _final(affinity, why, len(view))


def _why(request: Request, standing: Standing) -> str:
    wanted = describe_request(request.resources)
    if standing.could_later:
        return f"has no room for {wanted} now" + (f": short of {', '.join(standing.names)}" if standing.names else "")
    return f"can never hold {wanted}: {', '.join(standing.names)}"


def _wait(node: NodeView, standing: Standing, seen: int) -> Refusal:
    filtered = {"node affinity": seen - 1} if seen > 1 else {}
    if not node.schedulable:
        filtered["draining or out of touch"] = 1
    return Refusal(nodes_seen=seen, filtered=filtered, exhausted=dict.fromkeys(standing.names, 1))


def _final(affinity: NodeAffinity, why: str, seen: int) -> Infeasible:
    kind = "soft" if affinity.soft else "hard"
    reason = f"node {affinity.node_id.hex()} of the {kind} node affinity {why}"
    return Infeasible(nodes_seen=seen, filtered={"node affinity": seen}, missing={}, final=True, reason=reason)
