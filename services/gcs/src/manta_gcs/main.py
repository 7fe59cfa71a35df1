"""The GCS's process: settings, store, server, and the order in which they start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

import uvloop
from manta_common import logs, process
from manta_common.credentials import CredentialError, Token, find_token
from manta_common.metrics import Metrics
from manta_common.rpc import RpcServer
from manta_common.settings import describe, host_of, load
from manta_proto.gcs.v1 import gcs_pb2

from manta_gcs.kernel.record import RecordError
from manta_gcs.server.gcs_metrics import GcsMetrics
from manta_gcs.server.replica import Replica, ReplicaOptions
from manta_gcs.server.service import GcsService
from manta_gcs.server.settings import GcsSettings
from manta_gcs.store import StoreError, open_store
from manta_gcs.store.leadership import DEFAULT_TTL_S
from manta_gcs.store.url import redact

STOP_GRACE_S = 2.0
STANDBY_AFTER_S = 2 * DEFAULT_TTL_S
log = logs.get("gcs")


def main() -> None:
    """Console script manta-gcs. exits: 0 after SIGTERM, 1 with the reason when it cannot serve, 2 for settings."""
    settings = load(
        GcsSettings,
        prefix="MANTA_GCS_",
        argv=sys.argv[1:],
        env=os.environ,
        program="manta-gcs",
        description="The Global Control Service of Manta: nodes, jobs, actors, names and KV on a durable store.",
    )
    if settings.die_with_parent:
        process.die_with_parent()
    process.raise_nofile_limit()
    try:
        logs.configure("gcs", settings.log_level, settings.log_file)
        token = find_token(os.environ, settings.token_file, settings.session_dir)
        uvloop.run(serve(settings, token))
    except (CredentialError, StoreError, RecordError, OSError) as error:
        if settings.log_file:
            log.error("service_failed", error=str(error))
        sys.exit(f"manta-gcs: {error}")


async def serve(settings: GcsSettings, token: Token) -> None:
    """Serve until SIGTERM or SIGINT. raises: CredentialError, StoreError, RecordError, OSError."""
    stop = process.stop_on_signals(asyncio.get_running_loop())
    shown_store = redact(settings.store)
    log.info("settings_loaded", **{**describe(settings), "store": shown_store})
    metrics = Metrics("gcs", **({"SessionName": settings.session_name} if settings.session_name else {}))
    gcs_metrics = GcsMetrics(metrics)
    service = GcsService(gcs_metrics)
    server = RpcServer(token, settings.tls, "gcs", metrics)
    server.add_service(gcs_pb2.DESCRIPTOR.services_by_name["Gcs"], service)
    # The address must be known before the store is opened: it tells a second process who holds it.
    listening = await server.start(settings.listen)
    address = settings.advertise or listening
    if host_of(address) in ("0.0.0.0", "::"):
        log.warning("address_not_reachable", address=address, remedy="give --advertise host:port to let others find it")
    try:
        metrics_port = await metrics.serve(settings.metrics_port)
        store = await open_store(settings.store, holder=address)
        try:
            options = ReplicaOptions(
                cluster=settings.cluster,
                address=address,
                session_name=settings.session_name,
                death_timeout_s=settings.death_timeout_s,
                inbox_limit=settings.inbox_limit,
                store_name=shown_store,
                hybrid=settings.hybrid,
                dead_actor_limit=settings.dead_actors_kept,
            )
            replica = Replica(store, options, gcs_metrics)
            service.open(replica)
            await _run(replica, stop, settings.ready_fd, {"address": address, "metrics": f"127.0.0.1:{metrics_port}"})
            await server.stop(STOP_GRACE_S)
        finally:
            await store.close()
    finally:
        await server.stop(0)
        await metrics.close()
    log.info("service_stopped")


async def _run(replica: Replica, stop: asyncio.Event, ready_fd: int, report: dict[str, str]) -> None:
    """Run the replica until it is asked to stop or fails. Ready: once it serves, or stands by for another leader."""
    running = asyncio.create_task(replica.run(), name="gcs-replica")
    stopping = asyncio.create_task(stop.wait(), name="gcs-stop")
    ready = asyncio.create_task(_serving_or_standing_by(replica), name="gcs-ready")
    try:
        await asyncio.wait([running, stopping, ready], return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and not running.done() and not stop.is_set():
            process.collect_seldom()
            process.report_ready(ready_fd, report)
            await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        for task in (running, stopping, ready):
            task.cancel()
        await asyncio.gather(running, stopping, ready, return_exceptions=True)
        await replica.stop()


async def _serving_or_standing_by(replica: Replica) -> None:
    """A leader's key that outlives its lease is a living leader's; before that it may be a dead predecessor's."""
    while not replica.served.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STANDBY_AFTER_S):
                await replica.served.wait()
        if not replica.served.is_set() and (await replica.refusal()).code == gcs_pb2.Error.NOT_LEADER:
            return
