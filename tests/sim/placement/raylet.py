"""A simulated raylet: the real core of a node, whose workers come up, construct actors and die as the schedule says."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from random import Random

from manta_common.ids import JobId, LeaseId, NodeId, PlacementGroupId, WorkerId
from manta_common.resources import ResourceSet
from manta_common.scheduling import PlacementGroup
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as pb
from manta_raylet.core.node_core import NodeCore, NodeSpec
from manta_raylet.kernel.commands import (
    EndWorker,
    GrantLease,
    KillWorker,
    ReportActor,
    ReportBundles,
    SpillLease,
    StartActor,
    StartWorker,
    WatchGroups,
)
from manta_raylet.kernel.lease import Lease, LeaseRequest
from manta_raylet.workers.worker_pool import PoolLimits
from manta_raylet.workers.worker_table import Worker, WorkerState

CLIENT = WorkerId(b"c" * 28)
# The class of actors whose constructor never returns.
ENDLESS = "Endless"
_numbers = itertools.count(1)


class SimRaylet:
    """One machine. When it is declared dead it goes on as another node.

    out: what it has to say. spilled: what its clients are to ask for elsewhere.
    """

    def __init__(self, machine: int, cpus: int, job: JobId, rng: Random, now: Callable[[], float]) -> None:
        self.machine, self.cpus, self._job, self._rng, self._now = machine, cpus, job, rng, now
        self.alive = True
        self.out: list[gcs_pb2.NodeToGcs] = []
        self.leases: list[Lease] = []
        self.reborn()

    def reborn(self) -> None:
        """As a new node, with nothing."""
        self.node_id = NodeId(next(_numbers).to_bytes(28, "big"))
        total = ResourceSet.from_floats({"CPU": self.cpus})
        spec = NodeSpec(
            node_id=self.node_id,
            total=total,
            limits=PoolLimits(cpus=self.cpus, concurrent_starts=64),
            labels={"machine": str(self.machine), "half": "L1" if self.machine % 2 else "L2"},
        )
        self.core = NodeCore(spec, Random(self._rng.random()), self._worker_id, self._lease_id)
        self.core.job_started(gcs_pb2.JobRecord(job_id=self._job))
        self.out = []
        self.leases = []
        self.spilled: list[tuple[SpillLease, LeaseRequest]] = []
        self._asked: dict[int, LeaseRequest] = {}
        self._starting: list[WorkerId] = []
        self._constructing: list[WorkerId] = []
        self._dying: list[WorkerId] = []
        self._deaths: list[common_pb2.DeadWorker] = []
        self._sent_available = self.core.ledger.available
        self._sent_use = 0

    def _worker_id(self) -> WorkerId:
        return WorkerId(bytes([self.machine]) + next(_numbers).to_bytes(27, "big"))

    def _lease_id(self) -> LeaseId:
        return LeaseId(bytes([self.machine]) + next(_numbers).to_bytes(15, "big"))

    def first_messages(self, epoch: int) -> list[gcs_pb2.NodeToGcs]:
        """As GcsLink says them on a new stream; what was to be said before is in them."""
        self.out = []
        core = self.core
        self._sent_available, self._sent_use = core.ledger.available, core.ledger.bundles.version
        info = common_pb2.NodeInfo(node_id=self.node_id, total=core.spec.total.to_proto(), labels=core.spec.labels)
        attach = gcs_pb2.AttachNode(
            info=info,
            available=core.ledger.available.to_proto(),
            epoch=epoch,
            actors=core.actors.present(),
            recent_deaths=self._deaths,
            job_ids=core.jobs.ids(),
            bundles=core.bundles.held(),
            watched_placement_groups=core.spillback.groups.watched(),
        )
        failures = [gcs_pb2.NodeToGcs(actor_report=report) for report in core.actors.failures()]
        return [gcs_pb2.NodeToGcs(attach=attach), *failures]

    def obey(self, message: gcs_pb2.GcsToNode) -> bool:
        """As GcsFrames. returns: whether this node was declared dead."""
        core, now = self.core, self._now()
        match message.WhichOneof("body"):
            case "attached":
                core.claimed((), now)
                core.spillback.inquiry.attached()
                for info in message.attached.nodes:
                    self._hear_of(info)
                for order in message.attached.ended_actors:
                    core.end_actor(order, now)
            case "node":
                self._hear_of(message.node)
            case "resource_news":
                for news in message.resource_news.nodes:
                    core.nodes.set_available(NodeId(news.node_id), ResourceSet.from_proto(news.available))
            case "create_actor":
                create = message.create_actor
                bundle = create.bundle_index - 1 if create.bundle_index else None
                core.create_actor(create.spec, create.incarnation, now, bundle)
            case "end_actor":
                core.end_actor(message.end_actor, now)
            case "bundle_orders":
                core.obey_bundle_orders(message.bundle_orders.orders, now)
            case "placement_group":
                core.spillback.groups.news(message.placement_group)
            case "claims":
                core.claimed(message.claims.claims, now)
            case "drain":
                core.drain()
            case "job_ended":
                pass  # the simulated job outlives everything
            case "declared_dead":
                return True
        self.settle()
        return False

    def _hear_of(self, info: common_pb2.NodeInfo) -> None:
        if info.node_id != self.node_id:
            self.core.nodes.put(info)

    def tick(self) -> None:
        self.core.tick(self._now())
        self.settle()

    def settle(self) -> None:
        for command in self.core.settle(self._now()):
            match command:
                case StartWorker(worker_id=worker_id):
                    self._starting.append(worker_id)
                case StartActor(worker_id=worker_id):
                    self._constructing.append(worker_id)
                case KillWorker(worker_id=worker_id) | EndWorker(worker_id=worker_id):
                    self._dying.append(worker_id)
                case GrantLease(lease=lease):
                    self.leases.append(lease)
                case SpillLease(request_id=request_id):
                    self.spilled.append((command, self._asked[request_id]))
                case ReportActor(report=report):
                    self.out.append(gcs_pb2.NodeToGcs(actor_report=report))
                case ReportBundles(report=report):
                    self.out.append(gcs_pb2.NodeToGcs(bundle_report=report))
                    self._sent_available = ResourceSet.from_proto(report.available)
                case WatchGroups(message=watch):
                    self.out.append(gcs_pb2.NodeToGcs(watch_placement_groups=watch))

    def has_news(self) -> bool:
        """For the next heartbeat."""
        ledger = self.core.ledger
        told = ledger.available == self._sent_available and ledger.bundles.version == self._sent_use
        return not told or self.core.actors.has_taken

    def heartbeat(self) -> None:
        beat = gcs_pb2.Heartbeat()
        ledger = self.core.ledger
        if ledger.available != self._sent_available:
            self._sent_available = ledger.available
            beat.available.CopyFrom(ledger.available.to_proto())
        if ledger.bundles.version != self._sent_use:
            self._sent_use = ledger.bundles.version
            beat.used_bundles.extend(self.core.bundles.used())
            beat.used_bundles_changed = True
        beat.taken_actors.extend(self.core.actors.take_taken())
        self.out.append(gcs_pb2.NodeToGcs(heartbeat=beat))

    # ---- what runs here

    def want_lease(self, cpus: float, group: bytes = b"") -> None:
        """For a task outside of groups, or in any bundle of one."""
        use = PlacementGroup(PlacementGroupId(group)) if group else None
        strategy = common_pb2.SchedulingStrategy()
        if use is not None:
            strategy.placement_group.placement_group_id = group
            strategy.placement_group.bundle_index = -1
        request = LeaseRequest(
            client=CLIENT,
            request_id=next(_numbers),
            job_id=self._job,
            resources=ResourceSet.from_floats({"CPU": cpus}),
            strategy=strategy,
            group=use,
        )
        self.ask(request, 1)

    def sent_on(self, request: LeaseRequest, spill: SpillLease) -> None:
        """The client of another raylet's request asks here, as it was told."""
        self.ask(replace(request, request_id=next(_numbers), hops=spill.hops), spill.count)

    def ask(self, request: LeaseRequest, backlog: int) -> None:
        self._asked[request.request_id] = request
        self.core.leases_wanted(request, backlog)
        self.settle()

    def cancel_waiting(self) -> None:
        for entry in list(self.core.leases.queue.waiting()):
            self.core.leases.cancelled(CLIENT, entry.request.request_id)
        self.settle()

    def return_lease(self) -> None:
        """Any one, if there is one."""
        self.leases = [lease for lease in self.leases if self.core.leases.get(lease.id) is not None]
        if self.leases:
            lease = self.leases.pop(self._rng.randrange(len(self.leases)))
            self.core.leases.returned(lease.client, lease.id, False, self._now())
            self.settle()

    def bring_up(self, all_of_them: bool = False) -> None:
        """Processes that were asked for report; or one of them does."""
        for worker in self._take(self._starting, all_of_them):
            if worker.state is WorkerState.STARTING:
                self.core.worker_ready(worker, self._now())
        self.settle()

    def construct(self, all_of_them: bool = False) -> None:
        """Constructors return, or one does; those of ENDLESS actors never do."""
        for worker in self._take(self._constructing, all_of_them):
            hosted = self.core.actors.get(worker.actor_id) if worker.actor_id is not None else None
            if hosted is not None and hosted.spec.class_name == ENDLESS:
                self._constructing.append(worker.id)
            elif worker.state is WorkerState.ACTOR:
                self.core.actor_started(worker, None, "", self._now())
        self.settle()

    def stop(self) -> None:
        """As Node.stop, and its link's last words."""
        self.core.drain()
        self.out.append(gcs_pb2.NodeToGcs(heartbeat=gcs_pb2.Heartbeat(leaves=True)))
        for worker in list(self.core.pool.table):
            if worker.state is not WorkerState.DEAD:
                self._died(worker)
        self.settle()
        self.heartbeat()
        self.out.append(gcs_pb2.NodeToGcs(drain_done=gcs_pb2.DrainDone()))

    def crash(self) -> None:
        """One process that has an actor or a lease dies by itself."""
        there = [w for w in self.core.pool.table if w.state in (WorkerState.ACTOR, WorkerState.LEASED)]
        if there:
            self._died(self._rng.choice(there))
            self.settle()

    def bury_workers(self) -> None:
        """The processes that were killed are gone."""
        for worker in self._take(self._dying, True):
            self._died(worker)
        self.settle()

    def _take(self, waiting: list[WorkerId], all_of_them: bool) -> list[Worker]:
        """Out of the list, those that are not dead."""
        taken = list(dict.fromkeys(waiting)) if all_of_them else self._rng.sample(waiting, min(1, len(waiting)))
        waiting[:] = [worker_id for worker_id in waiting if worker_id not in taken]
        found = [self.core.worker(worker_id) for worker_id in taken]
        return [worker for worker in found if worker is not None and worker.state is not WorkerState.DEAD]

    def _died(self, worker: Worker) -> None:
        death = self.core.worker_died(worker, -9, [], self._now()).death
        self._deaths.append(death)
        self.out.append(gcs_pb2.NodeToGcs(workers_died=gcs_pb2.WorkersDiedReport(workers=[death])))

    def holdings(self) -> dict[tuple[bytes, int], pb.HeldBundle]:
        return {(bundle.placement_group_id, bundle.index): bundle for bundle in self.core.bundles.held()}
