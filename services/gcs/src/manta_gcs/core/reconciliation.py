"""Bringing records and reality together: after loading, and when a node attaches."""

from __future__ import annotations

from manta_common.ids import NodeId
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2

from manta_gcs.actors.actor_manager import ActorManager, superseded
from manta_gcs.actors.actor_state import UNREADY
from manta_gcs.jobs.job import Jobs
from manta_gcs.kernel.commands import Command
from manta_gcs.kernel.events import Moment
from manta_gcs.nodes.node import NodeTable
from manta_gcs.nodes.worker_death import WorkerDeaths
from manta_gcs.placement_groups.placement_group_table import PlacementGroupTable

Cause = common_pb2.DeathCause


def reconcile_actors_on(
    node_id: NodeId, message: gcs_pb2.AttachNode, actors: ActorManager, deaths: WorkerDeaths, at: Moment
) -> tuple[list[gcs_pb2.EndActor], list[Command]]:
    """What the node must end, and what follows for the actors that the records place there.

    Alive in the records but not on the node: that incarnation died unseen. To be started, but not known there:
    the message that said so got lost, say it again.
    """
    to_end: list[gcs_pb2.EndActor] = []
    commands: list[Command] = []
    held: dict[bytes, gcs_pb2.ActorReport] = {}
    for report in message.actors:
        actor = actors.table.get(report.actor_id)
        ours = actor is not None and not actor.dead and actor.node_id == node_id
        if actor is not None and ours and actor.incarnation == report.incarnation:
            held[report.actor_id] = report
        elif not report.HasField("failure") and not report.rejected:
            to_end.append(superseded(report, actor))
    for actor in actors.table.on_node(node_id):
        present = held.get(actor.id)
        if present is not None:
            commands += actors.report(node_id, present, at)
        elif actor.waiting:
            commands += actors.start_again(actor)
        else:
            known = deaths.get(actor.worker_id)
            lost = Cause(
                kind=Cause.WORKER_DIED, node_id=node_id, message="its process ended while the GCS was out of touch"
            )
            cause = known.cause if known is not None else lost
            death = gcs_pb2.ActorReport(actor_id=actor.id, incarnation=actor.incarnation, failure=cause)
            commands += actors.report(node_id, death, at)
    return to_end, commands


def reconcile_records(jobs: Jobs, nodes: NodeTable, actors: ActorManager, at: Moment) -> list[Command]:
    """Finish what a write that was cut short left half done, and queue who waited for a node."""
    commands: list[Command] = []
    for actor in actors.table.living():
        if actor.dead:
            continue
        if not actors.table.outlives_job(actor) and not jobs.is_running(actor.spec.job_id):
            commands += actors.job_ended(actor.spec.job_id, at)
        elif (not actor.spec.detached or actor.state in UNREADY) and nodes.get(actor.spec.owner.node_id) is None:
            owner_node = NodeId(actor.spec.owner.node_id)
            commands += actors.node_died(owner_node, _death_of(owner_node, nodes), at)
        elif actor.node_id is not None and nodes.get(actor.node_id) is None:
            commands += actors.node_died(actor.node_id, _death_of(actor.node_id, nodes), at)
        elif actor.waiting and actor.node_id is None:
            actors.placement.enqueue(actor)
        elif actor.waiting and actor.node_id is not None:
            actors.placement.promise(actor, actor.node_id)
    living = {actor.id for actor in actors.table.living()}
    return [*commands, *actors.names.release_all_but(living), *actors.table.drop_surplus()]


def dead_nodes_of(groups: PlacementGroupTable, nodes: NodeTable) -> set[NodeId]:
    """Nodes that the records of groups name and that are no more."""
    named = {node_id for group in groups.living() for node_id in group.reservation.nodes()}
    return {node_id for node_id in named if nodes.get(node_id) is None}


def _death_of(node_id: NodeId, nodes: NodeTable) -> common_pb2.DeathCause:
    """The recorded cause; a node that no record tells of died too long ago."""
    dead = nodes.death_of(node_id)
    gone = Cause(kind=Cause.NODE_DIED, node_id=node_id, message=f"node {node_id.hex()} is gone")
    return dead.death_cause if dead is not None else gone
