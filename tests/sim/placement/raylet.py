"""A simulated raylet: the real core of a node, whose workers come up and die as the schedule says."""

from __future__ import annotations

import itertools
from random import Random

from manta_common.ids import JobId, LeaseId, NodeId, PlacementGroupId, WorkerId
from manta_common.resources import ResourceSet
from manta_common.scheduling import PlacementGroup
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as pb
from manta_raylet.commands import GrantLease, KillWorker, ReportBundles, StartWorker, WatchGroups
from manta_raylet.lease import Lease, LeaseRequest
from manta_raylet.node_core import NodeCore, NodeSpec
from manta_raylet.worker_pool import PoolLimits
from manta_raylet.worker_table import WorkerState

CLIENT = WorkerId(b"c" * 28)
_numbers = itertools.count(1)


class SimRaylet:
    """One machine. When it is declared dead it goes on as another node. `out` is what it has to say."""

    def __init__(self, machine: int, cpus: int, job: JobId, rng: Random) -> None:
        self.machine, self.cpus, self._job, self._rng = machine, cpus, job, rng
        self.alive = True
        self.out: list[gcs_pb2.NodeToGcs] = []
        self.leases: list[Lease] = []
        self._requests = itertools.count(1)
        self._ids = itertools.count(1)
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
        self._dying: list[WorkerId] = []
        self._sent_available = self.core.ledger.available
        self._sent_use = 0

    def _worker_id(self) -> WorkerId:
        return WorkerId(bytes([self.machine]) + next(_numbers).to_bytes(27, "big"))

    def _lease_id(self) -> LeaseId:
        return LeaseId(bytes([self.machine]) + next(_numbers).to_bytes(15, "big"))

    def attach_message(self, epoch: int) -> gcs_pb2.AttachNode:
        """As GcsLink says it first on a stream; what was to be said before is in it."""
        self.out = []
        core = self.core
        self._sent_available, self._sent_use = core.ledger.available, core.ledger.bundles.version
        info = common_pb2.NodeInfo(node_id=self.node_id, total=core.spec.total.to_proto(), labels=core.spec.labels)
        return gcs_pb2.AttachNode(
            info=info,
            available=core.ledger.available.to_proto(),
            epoch=epoch,
            job_ids=core.jobs.ids(),
            bundles=core.bundles.held(),
            watched_placement_groups=core.spillback.groups.watched(),
        )

    def obey(self, message: gcs_pb2.GcsToNode) -> bool:
        """As GcsFrames. returns: whether this node was declared dead."""
        match message.WhichOneof("body"):
            case "bundle_orders":
                self.core.obey_bundle_orders(message.bundle_orders.orders, 0.0)
            case "placement_group":
                self.core.spillback.groups.news(message.placement_group)
            case "claims":
                self.core.claimed(message.claims.claims, 0.0)
            case "job_ended":
                pass  # the simulated job outlives everything
            case "declared_dead":
                return True
        self.settle()
        return False

    def settle(self) -> None:
        for command in self.core.settle(0.0):
            match command:
                case StartWorker(worker_id=worker_id):
                    worker = self.core.worker(worker_id)
                    assert worker is not None
                    self.core.worker_ready(worker, 0.0)
                    self.settle()
                case KillWorker(worker_id=worker_id):
                    self._dying.append(worker_id)
                case GrantLease(lease=lease):
                    self.leases.append(lease)
                case ReportBundles(report=report):
                    self.out.append(gcs_pb2.NodeToGcs(bundle_report=report))
                    self._sent_available = ResourceSet.from_proto(report.available)
                case WatchGroups(message=watch):
                    self.out.append(gcs_pb2.NodeToGcs(watch_placement_groups=watch))

    def has_news(self) -> bool:
        """For the next heartbeat."""
        ledger = self.core.ledger
        return ledger.available != self._sent_available or ledger.bundles.version != self._sent_use

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
        self.out.append(gcs_pb2.NodeToGcs(heartbeat=beat))

    # ---- what runs here

    def want_lease(self, cpus: float, group: bytes = b"") -> None:
        """A task outside of groups, or in any bundle of one."""
        use = PlacementGroup(PlacementGroupId(group)) if group else None
        strategy = common_pb2.SchedulingStrategy()
        if use is not None:
            strategy.placement_group.placement_group_id = group
            strategy.placement_group.bundle_index = -1
        request = LeaseRequest(
            client=CLIENT,
            request_id=next(self._requests),
            job_id=self._job,
            resources=ResourceSet.from_floats({"CPU": cpus}),
            strategy=strategy,
            group=use,
        )
        self.core.leases_wanted(request, 1)
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
            self.core.leases.returned(lease.client, lease.id, False, 0.0)
            self.settle()

    def bury_workers(self) -> None:
        """The processes that were killed are gone."""
        dying, self._dying = self._dying, []
        for worker_id in dying:
            worker = self.core.worker(worker_id)
            if worker is not None and worker.state is not WorkerState.DEAD:
                self.core.worker_died(worker, -9, [], 0.0)
        self.settle()

    def holdings(self) -> dict[tuple[bytes, int], pb.HeldBundle]:
        return {(bundle.placement_group_id, bundle.index): bundle for bundle in self.core.bundles.held()}
