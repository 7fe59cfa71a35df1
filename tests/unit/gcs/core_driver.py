"""Drives a GCS core as its shell would: events in, commands sorted by where they go."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping

from manta_common.ids import ActorId, JobId, NodeId, WorkerId, new_actor_id
from manta_common.resources import ResourceSet
from manta_gcs.actors.actor_table import DEAD_LIMIT
from manta_gcs.core.core import GcsCore
from manta_gcs.core.loading import CoreOptions, Loader, load
from manta_gcs.jobs.identity import ClusterIdentity
from manta_gcs.kernel.commands import Answer, Close, Command, Forget, Note, Persist, StepDown, Tell
from manta_gcs.kernel.events import ClientAsked, Moment, NodeAttached, NodeDetached, NodeSaid, SessionId, TimePassed
from manta_gcs.kernel.record import Key, root_of
from manta_gcs.records.record_writer import RecordWriter
from manta_gcs.requests.client_request import ClientRequests
from manta_gcs.store import Chunks, Compare, open_store
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2, records_pb2

CLIENT = SessionId(1000)
Cause = common_pb2.DeathCause


def node_id(number: int) -> NodeId:
    return NodeId(bytes([number]) * 28)


def worker_id(number: int) -> WorkerId:
    return WorkerId(bytes([0x80 + number]) * 28)


def address(node: int, worker: int) -> common_pb2.WorkerAddress:
    return common_pb2.WorkerAddress(node_id=node_id(node), worker_id=worker_id(worker))


def resources(amounts: Mapping[str, float]) -> common_pb2.Resources:
    return ResourceSet.from_floats(amounts).to_proto()


def attach(node: int, cpus: float = 4, **more: object) -> gcs_pb2.AttachNode:
    info = common_pb2.NodeInfo(node_id=node_id(node), total=resources({"CPU": cpus}), node_name=f"node-{node}")
    return gcs_pb2.AttachNode(info=info, available=resources({"CPU": cpus}), **more)  # type: ignore[arg-type]


class CoreDriver:
    """`stored` is what a store would hold; `told` and `answered` what left since last looked at."""

    def __init__(self, death_timeout_s: float = 5.0, epoch: int = 7, core: GcsCore | None = None) -> None:
        self.core = core or GcsCore(ClusterIdentity("cluster", "session"), epoch, death_timeout_s, random.Random(1))
        self.time = 100.0
        self.stored: dict[Key, records_pb2.StoredRecord] = {}
        self.forgotten: set[Key] = set()
        self.told: defaultdict[int, list[gcs_pb2.GcsToNode]] = defaultdict(list)
        self.pushed: list[actor_pb2.ActorStatus] = []
        self.answered: list[gcs_pb2.GcsReply] = []
        self.closed: dict[int, str] = {}
        self.stepped_down: StepDown | None = None
        self._request_id = 0
        self.take(self.core.begin(self.now))

    async def restarted(
        self, epoch: int = 8, death_timeout_s: float = 5.0, dead_actor_limit: int = DEAD_LIMIT
    ) -> CoreDriver:
        """Another leader, from what this one stored, through a real store in memory."""
        store = await open_store("sqlite:memory")
        root = root_of("default")
        fence = Compare(root + b"leader", 0)
        chunks = Chunks(store, root + b"chunks/")
        writer = RecordWriter(store, chunks, root, fence)
        await writer.write([[Persist(key, record)] for key, record in self.stored.items()])
        options = CoreOptions(
            session_name="another",
            death_timeout_s=death_timeout_s,
            store_name="",
            dead_actor_limit=dead_actor_limit,
        )
        loader = Loader(store, chunks, root, RecordWriter(store, chunks, root, fence))
        core = await load(loader, epoch, options, self.now)
        await store.close()
        successor = CoreDriver(core=core)
        successor.time = self.time
        forgotten, successor.forgotten = successor.forgotten, set()
        successor.stored = {
            key: record for key, record in {**self.stored, **successor.stored}.items() if key not in forgotten
        }
        return successor

    @property
    def now(self) -> Moment:
        return Moment(self.time, 1_000_000 + self.time)

    def take(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Persist(key=key, record=record):
                    self.stored[key] = record
                case Forget(key=key):
                    self.stored.pop(key, None)
                    self.forgotten.add(key)
                case Tell(session=session, message=message):
                    self.told[session].append(message)
                case Answer(reply=reply) if reply.request_id == 0:
                    self.pushed.extend(reply.actor_statuses.statuses)
                case Answer(reply=reply):
                    self.answered.append(reply)
                case Close(session=session, reason=reason):
                    self.closed[session] = reason
                case StepDown():
                    self.stepped_down = command
                case Note():
                    pass

    def settle(self) -> None:
        self.take(self.core.settle(self.now))

    def ask(self, **body: object) -> gcs_pb2.GcsReply:
        """Ask as a client and settle; returns the answer."""
        self._request_id += 1
        request = gcs_pb2.ClientRequest(request_id=self._request_id, **body)  # type: ignore[arg-type]
        self.take(ClientRequests(self.core).handle(ClientAsked(self.now, CLIENT, request)))
        self.settle()
        reply = self.answered.pop()
        assert reply.request_id == self._request_id
        return reply

    def attach(self, node: int, session: int | None = None, message: gcs_pb2.AttachNode | None = None) -> SessionId:
        """A node on a stream whose number is the node's, if none is given."""
        number = SessionId(node if session is None else session)
        self.take(self.core.handle(NodeAttached(self.now, number, message or attach(node))))
        self.settle()
        return number

    def detach(self, node: int, session: int | None = None) -> None:
        number = SessionId(node if session is None else session)
        self.take(self.core.handle(NodeDetached(self.now, number, node_id(node))))

    def say(self, node: int, session: int | None = None, **body: object) -> None:
        message = gcs_pb2.NodeToGcs(**body)  # type: ignore[arg-type]
        number = SessionId(node if session is None else session)
        self.take(self.core.handle(NodeSaid(self.now, number, node_id(node), message)))
        self.settle()

    def heartbeat(self, node: int, cpus: float | None = None) -> None:
        beat = gcs_pb2.Heartbeat()
        if cpus is not None:
            beat.available.CopyFrom(resources({"CPU": cpus}))
        self.say(node, heartbeat=beat)

    def pass_time(self, seconds: float) -> None:
        self.time += seconds
        self.take(self.core.handle(TimePassed(self.now)))
        self.settle()

    def take_told(self, session: int, kind: str) -> list[object]:
        """Messages of one kind to a node, taken out."""
        kept, taken = [], []
        for message in self.told[session]:
            if message.WhichOneof("body") == kind:
                taken.append(getattr(message, kind))
            else:
                kept.append(message)
        self.told[session] = kept
        return taken

    # ---- common situations ----

    def job(self, driver_node: int = 1, driver: int = 1) -> JobId:
        record = gcs_pb2.JobRecord(driver=address(driver_node, driver), driver_pid=4711)
        return JobId(self.ask(register_job=gcs_pb2.RegisterJob(job=record)).job_registered.job.job_id)

    def spec(self, job: JobId, cpus: float = 0, held: float = 0, **more: object) -> actor_pb2.ActorSpec:
        spec = actor_pb2.ActorSpec(
            actor_id=new_actor_id(job),
            job_id=job,
            owner=address(1, 1),
            class_name="Counter",
            **more,  # type: ignore[arg-type]
        )
        spec.placement_resources.CopyFrom(resources({"CPU": max(cpus, held)}))
        spec.lifetime_resources.CopyFrom(resources({"CPU": held}))
        if not spec.definition.pickled:
            spec.definition.pickled = b"class Counter"
        return spec

    def register(self, spec: actor_pb2.ActorSpec, get_if_exists: bool = False) -> gcs_pb2.GcsReply:
        return self.ask(register_actor=gcs_pb2.RegisterActor(spec=spec, get_if_exists=get_if_exists))

    def started(self, node: int, create: gcs_pb2.CreateActor, worker: int, pid: int = 99) -> None:
        """The node reports that it started the actor."""
        report = gcs_pb2.ActorReport(
            actor_id=create.spec.actor_id, incarnation=create.incarnation, address=address(node, worker), pid=pid
        )
        self.say(node, actor_report=report)

    def failed(self, node: int, actor_id: bytes, incarnation: int, kind: common_pb2.DeathCause.Kind) -> None:
        report = gcs_pb2.ActorReport(actor_id=actor_id, incarnation=incarnation, failure=Cause(kind=kind, message="x"))
        self.say(node, actor_report=report)

    def create(self, node: int) -> gcs_pb2.CreateActor:
        """The one CreateActor that the node was sent."""
        (message,) = self.take_told(node, "create_actor")
        assert isinstance(message, gcs_pb2.CreateActor)
        return message

    def alive(self, spec: actor_pb2.ActorSpec, node: int = 1, worker: int = 50) -> ActorId:
        """Register, and have the node that was chosen start it."""
        self.register(spec)
        self.started(node, self.create(node), worker)
        return ActorId(spec.actor_id)

    def status(self, actor_id: bytes) -> actor_pb2.ActorStatus:
        return self.ask(find_actor=gcs_pb2.FindActor(actor_id=actor_id)).actor_found.status
