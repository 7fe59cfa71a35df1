"""Nodes that are to leave: asked to take nothing new, and to end when what runs there is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manta_common.ids import NODE_ID_SIZE
from manta_proto.gcs.v1 import gcs_pb2

from manta_gcs.kernel.commands import Command, note
from manta_gcs.kernel.events import ClientAsked
from manta_gcs.kernel.refusal import INVALID, NOT_FOUND, RequestRefused, need_size
from manta_gcs.nodes.node import DRAINING, Node

if TYPE_CHECKING:
    from manta_gcs.core.core import GcsCore


def drain_node(core: GcsCore, event: ClientAsked) -> tuple[gcs_pb2.GcsReply, list[Command]]:
    """Begin to drain a node; one that drains already, or is dead, stays as it is. raises: RequestRefused."""
    wanted = event.request.drain_node
    need_size("node id", wanted.node_id, NODE_ID_SIZE)
    if wanted.deadline_s < 0:
        raise RequestRefused(
            INVALID, f"a drain's deadline is {wanted.deadline_s:g} s from now; use 0 for none, or more"
        )
    node = core.nodes.get(wanted.node_id)
    if node is None and core.nodes.death_of(wanted.node_id) is None:
        raise RequestRefused(NOT_FOUND, f"there is no node {wanted.node_id.hex()}; `ray status` lists them")
    if node is None or node.info.state == DRAINING:
        return _answer(), []
    busy = _busy(core, node) if wanted.reason == gcs_pb2.DrainNode.IDLE_TERMINATION else ""
    if busy:
        return _answer(busy), []
    reason = wanted.message or gcs_pb2.DrainNode.Reason.Name(wanted.reason)
    commands = core.nodes.drain(node, reason, wanted.deadline_s, event.at)
    commands += core.actors.leave_node(node.id, f"node {node.id.hex()} is being drained: {reason}")
    return _answer(), [*commands, note("node_drains", node_id=node.id, reason=reason, deadline_s=wanted.deadline_s)]


def _busy(core: GcsCore, node: Node) -> str:
    """Why the node is not idle; empty when it is."""
    actors = core.actors.table.count_on(node.id)
    if actors:
        return f"node {node.id.hex()} is not idle: {actors} actors live there"
    if node.available != node.total:
        return f"node {node.id.hex()} is not idle: of {node.total}, {node.available} are free"
    return ""


def _answer(refused: str = "") -> gcs_pb2.GcsReply:
    return gcs_pb2.GcsReply(node_drain=gcs_pb2.NodeDrain(accepted=not refused, reason=refused))
