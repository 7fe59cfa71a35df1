"""manta-object-manager: one node's arena, for its processes and for the other nodes."""

import asyncio
import os
import sys

import uvloop
from manta_common import logs
from manta_common.credentials import CredentialError, Token, find_token
from manta_common.metrics import Metrics
from manta_common.process import (
    collect_seldom,
    die_with_parent,
    fill_standard_descriptors,
    raise_nofile_limit,
    report_ready,
    stop_on_signals,
)
from manta_common.rpc import RpcServer
from manta_common.settings import describe, host_of, load
from manta_proto.object_manager.v1.object_manager_pb2 import ArenaWelcome

from manta_object_manager.allocator import keep_buffers
from manta_object_manager.arena import Arena
from manta_object_manager.arena_use import ArenaUse
from manta_object_manager.client_server import ClientServer
from manta_object_manager.extent_service import ExtentService
from manta_object_manager.flight_pull import FlightPuller
from manta_object_manager.flight_server import FlightServer
from manta_object_manager.garbage import Garbage
from manta_object_manager.gauges import register
from manta_object_manager.grpc_service import SERVICE, ObjectManagerService, PeerChannels
from manta_object_manager.incoming import Incoming
from manta_object_manager.memory import ArenaMemory, available_memory
from manta_object_manager.node_table import NodeTable
from manta_object_manager.object_table import ObjectTable
from manta_object_manager.prefetch import Prefetch
from manta_object_manager.pulls import Pulls
from manta_object_manager.remote_free import RemoteFrees
from manta_object_manager.requests import Requests
from manta_object_manager.reservation import Reservations
from manta_object_manager.settings import ObjectManagerSettings
from manta_object_manager.store import Store
from manta_object_manager.writes import Writes

_GRACE_S = 1.0
_DEFAULT_SHARE = 0.3

log = logs.get("manta_object_manager")


def main() -> None:
    """Console script. exits: 0 after SIGTERM, 1 when it cannot serve, 2 for wrong settings."""
    fill_standard_descriptors()
    settings = load(
        ObjectManagerSettings,
        prefix="MANTA_OBJECT_MANAGER_",
        argv=sys.argv[1:],
        env=os.environ,
        program="manta-object-manager",
        description="Serve one node's shared-memory objects.",
    )
    if settings.die_with_parent:
        die_with_parent()
    logs.configure("object_manager", settings.log_level, settings.log_file)
    log.info("settings_loaded", **describe(settings))
    raise_nofile_limit()
    if not keep_buffers():
        log.info("allocator_not_tuned")  # transfers are slower, nothing else
    try:
        token = find_token(os.environ, settings.token_file, settings.session_dir)
        uvloop.run(serve(settings, token))
    except (CredentialError, OSError) as error:
        log.error("object_manager_failed", reason=str(error))
        sys.exit(1)


async def serve(settings: ObjectManagerSettings, token: Token) -> None:
    """Run until SIGTERM or SIGINT. raises: OSError when an address is taken or there is no memory."""
    loop = asyncio.get_running_loop()
    stop = stop_on_signals(loop)
    tls = settings.tls
    size = settings.arena_bytes or int(available_memory() * _DEFAULT_SHARE)
    memory = ArenaMemory(size)
    table = ObjectTable(Arena(memory.size))
    pulls = Pulls(budget=settings.pull_budget_bytes, streams=settings.pull_streams)
    nodes = NodeTable()
    reservations = Reservations(memory, idle=lambda: table.writing == 0)
    writes = Writes()
    extents = ExtentService(table, reservations)
    prefetch = Prefetch(table, memory.size)
    store = Store(memory, table, reservations, writes, extents, prefetch)
    incoming = Incoming(
        table, pulls, nodes, reservations, writes, extents, prefetch, unknown_node_wait_s=settings.unknown_node_wait_s
    )
    puller = FlightPuller(incoming, memory, token, tls, loop, threads=settings.pull_streams)
    incoming.attach(puller)
    channels = PeerChannels(token, tls)
    frees = RemoteFrees(nodes, channels.free)
    metrics = Metrics("object_manager")

    transfers = FlightServer(settings.flight_listen, token, tls, store, loop)
    flight_address = _reachable(settings.flight_listen, settings.node_ip, transfers.port)
    incoming.own_flight_address = flight_address
    rpc = RpcServer(token, tls, part="object_manager", metrics=metrics)
    rpc.add_service(SERVICE, ObjectManagerService(store))
    bound = await rpc.start(settings.listen)
    rpc_address = _reachable(settings.listen, settings.node_ip, int(bound.rpartition(":")[2]))
    metrics_host = host_of(settings.listen)
    metrics_port = await metrics.serve(settings.metrics_port, metrics_host)
    metrics_address = _reachable(f"{metrics_host}:0", settings.node_ip, metrics_port)
    welcome = ArenaWelcome(
        size=memory.size,
        flight_address=flight_address,
        object_manager_address=rpc_address,
        metrics_address=metrics_address,
        extents=True,
    ).SerializeToString()
    garbage = Garbage(lambda: clients.processes())
    requests = Requests(store, incoming, frees, garbage)
    clients = ClientServer(
        settings.socket,
        token,
        welcome=lambda: welcome,
        descriptors=(memory.descriptor, memory.read_descriptor),
        on_frame=requests.handle,
        on_closed=requests.client_closed,
        on_gone=store.client_gone,
    )
    register(metrics, store, incoming, clients, transfers, frees)
    await clients.start()
    use = ArenaUse(lambda: table.used_bytes, lambda: clients)
    use.start()
    ready = {"socket": settings.socket, "flight": flight_address, "grpc": rpc_address, "metrics": metrics_address}
    log.info("object_manager_ready", arena_bytes=memory.size, **ready)
    collect_seldom()
    report_ready(settings.ready_fd, ready)

    await stop.wait()
    log.info("object_manager_stopping")
    use.stop()
    await clients.stop()
    await frees.stop()
    # They wait for threads that may in turn wait for an answer of this loop.
    await asyncio.to_thread(puller.close)
    await asyncio.to_thread(transfers.shutdown)
    await rpc.stop(_GRACE_S)
    await channels.close()
    await metrics.close()
    reservations.close()
    log.info("object_manager_stopped")


def _reachable(listen: str, node_ip: str, port: int) -> str:
    """The address that others use: the one listened on, or the node's when that means "all interfaces"."""
    host = host_of(listen)
    host = node_ip if host in ("0.0.0.0", "::") else host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


if __name__ == "__main__":
    main()
