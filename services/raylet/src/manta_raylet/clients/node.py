"""The node: does what the core commands, and tells it what happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from manta_common.credentials import Token
from manta_common.ids import JobId, NodeId, WorkerId
from manta_common.logs import get
from manta_common.scheduling.demand_notice import DemandNotice
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2, placement_group_pb2, task_pb2
from manta_proto.raylet.v1 import raylet_pb2

from manta_raylet.clients import command_messages as messages
from manta_raylet.clients.client import Client, ClientTable
from manta_raylet.clients.endpoint import Asker, EndpointTable
from manta_raylet.clients.exit_drain import LastWords
from manta_raylet.clients.log_feed import LogFeed
from manta_raylet.clients.reference_survey import ReferenceSurvey
from manta_raylet.clients.user_metrics import UserMetrics
from manta_raylet.clients.watch import RecentDeaths, WatchTable, group_by_watcher
from manta_raylet.core.long_wait_log import Patience
from manta_raylet.core.node_core import NodeCore
from manta_raylet.kernel.commands import (
    AskForNodes,
    BringArguments,
    Command,
    EndWorker,
    GrantLease,
    KillWorker,
    NoteActorRefused,
    RefuseLease,
    ReportActor,
    ReportBundles,
    SpillLease,
    StartActor,
    StartWorker,
    WatchGroups,
)
from manta_raylet.kernel.death import dead, node_cause
from manta_raylet.kernel.lease import ClientId, Lease
from manta_raylet.processes.log_backlog import LogBatch
from manta_raylet.processes.worker_processes import WorkerProcesses
from manta_raylet.processes.worker_socket import remove_socket
from manta_raylet.processes.worker_starter import WorkerSurroundings
from manta_raylet.processes.zygote_process import ZygoteProcess
from manta_raylet.workers.worker_table import Worker

_log = get("manta_raylet")

TICK_S: Final = 1.0


class GcsOutlet(Protocol):
    """What the node tells the GCS; it keeps what cannot be sent now."""

    def changed(self) -> None: ...
    def report_actor(self, report: gcs_pb2.ActorReport) -> None: ...
    def report_bundles(self, report: placement_group_pb2.BundleReport) -> None: ...
    def watch_groups(self, message: placement_group_pb2.WatchPlacementGroups) -> None: ...
    def look_up_nodes(self, message: gcs_pb2.LookUpNodes) -> None: ...
    def report_deaths(self, deaths: list[common_pb2.DeadWorker]) -> None: ...
    def leaves(self) -> None: ...
    def driver_gone(self, job_id: JobId, worker_id: WorkerId) -> None: ...
    def tell_tasks(self, size: int, events: task_pb2.TaskEvents) -> None: ...


class ObjectManagerOutlet(Protocol):
    """What the node passes on to its object manager."""

    def nodes(self, infos: list[common_pb2.NodeInfo]) -> None: ...
    def workers_died(self, deaths: list[common_pb2.DeadWorker]) -> None: ...
    def prefetch(self, arguments: Iterable[raylet_pb2.LeaseArgument]) -> None: ...
    def job_ended(self, job_id: JobId, surviving: Iterable[WorkerId]) -> None: ...


class Node:
    """Joins core, processes and clients of one node. For its event loop only.

    Events change the core at once; its commands are done in one `settle` per turn of the loop, so that a burst of
    frames costs one pass over the queue.
    """

    def __init__(
        self,
        core: NodeCore,
        surroundings: WorkerSurroundings,
        zygote_command: list[str],
        client_reconnect_s: float,
        info: Callable[[], common_pb2.NodeInfo],
        user_metrics: UserMetrics,
        early_zygote: ZygoteProcess | None = None,
    ) -> None:
        self.core = core
        self.info = info  # this node as others see it
        self.surroundings = surroundings
        self.clients = ClientTable()
        self.deaths = RecentDeaths()
        self.watches = WatchTable()
        self.endpoints = EndpointTable()
        self.survey = ReferenceSurvey()
        self.user_metrics = user_metrics
        self.arena_used = 0  # bytes, as the object manager told last
        self.processes = WorkerProcesses(
            surroundings,
            zygote_command,
            lambda: self.core,
            self._process_exited,
            self.settle_soon,
            self._log_batch,
            early_zygote,
        )
        self.gcs: GcsOutlet
        self.object_manager: ObjectManagerOutlet
        self.drained = asyncio.Event()  # drained on the order of the GCS: nothing is left to serve
        self._client_reconnect_s = client_reconnect_s
        self._loop = asyncio.get_running_loop()
        self._settling = False
        self._patience = Patience()
        self._last_words = LastWords()
        self._notice_timer: asyncio.TimerHandle | None = None
        self._count_granted: Callable[[float], None] = lambda amount: None
        self._count_spilled: Callable[[float], None] = lambda amount: None
        self._ticker: asyncio.TimerHandle | None = None

    @property
    def node_id(self) -> NodeId:
        return self.core.spec.node_id

    @property
    def token(self) -> Token:
        return self.surroundings.token

    def now(self) -> float:
        return self._loop.time()

    def wall(self, moment: float) -> float:
        """A moment of `now` as Unix seconds; 0 stays 0, for never."""
        return time.time() - self.now() + moment if moment else 0.0

    # ---- the core's commands

    def settle_soon(self) -> None:
        """Have the core serve what it can, once this turn of the loop is over."""
        if not self._settling:
            self._settling = True
            self._loop.call_soon(self._settle)

    def on_counts(self, granted: Callable[[float], None], spilled: Callable[[float], None]) -> None:
        """Who counts leases, over all cores that this node has had."""
        self._count_granted, self._count_spilled = granted, spilled

    def _settle(self) -> None:
        self._settling = False
        for command in self.core.settle(self.now()):
            self._perform(command)
        self._notify_short()
        self.gcs.changed()
        if self.core.drained:
            self.drained.set()

    def _perform(self, command: Command) -> None:
        match command:
            case GrantLease():
                self._count_granted(1)
                self.grant(command.lease, command.pid)
            case StartWorker():
                self.processes.start_worker(command)
            case StartActor():
                self.clients.send(command.worker_id, raylet_pb2.START_ACTOR, messages.start_actor(command))
            case BringArguments():
                self.object_manager.prefetch(command.arguments)
            case SpillLease():
                self._count_spilled(command.count)
                self.clients.send(command.client, raylet_pb2.LEASE_SPILLED, messages.spilled(command))
            case RefuseLease():
                _log.info("lease_refused", client=command.client, reason=command.message)
                self.clients.send(command.client, raylet_pb2.LEASE_REFUSED, messages.refused(command))
            case EndWorker():
                end = raylet_pb2.Exit(reason=command.reason, at_once=command.at_once)
                sent = self.clients.send(command.worker_id, raylet_pb2.EXIT, end)
                self.processes.kill_later(command.worker_id, command.grace_s if sent else 0)
            case KillWorker():
                self.processes.kill(command.worker_id)
            case ReportActor():
                self.gcs.report_actor(command.report)
            case ReportBundles():
                self.gcs.report_bundles(command.report)
            case WatchGroups():
                self.gcs.watch_groups(command.message)
            case AskForNodes():
                self.gcs.look_up_nodes(command.message)
            case NoteActorRefused():
                _log.warning("actor_order_refused", actor_id=command.actor_id, reason=command.reason)

    def grant(self, lease: Lease, pid: int) -> None:
        """Tell the client of its lease; also again, after it was away."""
        self.clients.send(lease.client, raylet_pb2.LEASE_GRANTED, messages.granted(lease, self.node_id, pid))

    def _notify_short(self) -> None:
        for client in self.core.notices.take(self.now()):
            self.clients.send(client, raylet_pb2.LEASES_SHORT, raylet_pb2.LeasesShort())
        due = self.core.notices.next_at()
        if due is not None and self._notice_timer is None:
            self._notice_timer = self._loop.call_at(due, self._notice_due)

    def _notice_due(self) -> None:
        self._notice_timer = None
        self._notify_short()

    # ---- clients

    def client_came(self, client: Client) -> None:
        """Its hello was accepted; `client.link` is open. What it held before it was away, it is told again."""
        known = self.clients.get(client.id)
        if known is not None:
            known.link, client = client.link, known
        else:
            self.clients.put(client)
            if client.is_driver:
                self._adopt_driver(client)
        if client.missed_deaths:
            client.tell_deaths(list(client.missed_deaths))
            client.missed_deaths.clear()
        client.send(raylet_pb2.NODES, raylet_pb2.Nodes(nodes=[self.info(), *self.core.nodes.infos()]))
        for lease in self.core.leases.held_by(client.id):
            worker = self.core.worker(lease.worker_id)
            self.grant(lease, worker.pid if worker is not None else 0)

    def _adopt_driver(self, client: Client) -> None:
        if client.local:
            self.processes.watch_driver(client.id, client.pid)
        self._job_of_driver(client, self.core.jobs.of_driver(client.id) or client.job_id)

    def _job_of_driver(self, client: Client, job_id: JobId) -> None:
        client.job_id = job_id
        if client.local:
            self.core.driver_attached(job_id)
            self.settle_soon()

    def client_left(self, client_id: ClientId, link: object, reason: str) -> None:
        """Its connection ended. Only its process's end is its death, so it may come back."""
        client = self.clients.get(client_id)
        if client is None or client.link is not link:
            return
        client.link = None
        self.core.leases.forget_requests(client_id)
        self.settle_soon()
        _log.info("client_left", client=client_id, reason=reason)
        if client.is_driver and self.core.jobs.is_over(client.job_id):
            self._driver_done(client)
        elif client.local:
            self._loop.call_later(self._client_reconnect_s, self._client_stays_away, client)
        self._last_words.heard(client_id)

    def _driver_done(self, client: Client) -> None:
        """Its job is over and its connection too: it will not be back under this id."""
        message = "it ended its job and disconnected"
        self.driver_died(client, common_pb2.DeathCause(kind=common_pb2.DeathCause.INTENDED, message=message))

    def _client_stays_away(self, client: Client) -> None:
        if client.link is not None or self.clients.get(client.id) is not client:
            return
        cause = common_pb2.DeathCause(
            kind=common_pb2.DeathCause.UNKNOWN,
            message=f"it left its raylet and did not come back within client_reconnect_s={self._client_reconnect_s:g}",
        )
        worker = self.core.worker(client.id)
        if worker is not None:
            self.core.kill(worker, cause, self.now())
            self.settle_soon()
        else:
            self.driver_died(client, cause)

    def driver_died(self, client: Client, cause: common_pb2.DeathCause) -> None:
        """A driver of this node is no more, or says that it goes; its job ends here at once."""
        self.processes.forget(client.id)
        cause.node_id, cause.pid = self.node_id, client.pid
        _log.info("driver_died", client=client.id, job_id=client.job_id, reason=cause.message)
        self.gcs.driver_gone(client.job_id, client.id)
        self.declare([dead(self.node_id, client.id, cause)], {}, local=True)
        if client.job_id and not self.core.jobs.is_over(client.job_id):
            self.job_ended(client.job_id)

    # ---- jobs and nodes

    def job_started(self, record: gcs_pb2.JobRecord) -> None:
        if record.finished:
            return
        self.core.job_started(record)
        driver = self.clients.get(ClientId(WorkerId(record.driver.worker_id)))
        if driver is not None:
            self._job_of_driver(driver, JobId(record.job_id))
        self.settle_soon()

    def job_ended(self, job_id: JobId) -> None:
        self.core.job_ended(job_id, self.now(), self.clients.remote_workers(job_id))
        self.object_manager.job_ended(job_id, self.survivors(job_id))
        for client in self.clients:
            if client.is_driver and client.job_id == job_id and client.link is None:
                self._driver_done(client)
        self.settle_soon()

    def survivors(self, job_id: JobId) -> set[WorkerId]:
        """Whose objects stay when that job ends."""
        return self.core.survivors(job_id, self.clients.remote_workers(job_id))

    def node_news(self, infos: Iterable[common_pb2.NodeInfo]) -> None:
        """Nodes that are new, changed or dead; every process on a dead one is dead."""
        fresh = [info for info in infos if info.node_id != self.node_id]
        deaths: list[common_pb2.DeadWorker] = []
        for info in fresh:
            node_id = NodeId(info.node_id)
            if self.core.nodes.put(info):
                gone = {*self.watches.on_node(node_id), *(client.id for client in self.clients.on_node(node_id))}
                deaths += [dead(node_id, worker_id, node_cause(info)) for worker_id in gone]
        if not fresh:
            return
        for client in self.clients:
            client.send(raylet_pb2.NODES, raylet_pb2.Nodes(nodes=fresh))
        self.object_manager.nodes(fresh)
        self.declare(deaths, {}, local=False)
        self.settle_soon()

    # ---- deaths

    def declare(
        self, deaths: list[common_pb2.DeadWorker], holders: Mapping[WorkerId, ClientId], *, local: bool
    ) -> None:
        """These processes are dead, for good: tell whoever watches them, and let go of what they held here."""
        news: list[tuple[common_pb2.DeadWorker, set[ClientId]]] = []
        for death in deaths:
            if not self.deaths.add(death):
                continue
            worker_id = WorkerId(death.address.worker_id)
            tell = self.watches.died(worker_id)
            if worker_id in holders:
                tell.add(holders[worker_id])
            news.append((death, tell))
            self._let_go(worker_id)
        if not news:
            return
        for client_id, told in group_by_watcher(news).items():
            client = self.clients.get(client_id)
            if client is not None:
                client.tell_deaths(told)
        fresh = [death for death, _ in news]
        self.object_manager.workers_died(fresh)
        if local:
            self.gcs.report_deaths(fresh)
        self.settle_soon()

    def _let_go(self, worker_id: WorkerId) -> None:
        self.core.client_gone(worker_id, self.now())
        self.watches.client_gone(worker_id)
        self.user_metrics.gone(worker_id)
        self.answer_endpoint(worker_id, self.endpoints.gone(worker_id), "")
        client = self.clients.pop(worker_id)
        if client is None:
            return
        if client.logs is not None:
            client.logs.close()
        if client.link is not None:
            client.link.close("this process was declared dead")

    def answer_endpoint(self, worker_id: WorkerId, askers: list[Asker], address: str) -> None:
        for client, request_id in askers:
            answer = raylet_pb2.Endpoint(request_id=request_id, worker_id=worker_id, address=address)
            self.clients.send(client, raylet_pb2.ENDPOINT, answer)

    def _process_exited(self, worker_id: WorkerId, status: int | None, lines: list[str]) -> None:
        client = self.clients.get(worker_id)
        if client is not None and client.link is not None:
            self._last_words.wait(worker_id, lambda: self._exit_judged(worker_id, status, lines))
        else:
            self._exit_judged(worker_id, status, lines)

    def _exit_judged(self, worker_id: WorkerId, status: int | None, lines: list[str]) -> None:
        client = self.clients.get(worker_id)
        if client is not None:
            remove_socket(self.surroundings.node_dir, worker_id)
        worker = self.core.worker(worker_id)
        if worker is not None:
            self._worker_exited(worker, status, lines)
            return
        if client is not None and client.is_driver:
            self.driver_died(client, common_pb2.DeathCause(kind=common_pb2.DeathCause.WORKER_DIED, message="it ended"))

    def _worker_exited(self, worker: Worker, status: int | None, lines: list[str]) -> None:
        before = worker.state
        death = self.core.worker_died(worker, status, lines, self.now())
        _log.info(
            "worker_died",
            worker_id=worker.id,
            pid=worker.pid,
            status=status,
            state=before.name,
            reason=death.death.cause.message,
        )
        death.death.launched_at, death.death.started_at = self.wall(worker.launched_at), self.wall(worker.started_at)
        death.death.ended_at = time.time()
        holders = {worker.id: death.holder} if death.holder is not None else {}
        self.declare([death.death], holders, local=True)
        self.settle_soon()

    # ---- output

    def logs_wanted(self, client: Client) -> None:
        """A driver wants its job's output; a feed of its own sends it, at the driver's pace."""
        if client.logs is None:
            client.logs = LogFeed(client, self.surroundings.node_ip)

    def flush_logs(self, client: Client) -> None:
        """A driver is about to leave: all that its workers have written goes to it first."""
        if client.logs is None:
            client.send(raylet_pb2.LOGS_FLUSHED, raylet_pb2.LogsFlushed())
            return
        self.processes.read_output(client.job_id)
        client.logs.flush()

    def tell_drivers(self, notice: DemandNotice) -> None:
        """A word of the scheduler to the job's driver, among its workers' output."""
        self._log_batch(notice.job_id, LogBatch("scheduler", 0, True, (notice.text,), notice.key))

    def _log_batch(self, job_id: JobId, batch: LogBatch) -> None:
        for client in self.clients.listeners(job_id):
            if client.logs is not None:
                client.logs.add(batch)

    # ---- life

    def start(self) -> None:
        """Main thread only: the zygote hangs on it, and signals are heard in it."""
        self.processes.start()
        self._tick()

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(TICK_S, self._tick)
        self.core.tick(self.now())
        for wait in self._patience.update(self.core.waits(), self.now()):
            _log.warning("still_waiting", **wait)
        for notice in self.core.demand_notices(self.clients.listening_jobs(), self.now()):
            self.tell_drivers(notice)
        self.settle_soon()

    def drain(self, deadline_s: float) -> None:
        """Take nothing new; `drained` is set when what runs is done, or after deadline_s; 0: no deadline."""
        _log.info("node_drains", node_id=self.node_id, deadline_s=deadline_s)
        self.core.drain()
        if deadline_s > 0:
            self._loop.call_later(deadline_s, self.drained.set)
        self.settle_soon()

    async def stop(self) -> None:
        """Grant nothing more and end all workers: asked first, killed after a grace."""
        self.core.drain()
        self.gcs.leaves()
        if self._ticker is not None:
            self._ticker.cancel()
        for worker in self.core.pool.table:
            worker.cause = worker.cause or common_pb2.DeathCause(
                kind=common_pb2.DeathCause.NODE_DIED, message="its raylet was told to stop"
            )
            self.core.pool.end(worker, self.now())
            self.clients.send(worker.id, raylet_pb2.EXIT, raylet_pb2.Exit(reason="the node stops", at_once=True))
        await self.processes.stop()

    def declared_dead(self, core: NodeCore) -> None:
        """The cluster gave this node up: kill the workers, drop the clients, go on as another node."""
        old = self.node_id
        _log.error("node_declared_dead", node_id=old, new_node_id=core.spec.node_id)
        self.processes.kill_all()
        for client in self.clients:
            if client.logs is not None:
                client.logs.close()
            if client.link is not None:
                client.link.close(f"node {old.hex()} was declared dead")
            self.clients.pop(client.id)
            self.processes.forget(client.id)
        self.core = core
        self.user_metrics.all_gone()
        self.watches, self.endpoints, self.deaths = WatchTable(), EndpointTable(), RecentDeaths()
        core.nodes.put(common_pb2.NodeInfo(node_id=old, state=common_pb2.NodeInfo.DEAD))
        self.settle_soon()
