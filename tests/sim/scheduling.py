"""Many raylets and drivers with their real cores, and views of each other that are as stale as the test wants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from manta_common.ids import JobId, LeaseId, NodeId, WorkerId, job_id
from manta_common.resources import ResourceSet
from manta_gcs.kernel.events import Moment, SessionId
from manta_gcs.nodes.node import NodeTable
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2
from manta_raylet.kernel.commands import SpillLease
from manta_raylet.kernel.lease import Lease, LeaseRequest
from ray._runtime.specs.task_record import TaskRecord
from ray._runtime.tasks.lease_manager import SchedulingKey

from tests.sim.clock import Clock
from tests.sim.network import CALM, Network, Weather
from tests.sim.owner import SimOwner
from tests.sim.raylet import SimRaylet

GCS = "gcs"
# What a node hears of another: the truth, or whatever an adversary makes of it.
Distortion = Callable[[ResourceSet, ResourceSet], ResourceSet]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A cluster of equal nodes.

    share_s: how often the GCS tells what is free elsewhere; heartbeat_s: how soon a node tells the GCS.
    everybody_hears: else only nodes with a driver know of others, which saves most of the work of a large cluster;
    what comes to another node then waits there.
    """

    nodes: int
    cpus: int
    share_s: float = 0.1
    heartbeat_s: float = 0.05
    everybody_hears: bool = True
    weather: Weather = CALM
    distortion: Distortion | None = None


class Cluster:
    """Joins clock, network, raylets and owners. The GCS is its real node table, with what it would send around."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape = shape
        self.clock = Clock(seed)
        self.network = Network(self.clock, shape.weather)
        self.heartbeat_s = shape.heartbeat_s
        self.table = NodeTable(death_timeout_s=5.0)
        self.raylets: dict[NodeId, SimRaylet] = {}
        self.owners: dict[WorkerId, SimOwner] = {}
        self.worker_busy_until: dict[WorkerId, float] = {}
        self.hops: Counter[int] = Counter()
        self.placed_on: Counter[NodeId] = Counter()
        self._ids = 0
        self._changed: set[NodeId] = set()
        total = ResourceSet.from_floats({"CPU": shape.cpus})
        for _ in range(shape.nodes):
            self.add_node(total)
        self.clock.every(shape.share_s, self._share)

    def new_id(self, size: int) -> bytes:
        self._ids += 1
        return self._ids.to_bytes(size, "big")

    def add_node(self, total: ResourceSet) -> SimRaylet:
        raylet = SimRaylet(self, NodeId(self.new_id(28)), total, self.shape.cpus)
        self.raylets[raylet.id] = raylet
        attach = gcs_pb2.AttachNode(info=raylet.info, available=total.to_proto())
        self.table.attach(attach, SessionId(self._ids), self._moment())
        if self.shape.everybody_hears:
            for other in self.raylets.values():
                self._introduce(raylet, other)
        for owner in self.owners.values():
            raylet.job_started(owner.job_id)
        # Ticks of different nodes do not fall together.
        self.clock.after(self.clock.rng.random(), lambda: self.clock.every(1.0, raylet.tick))
        return raylet

    def _introduce(self, one: SimRaylet, other: SimRaylet) -> None:
        if one is not other:
            one.core.nodes.put(other.info)
            other.core.nodes.put(one.info)

    def add_owner(self, home: NodeId | None = None) -> SimOwner:
        """A driver with a job of its own."""
        job = job_id(len(self.owners) + 1)
        owner = SimOwner(self, WorkerId(self.new_id(28)), job, home or next(iter(self.raylets)))
        if not self.shape.everybody_hears:
            for raylet in self.raylets.values():
                self._introduce(self.raylets[owner.home], raylet)
        self.owners[owner.id] = owner
        for raylet in self.raylets.values():
            raylet.job_started(JobId(job))
        return owner

    def kill_node(self, node_id: NodeId) -> None:
        """It is gone at once; the others hear of it when the GCS declares it dead."""
        raylet = self.raylets.pop(node_id)
        raylet.alive = False
        self.network.kill(node_id)
        self.clock.after(5.0, lambda: self._declare_dead(raylet))

    def _declare_dead(self, raylet: SimRaylet) -> None:
        node = self.table.get(raylet.id)
        assert node is not None
        self.table.bury(node, common_pb2.DeathCause(kind=common_pb2.DeathCause.NODE_DIED), self._moment())
        info = common_pb2.NodeInfo(node_id=raylet.id, state=common_pb2.NodeInfo.DEAD)
        for other in list(self.raylets.values()):
            self.network.send(GCS, other.id, lambda o=other: (o.core.nodes.put(info), o.settle_soon()))
        for owner in self.owners.values():
            self.network.send(GCS, owner.id, lambda o=owner: o.node_gone(raylet.id))

    # ---- news of free resources

    def heard(self, raylet: SimRaylet, available: ResourceSet) -> None:
        def arrive() -> None:
            node = self.table.get(raylet.id)
            if node is not None:
                self.table.heartbeat(node, gcs_pb2.Heartbeat(available=available.to_proto()))
                self._changed.add(raylet.id)

        self.network.send(raylet.id, GCS, arrive, may_be_lost=True)

    def _share(self) -> bool:
        changed, self._changed = self._changed, set()
        homes = {owner.home for owner in self.owners.values()}
        hearers = list(self.raylets.values()) if self.shape.everybody_hears else [self.raylets[home] for home in homes]
        for node_id in sorted(changed):
            node = self.table.get(node_id)
            if node is None:
                continue
            told = node.available
            if self.shape.distortion is not None:
                told = self.shape.distortion(node.total, told)
            for raylet in hearers:
                if raylet.id != node_id:
                    self.network.send(GCS, raylet.id, _news(raylet, node_id, told), may_be_lost=True)
        return not all(owner.finished for owner in self.owners.values())

    def _moment(self) -> Moment:
        return Moment(self.clock.now, self.clock.now)

    # ---- between owners and raylets

    def ask(self, owner: SimOwner, key: SchedulingKey, at: NodeId, wanted: int, hops: int) -> None:
        request = LeaseRequest(
            client=owner.id,
            request_id=key.request_id,
            job_id=owner.job_id,
            hops=hops,
            **key.demand,  # type: ignore[arg-type]
        )
        self._to_raylet(owner, at, lambda raylet: raylet.wanted(request, wanted))

    def cancel(self, owner: SimOwner, request_id: int, at: NodeId) -> None:
        self._to_raylet(owner, at, lambda raylet: raylet.cancelled(owner.id, request_id))

    def give_back(self, owner: SimOwner, at: NodeId, lease_id: LeaseId) -> None:
        self._to_raylet(owner, at, lambda raylet: raylet.returned(owner.id, lease_id))

    def _to_raylet(self, owner: SimOwner, at: NodeId, deliver: Callable[[SimRaylet], None]) -> None:
        raylet = self.raylets.get(at)
        if raylet is not None:
            self.network.send(owner.id, at, lambda: deliver(raylet))
        elif not self.network.is_dead(at) or self.table.get(at) is None:
            # Declared dead before the owner asked: its channel cannot be opened.
            self.network.send(GCS, owner.id, lambda: owner.node_gone(at))

    def to_owner(self, raylet: SimRaylet, owner_id: WorkerId, deliver: Callable[[SimOwner], None]) -> None:
        owner = self.owners[owner_id]
        self.network.send(raylet.id, owner.id, lambda: deliver(owner))

    def granted(self, raylet: SimRaylet, lease: Lease) -> None:
        worker = (raylet.id, lease.worker_id)
        hops = lease.key.hops
        self.hops[hops] += 1
        self.placed_on[raylet.id] += 1
        self.to_owner(raylet, lease.client, lambda owner: owner.granted(lease.request_id, lease.id, worker, hops))

    def spilled(self, raylet: SimRaylet, spill: SpillLease) -> None:
        better, count, hops, number = spill.node_id, spill.count, spill.hops, spill.request_id
        self.to_owner(raylet, spill.client, lambda owner: owner.spilled(raylet.id, number, better, count, hops))

    # ---- between owners and workers

    def run_tasks(
        self, owner: SimOwner, worker: tuple[NodeId, WorkerId], lease_id: bytes, tasks: Sequence[TaskRecord]
    ) -> None:
        self.network.send(owner.id, worker[0], lambda: owner.run_on_worker(worker, lease_id, tasks))

    def reply(self, owner: SimOwner, worker: tuple[NodeId, WorkerId], lease_id: bytes, task_id: bytes) -> None:
        raylet = self.raylets.get(worker[0])
        if raylet is not None and raylet.core.worker(worker[1]) is not None:
            self.network.send(worker[0], owner.id, lambda: owner.task_done(lease_id, task_id))

    def worker_died(self, raylet: SimRaylet, worker_id: WorkerId, holder: WorkerId | None) -> None:
        if holder is not None:
            self.to_owner(raylet, holder, lambda owner: owner.worker_gone(worker_id))

    # ---- running

    def run(self, limit_s: float) -> None:
        """Until all tasks of all owners are done, and everything is free again. raises: Stuck."""
        owners = list(self.owners.values())
        self.clock.run_until(
            lambda: all(owner.finished for owner in owners),
            limit_s,
            ", ".join(f"{len(owner.done)} of {len(owner.submitted)} tasks done" for owner in owners),
        )
        free: list[float] = []
        self.clock.every(0.01, lambda: not (free.append(self.clock.now) if self._all_free() else free))
        self.clock.run_until(lambda: bool(free), 30.0, "everything is given back")

    def _all_free(self) -> bool:
        return all(
            raylet.core.ledger.available == raylet.core.ledger.total and not len(raylet.core.leases.queue)
            for raylet in self.raylets.values()
        )


def _news(raylet: SimRaylet, node_id: NodeId, told: ResourceSet) -> Callable[[], None]:
    def arrive() -> None:
        raylet.core.nodes.set_available(node_id, told)
        raylet.settle_soon()

    return arrive
