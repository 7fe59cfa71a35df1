"""The raylet's parts, in the order in which they start and stop."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from random import Random
from typing import Final

from manta_common import logs
from manta_common.credentials import Token
from manta_common.ids import NodeId, new_lease_id, new_node_id, new_worker_id
from manta_common.metrics import Metrics
from manta_common.process import collect_seldom, report_ready, stop_on_signals
from manta_common.resources import CPU, UNIT
from manta_common.rpc import RpcServer
from manta_common.settings import host_of
from manta_proto.object_manager.v1 import object_manager_pb2
from manta_proto.raylet.v1 import raylet_pb2

from manta_raylet.clients.client_frames import ClientFrames
from manta_raylet.clients.grpc_service import RayletService
from manta_raylet.clients.node import Node
from manta_raylet.clients.unix_clients import UnixClients
from manta_raylet.clients.user_metrics import UserMetrics
from manta_raylet.core.node_core import NodeCore, NodeSpec
from manta_raylet.gcs.gcs_frames import GcsFrames
from manta_raylet.gcs.gcs_link import GcsLink
from manta_raylet.gcs.object_manager_link import ObjectManagerLink
from manta_raylet.processes.worker_starter import WorkerSurroundings
from manta_raylet.processes.zygote_process import ZygoteProcess
from manta_raylet.server.gauges import register
from manta_raylet.server.node_info import NodeDescription, labels_of
from manta_raylet.server.settings import RayletSettings
from manta_raylet.workers.worker_pool import PoolLimits

# A node that is ready can fork: a first task then waits for a fork, and not for imports. So long it waits at most, for
# a zygote that does not come up is started again, and harms only who needs a worker.
_ZYGOTE_S: Final = 0.5
_SERVICE = raylet_pb2.DESCRIPTOR.services_by_name["Raylet"]
_RPC_GRACE_S = 0.5

log = logs.get("manta_raylet")


def core_of(settings: RayletSettings, node_id: NodeId) -> NodeCore:
    """A fresh core under that node id."""
    cpus = max(1, settings.total.get(CPU) // UNIT)
    limits = PoolLimits(
        cpus=settings.kept_workers or cpus,
        concurrent_starts=settings.concurrent_starts or max(4, 2 * cpus),
        workers=settings.worker_limit,
        idle_timeout_s=settings.idle_timeout_s,
        start_timeout_s=settings.start_timeout_s,
    )
    spec = NodeSpec(
        node_id=node_id,
        total=settings.total,
        limits=limits,
        labels=labels_of(settings, node_id),
        gpu_ids=settings.gpu_ids,
        hybrid=settings.hybrid,
    )
    return NodeCore(spec, Random(), new_worker_id, new_lease_id)


async def serve(settings: RayletSettings, token: Token, zygote: ZygoteProcess) -> None:
    """Run until SIGTERM, SIGINT or a drain's end. raises: OSError when a socket is taken or a folder is missing."""
    loop = asyncio.get_running_loop()
    stop = stop_on_signals(loop)
    socket_path = str(Path(settings.node_dir) / "raylet.sock")
    core = core_of(settings, new_node_id())
    description = NodeDescription(settings, core.spec.node_id)
    metrics = Metrics("raylet")
    user_metrics = UserMetrics(
        {"Component": "core_worker", "NodeAddress": settings.node_ip, "SessionName": Path(settings.session_dir).name},
        metrics.names,
        lambda name, why: log.warning("user_metric_not_shown", name=name, reason=why),
    )
    metrics.add_text(user_metrics.page)
    node = Node(
        core,
        WorkerSurroundings(
            raylet_socket=socket_path,
            object_manager_socket=settings.object_manager_path,
            node_dir=settings.node_dir,
            session_dir=settings.session_dir,
            gcs_addresses=",".join(settings.gcs),
            node_ip=settings.node_ip,
            raylet_pid=os.getpid(),
            token=token,
            log_dir=settings.log_dir,
            hides_gpus=core.has_gpus and settings.hides_gpus,
            tls=settings.tls,
            task_event_interval_ms=settings.task_event_interval_ms,
            metrics_interval_ms=settings.metrics_interval_ms,
            max_lineage_bytes=settings.max_lineage_bytes,
            kills_children=settings.kills_children,
            niceness=settings.worker_niceness,
            tuning=settings.tuning,
        ),
        settings.zygote_argv,
        settings.client_reconnect_s,
        description.info,
        user_metrics,
        zygote,
    )

    def begin_anew() -> None:
        fresh = core_of(settings, new_node_id())
        description.node_id = fresh.spec.node_id
        node.declared_dead(fresh)
        object_manager.connect_again()
        gcs.attach_again()

    def addresses_known(welcome: object_manager_pb2.ArenaWelcome) -> None:
        if description.set_object_manager(welcome):
            gcs.attach_again()

    gcs = GcsLink(settings.gcs, token, settings.tls, node, GcsFrames(node, begin_anew).handle)
    object_manager = ObjectManagerLink(settings.object_manager_path, node, addresses_known)
    node.gcs, node.object_manager = gcs, object_manager
    node.start()

    frames = ClientFrames(node)
    rpc = RpcServer(token, settings.tls, part="raylet", metrics=metrics)
    rpc.add_service(_SERVICE, RayletService(node, frames))
    bound = await rpc.start(settings.listen)
    description.raylet_address = _reachable(settings.listen, settings.node_ip, int(bound.rpartition(":")[2]))
    register(metrics, node)
    metrics_host = host_of(settings.listen)
    port = await metrics.serve(settings.metrics_port, metrics_host)
    description.metrics_address = _reachable(f"{metrics_host}:0", settings.node_ip, port)
    unix = UnixClients(node, frames, socket_path)
    await unix.start()

    stopped = loop.create_task(stop.wait(), name="stop signal")
    object_manager.start()
    attached = loop.create_task(_attach(gcs, object_manager), name="attach")
    await asyncio.wait([attached, stopped], return_when=asyncio.FIRST_COMPLETED)
    if attached.done():
        can_start = loop.create_task(node.processes.can_start(), name="zygote")
        await asyncio.wait([can_start, stopped], timeout=_ZYGOTE_S, return_when=asyncio.FIRST_COMPLETED)
        can_start.cancel()
        ready = {
            "node_id": node.node_id.hex(),
            "address": description.raylet_address,
            "socket": socket_path,
            "metrics": description.metrics_address,
        }
        log.info("raylet_ready", **ready)
        collect_seldom()
        report_ready(settings.ready_fd, ready)
    drained = loop.create_task(node.drained.wait(), name="drained")
    await asyncio.wait([stopped, drained], return_when=asyncio.FIRST_COMPLETED)

    reason = "signal" if stopped.done() else "drained"
    log.info("raylet_stopping", reason=reason, workers=len(node.core.pool.table))
    for task in (attached, stopped, drained):
        task.cancel()
    await node.stop()
    await gcs.close()
    await object_manager.close()
    await unix.stop()
    await rpc.stop(_RPC_GRACE_S)
    await metrics.close()
    log.info("raylet_stopped")


async def _attach(gcs: GcsLink, object_manager: ObjectManagerLink) -> None:
    """The object manager first: its addresses are part of what the cluster is told."""
    await object_manager.answered.wait()
    gcs.start()
    await gcs.attached.wait()


def _reachable(listen: str, node_ip: str, port: int) -> str:
    """The address that others use: the one listened on, or the node's when that means "all interfaces"."""
    host = host_of(listen)
    host = node_ip if host in ("0.0.0.0", "::") else host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
