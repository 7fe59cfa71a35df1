"""A simulated node: the real core of a raylet, with workers that are nothing but time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manta_common.ids import JobId, LeaseId, NodeId, WorkerId
from manta_common.resources import ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2
from manta_raylet.core.node_core import NodeCore, NodeSpec
from manta_raylet.kernel.commands import (
    Command,
    EndWorker,
    GrantLease,
    KillWorker,
    RefuseLease,
    SpillLease,
    StartWorker,
)
from manta_raylet.kernel.lease import LeaseRequest
from manta_raylet.workers.worker_pool import PoolLimits

if TYPE_CHECKING:
    from tests.sim.scheduling import Cluster

START_S = 0.004  # from the wish for a worker to its report, as measured for a fork


class SimRaylet:
    """Does what the core commands. Invariant, checked after each step: no resource is held twice."""

    def __init__(self, cluster: Cluster, node_id: NodeId, total: ResourceSet, cpus: int) -> None:
        self.id = node_id
        self.alive = True
        self._cluster = cluster
        self._settling = False
        self._heartbeat_due = False
        limits = PoolLimits(cpus=cpus, concurrent_starts=cpus, idle_timeout_s=60, start_timeout_s=60)
        spec = NodeSpec(node_id=node_id, total=total, limits=limits, labels={})
        self.core = NodeCore(
            spec,
            cluster.clock.rng,
            lambda: WorkerId(cluster.new_id(28)),
            lambda: LeaseId(cluster.new_id(16)),
        )
        self._told: ResourceSet | None = None
        self.info = common_pb2.NodeInfo(node_id=node_id, raylet_address=node_id.hex(), total=total.to_proto())

    def job_started(self, job_id: JobId) -> None:
        self.core.job_started(gcs_pb2.JobRecord(job_id=job_id))

    # ---- events

    def wanted(self, request: LeaseRequest, backlog: int) -> None:
        self.core.leases_wanted(request, backlog)
        self.settle_soon()

    def cancelled(self, client: WorkerId, request_id: int) -> None:
        self.core.leases.cancelled(client, request_id)
        self.settle_soon()

    def returned(self, client: WorkerId, lease_id: LeaseId) -> None:
        self.core.leases.returned(client, lease_id, False, self._cluster.clock.now)
        self.settle_soon()

    def worker_killed(self, worker_id: WorkerId) -> None:
        worker = self.core.worker(worker_id)
        if not self.alive or worker is None:
            return
        death = self.core.worker_died(worker, -9, [], self._cluster.clock.now)
        self._cluster.worker_died(self, worker_id, death.holder)
        self.settle_soon()

    def tick(self) -> bool:
        if self.alive:
            self.core.tick(self._cluster.clock.now)
            self.settle_soon()
        return self.alive

    # ---- the core's commands

    def settle_soon(self) -> None:
        if not self._settling and self.alive:
            self._settling = True
            self._cluster.clock.after(0, self._settle)

    def _settle(self) -> None:
        self._settling = False
        if not self.alive:
            return
        now = self._cluster.clock.now
        for command in self.core.settle(now):
            self._perform(command)
        self._check()
        for client in self.core.notices.take(now):
            self._cluster.to_owner(self, client, lambda owner: owner.short())
        due = self.core.notices.next_at()
        if due is not None:
            self._cluster.clock.at(due, self.settle_soon)
        if not self._heartbeat_due:
            self._heartbeat_due = True
            self._cluster.clock.after(self._cluster.heartbeat_s, self._heartbeat)

    def _heartbeat(self) -> None:
        self._heartbeat_due = False
        available = self.core.ledger.available
        if self.alive and available is not self._told:
            self._told = available
            self._cluster.heard(self, available)

    def _perform(self, command: Command) -> None:
        cluster = self._cluster
        match command:
            case StartWorker(worker_id=worker_id):
                cluster.clock.after(START_S, lambda: self._worker_ready(worker_id))
            case GrantLease(lease=lease):
                cluster.granted(self, lease)
            case SpillLease():
                cluster.spilled(self, command)
            case RefuseLease():
                raise AssertionError(f"seed {cluster.clock.seed}: refused: {command.message}")
            case EndWorker(worker_id=worker_id) | KillWorker(worker_id=worker_id):
                cluster.clock.after(0.001, lambda: self.worker_killed(worker_id))

    def _worker_ready(self, worker_id: WorkerId) -> None:
        worker = self.core.worker(worker_id)
        if self.alive and worker is not None:
            self.core.worker_ready(worker, self._cluster.clock.now)
            self.settle_soon()

    def _check(self) -> None:
        ledger, where = self.core.ledger, f"seed {self._cluster.clock.seed}, node {self.id.hex()[-6:]}"
        assert all(amount >= 0 for amount in ledger.available.values()), f"{where}: oversubscribed {ledger.available}"
        assert ledger.held + ledger.available == ledger.total, f"{where}: what is held and free is not the total"
