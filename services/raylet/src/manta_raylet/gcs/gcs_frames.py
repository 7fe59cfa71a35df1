"""What the GCS's messages mean: each is given to the node."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from manta_common.ids import JobId, NodeId
from manta_common.logs import get
from manta_common.resources import ResourceSet
from manta_common.scheduling.demand_notice import DemandNotice
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2

from manta_raylet.clients.node import Node

_log = get("manta_raylet.gcs")

_LOST: Final = "the GCS does not list it any more"


class GcsFrames:
    """Handles everything but what concerns the stream itself (refusals, acknowledgements), which its link keeps."""

    def __init__(self, node: Node, on_declared_dead: Callable[[], None]) -> None:
        self._node = node
        self._on_declared_dead = on_declared_dead

    def handle(self, message: gcs_pb2.GcsToNode) -> None:
        node = self._node
        match message.WhichOneof("body"):
            case "attached":
                self._attached(message.attached)
            case "node":
                node.node_news([message.node])
            case "node_resources":  # from a GCS of a minor behind
                self._resource_news([message.node_resources])
            case "resource_news":
                self._resource_news(message.resource_news.nodes)
            case "create_actor":
                create = message.create_actor
                bundle = create.bundle_index - 1 if create.bundle_index else None
                if create.HasField("job"):
                    node.core.job_outlived(create.job)
                node.core.create_actor(create.spec, create.incarnation, node.now(), bundle)
                node.settle_soon()
            case "end_actor":
                node.core.end_actor(message.end_actor, node.now())
                node.settle_soon()
            case "bundle_orders":
                node.core.obey_bundle_orders(message.bundle_orders.orders, node.now())
                node.settle_soon()
            case "claims":
                node.core.claimed(message.claims.claims, node.now())
                node.settle_soon()
            case "placement_group":
                node.core.spillback.groups.news(message.placement_group)
                node.settle_soon()
            case "nodes_looked_up":
                node.core.spillback.inquiry.answered(map(NodeId, message.nodes_looked_up.node_ids))
                node.settle_soon()
            case "job_started":
                node.job_started(message.job_started.job)
            case "job_ended":
                node.job_ended(JobId(message.job_ended.job_id))
            case "workers_died":
                node.declare(list(message.workers_died.workers), {}, local=False)
            case "drain":
                node.drain(message.drain.deadline_s)
            case "job_notice":
                notice = message.job_notice
                node.tell_drivers(DemandNotice(JobId(notice.job_id), notice.key, notice.text))
            case "declared_dead":
                self._on_declared_dead()
            case other:
                # A minor version ahead may say what we do not know yet.
                _log.warning("gcs_message_unknown", kind=other)

    def _resource_news(self, nodes: Iterable[gcs_pb2.NodeResources]) -> None:
        for news in nodes:
            self._node.core.nodes.set_available(NodeId(news.node_id), ResourceSet.from_proto(news.available))
        self._node.settle_soon()

    def _attached(self, attached: gcs_pb2.Attached) -> None:
        node = self._node
        node.core.claimed((), node.now())  # it names its own, if any
        living = {NodeId(info.node_id) for info in attached.nodes}
        infos = list(attached.nodes)
        for node_id in node.core.nodes.retain(living):
            cause = common_pb2.DeathCause(kind=common_pb2.DeathCause.NODE_DIED, message=_LOST)
            infos.append(common_pb2.NodeInfo(node_id=node_id, state=common_pb2.NodeInfo.DEAD, death_cause=cause))
        node.node_news(infos)
        node.core.spillback.inquiry.attached()
        running = {JobId(job.job_id) for job in attached.jobs if not job.finished}
        for job in attached.jobs:
            node.job_started(job)
        for job_id in node.core.jobs.running_ids():
            if job_id not in running:
                node.job_ended(job_id)
        node.declare(list(attached.recent_deaths), {}, local=False)
        for order in attached.ended_actors:
            node.core.end_actor(order, node.now())
        node.settle_soon()
