"""Drives a NodeCore by hand: ids that count up, a clock that the test moves."""

from random import Random

from manta_common.ids import JobId, LeaseId, NodeId, WorkerId, job_id
from manta_common.resources import ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2
from manta_raylet.core.node_core import NodeCore, NodeSpec
from manta_raylet.kernel.commands import Command, GrantLease, StartWorker
from manta_raylet.kernel.lease import ClientId, Lease, LeaseRequest
from manta_raylet.workers.worker_pool import PoolLimits

HERE = NodeId(b"H" * 28)
THERE = NodeId(b"T" * 28)
JOB = job_id(1)


def client(number: int) -> ClientId:
    return WorkerId(bytes([200 + number]) * 28)


class CoreDriver:
    def __init__(self, cpu: float = 2, labels: dict[str, str] | None = None, **more: float) -> None:
        total = ResourceSet.from_floats({"CPU": cpu, **more})
        limits = PoolLimits(cpus=int(cpu), concurrent_starts=4, idle_timeout_s=60, start_timeout_s=60)
        spec = NodeSpec(node_id=HERE, total=total, limits=limits, labels=labels or {})
        self._ids = 0
        self.core = NodeCore(spec, Random(1), self._worker_id, self._lease_id)
        self.now = 0.0
        self.commands: list[Command] = []
        self.job()

    def _worker_id(self) -> WorkerId:
        self._ids += 1
        return WorkerId(self._ids.to_bytes(28, "big"))

    def _lease_id(self) -> LeaseId:
        self._ids += 1
        return LeaseId(self._ids.to_bytes(16, "big"))

    def job(self, number: int = 1) -> JobId:
        self.core.job_started(gcs_pb2.JobRecord(job_id=job_id(number)))
        return job_id(number)

    def settle(self) -> list[Command]:
        """The commands; also kept until the next call."""
        self.commands = self.core.settle(self.now)
        return self.commands

    def want(self, who: int = 1, request_id: int = 1, backlog: int = 1, **more: object) -> list[Command]:
        resources = ResourceSet.from_floats(more.pop("resources", {"CPU": 1}))  # type: ignore[arg-type]
        request = LeaseRequest(
            client=client(who),
            request_id=request_id,
            job_id=more.pop("job", JOB),  # type: ignore[arg-type]
            resources=resources,
            **more,  # type: ignore[arg-type]
        )
        self.core.leases_wanted(request, backlog)
        return self.settle()

    def start(self) -> list[Command]:
        """Every worker that the last commands want comes up."""
        for command in [command for command in self.commands if isinstance(command, StartWorker)]:
            worker = self.core.worker(command.worker_id)
            assert worker is not None
            worker.pid = 1_000 + self._ids
            self.core.worker_ready(worker, self.now)
        return self.settle()

    def grants(self) -> list[Lease]:
        return [command.lease for command in self.commands if isinstance(command, GrantLease)]

    def lease(self, who: int = 1, request_id: int = 1, **more: object) -> Lease:
        """Want one, start what it takes, and have it."""
        self.want(who, request_id, **more)
        if not self.grants():
            self.start()
        (lease,) = self.grants()
        return lease

    def give_back(self, lease: Lease, retire: bool = False) -> list[Command]:
        assert self.core.leases.returned(lease.client, lease.id, retire, self.now)
        return self.settle()

    def die(self, worker_id: WorkerId, status: int = -9) -> list[Command]:
        worker = self.core.worker(worker_id)
        assert worker is not None
        self.death = self.core.worker_died(worker, status, [], self.now)
        return self.settle()

    def node(self, node_id: NodeId = THERE, **resources: float) -> None:
        self.core.nodes.put(
            common_pb2.NodeInfo(
                node_id=node_id,
                raylet_address=f"{node_id[:1].decode()}:1",
                total=ResourceSet.from_floats(resources).to_proto(),
            )
        )


def actor(number: int = 1, cpu: float = 0, placement: float = 1, **more: object) -> actor_pb2.ActorSpec:
    return actor_pb2.ActorSpec(
        actor_id=bytes([number]) * 12 + JOB,
        job_id=JOB,
        lifetime_resources=ResourceSet.from_floats({"CPU": cpu}).to_proto(),
        placement_resources=ResourceSet.from_floats({"CPU": placement}).to_proto(),
        **more,  # type: ignore[arg-type]
    )
