"""Eight machines, a GCS and clients, joined by streams that deliver in order each, and in any order among them."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from random import Random

from manta_common.ids import JobId, NodeId, PlacementGroupId
from manta_common.resources import ResourceSet
from manta_gcs.kernel.events import (
    ClientAsked,
    ClientLeft,
    Event,
    Moment,
    NodeAttached,
    NodeDetached,
    NodeSaid,
    SessionId,
    TimePassed,
)
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as pb

from tests.sim.placement.gcs import DEATH_TIMEOUT_S, SimGcs
from tests.sim.placement.raylet import ENDLESS, SimRaylet

CLIENT = SessionId(1)
HOME = SessionId(2)  # of the node that the driver is on, which has no resources and never fails
MACHINES = 8
HOME_ID = NodeId(b"d" * 28)
DRIVER = common_pb2.WorkerAddress(node_id=HOME_ID, worker_id=b"w" * 28)


@dataclass
class Stream:
    """Between one raylet and the present leader. Both ways keep their order; ending it loses what is on the way."""

    raylet: SimRaylet
    session: SessionId
    node_id: NodeId
    up: deque[gcs_pb2.NodeToGcs] = field(default_factory=deque)
    down: deque[gcs_pb2.GcsToNode] = field(default_factory=deque)
    attached: bool = False


class World:
    """All state of one simulation. Everything random comes from `rng`, so the seed repeats it."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.time = 100.0
        self.streams: dict[SessionId, Stream] = {}
        self.asked: dict[int, gcs_pb2.ClientRequest] = {}
        self.answers: dict[int, gcs_pb2.GcsReply] = {}
        self._sessions = itertools.count(10)
        self._requests = itertools.count(1)
        self._groups = itertools.count(1)
        self._actors = itertools.count(1)
        self.gcs = SimGcs(self._told, self._answered, self._closed)
        self.gcs.start(self.now)
        self._home_attaches()
        self.wanted: dict[bytes, str] = {}  # group -> "there" or "removed", as its client asked
        self.created: set[bytes] = set()  # as a client was told
        self.job = self._job()
        self.raylets = [
            SimRaylet(number, self.rng.choice((1, 2, 2, 4)), self.job, self.rng, lambda: self.time)
            for number in range(MACHINES)
        ]

    @property
    def now(self) -> Moment:
        return Moment(self.time, 1_000_000 + self.time)

    # ---- the GCS's outside

    def _told(self, session: int, message: gcs_pb2.GcsToNode) -> None:
        stream = self.streams.get(SessionId(session))
        if stream is not None:
            stream.down.append(message)

    def _answered(self, session: int, reply: gcs_pb2.GcsReply) -> None:
        self.asked.pop(reply.request_id, None)
        self.answers[reply.request_id] = reply
        if reply.HasField("placement_group_found"):
            status = reply.placement_group_found.status
            if status.state == pb.PG_CREATED:
                self.created.add(status.placement_group_id)

    def _closed(self, session: int) -> None:
        pass  # what was put on the stream before is still read; the raylet leaves when it hears that it is dead

    def events(self, *events: Event, dies: str = "") -> None:
        """One batch for the leader; it may die in the middle of it, and another one takes over."""
        if not self.gcs.take(list(events), self.now, dies):
            self.gcs_restarts()

    def gcs_restarts(self) -> None:
        self.streams.clear()
        self.gcs.start(self.now)
        self._home_attaches()
        # The client's stream is new too: it repeats what was not answered.
        for request_id in list(self.asked):
            self.gcs.take([ClientAsked(self.now, CLIENT, self.asked[request_id])], self.now)

    def _home_attaches(self) -> None:
        attach = gcs_pb2.AttachNode(info=common_pb2.NodeInfo(node_id=HOME_ID), job_ids=[JobId(b"\0\0\0\1")])
        self.gcs.take([NodeAttached(self.now, HOME, attach)], self.now)

    def ask(self, dies: str = "", **body: object) -> int:
        request = gcs_pb2.ClientRequest(request_id=next(self._requests), **body)  # type: ignore[arg-type]
        self.asked[request.request_id] = request
        self.events(ClientAsked(self.now, CLIENT, request), dies=dies)
        return request.request_id

    def _job(self) -> JobId:
        job = gcs_pb2.JobRecord(driver=DRIVER)
        request = self.ask(register_job=gcs_pb2.RegisterJob(job=job))
        return JobId(self.answers[request].job_registered.job.job_id)

    def client_reconnects(self) -> None:
        self.events(ClientLeft(self.now, CLIENT))
        for request in list(self.asked.values()):
            self.events(ClientAsked(self.now, CLIENT, request))

    # ---- streams

    def stream_of(self, raylet: SimRaylet) -> Stream | None:
        return next((s for s in self.streams.values() if s.node_id == raylet.node_id), None)

    def attach(self, raylet: SimRaylet) -> None:
        session = SessionId(next(self._sessions))
        stream = self.streams[session] = Stream(raylet, session, raylet.node_id)
        stream.up.extend(raylet.first_messages(self.gcs.epoch))

    def cut(self, stream: Stream) -> None:
        """What is on the way is lost; the GCS notices."""
        del self.streams[stream.session]
        if stream.attached:
            self.events(NodeDetached(self.now, stream.session, stream.node_id))

    def collect(self, raylet: SimRaylet) -> None:
        """What the raylet has to say goes onto its stream; without one it is dropped, as GcsLink does."""
        stream = self.stream_of(raylet)
        if stream is not None:
            stream.up.extend(raylet.out)
        raylet.out = []
        spilled, raylet.spilled = raylet.spilled, []
        for spill, request in spilled:
            target = next((r for r in self.raylets if r.alive and r.node_id == spill.node_id), None)
            if target is not None:  # else its client hears of the death, and the simulated one gives up
                target.sent_on(request, spill)
                self.collect(target)

    def deliver_up(self, stream: Stream, dies: str = "", several: int = 1) -> None:
        events: list[Event] = []
        for _ in range(min(several, len(stream.up))):
            message = stream.up.popleft()
            if message.HasField("drain_done"):
                self.streams.pop(stream.session, None)
            if message.HasField("attach"):
                stream.attached = True
                events.append(NodeAttached(self.now, stream.session, message.attach))
            else:
                events.append(NodeSaid(self.now, stream.session, stream.node_id, message))
        self.events(*events, dies=dies)

    def deliver_down(self, stream: Stream) -> None:
        raylet = stream.raylet
        message = stream.down.popleft()
        if not raylet.alive or raylet.node_id != stream.node_id:
            return  # it has stopped, and said so
        if raylet.obey(message):
            del self.streams[stream.session]
            raylet.reborn()
        self.collect(raylet)

    # ---- faults and time

    def kill(self, raylet: SimRaylet) -> None:
        """The machine is gone, without a word."""
        raylet.alive = False
        stream = self.stream_of(raylet)
        if stream is not None:
            self.cut(stream)

    def stop(self, raylet: SimRaylet) -> None:
        """The machine is told to stop: it says so, ends what runs there, and says goodbye."""
        raylet.stop()
        self.collect(raylet)
        raylet.alive = False

    def drain(self, raylet: SimRaylet) -> None:
        wanted = gcs_pb2.DrainNode(node_id=raylet.node_id, reason=gcs_pb2.DrainNode.PREEMPTION)
        self.ask(drain_node=wanted)

    def machine_returns(self, raylet: SimRaylet) -> None:
        raylet.alive = True
        raylet.reborn()

    def silence(self) -> None:
        """Longer than the death timeout: nodes without a stream die, the others were heard."""
        self.time += DEATH_TIMEOUT_S + 1
        self.beat_all()

    def beat_all(self) -> None:
        """Empty heartbeats: of those who have nothing new to say."""
        beats = [
            NodeSaid(self.now, s.session, s.node_id, gcs_pb2.NodeToGcs(heartbeat=gcs_pb2.Heartbeat()))
            for s in self.streams.values()
            if s.attached
        ]
        beats.append(NodeSaid(self.now, HOME, HOME_ID, gcs_pb2.NodeToGcs(heartbeat=gcs_pb2.Heartbeat())))
        self.events(*beats, TimePassed(self.now))

    def pass_time(self, seconds: float) -> None:
        """Everybody's clock goes on; nobody is silent for long enough to die of it."""
        self.time += seconds
        self.beat_all()
        for raylet in self.raylets:
            if raylet.alive:
                raylet.tick()
                self.collect(raylet)

    # ---- actors

    def create_actor(self, cpus: float, held: float, group: bytes = b"", bundle: int = -1, dies: str = "") -> bytes:
        """cpus: free where it is placed; held: by it from then on. Some have a constructor that never returns."""
        actor_id = next(self._actors).to_bytes(12, "big") + self.job
        spec = actor_pb2.ActorSpec(
            actor_id=actor_id,
            job_id=self.job,
            owner=DRIVER,
            class_name=ENDLESS if self.rng.random() < 0.2 else "Brief",
            placement_resources=ResourceSet.from_floats({"CPU": cpus}).to_proto(),
            lifetime_resources=ResourceSet.from_floats({"CPU": held}).to_proto(),
            max_restarts=self.rng.choice((0, 1, -1)),
        )
        if group:
            spec.strategy.placement_group.placement_group_id = group
            spec.strategy.placement_group.bundle_index = bundle
        spec.definition.pickled = b"class"
        self.ask(dies=dies, register_actor=gcs_pb2.RegisterActor(spec=spec))
        return actor_id

    def kill_actor(self, actor_id: bytes, no_restart: bool, dies: str = "") -> None:
        self.ask(dies=dies, kill_actor=gcs_pb2.KillActorRequest(actor_id=actor_id, no_restart=no_restart))

    def actors(self) -> list[bytes]:
        return [actor.id for actor in self.gcs.core.actors.table if not actor.dead]

    # ---- groups

    def create_group(self, bundles: list[float], strategy: str, labels: list[str] | None, dies: str = "") -> bytes:
        group_id = next(self._groups).to_bytes(14, "big") + self.job
        spec = pb.PlacementGroupSpec(
            placement_group_id=group_id,
            creator_job_id=self.job,
            creator=DRIVER,
            strategy=strategy,  # type: ignore[arg-type]
        )
        for index, cpus in enumerate(bundles):
            bundle = spec.bundles.add(resources=ResourceSet.from_floats({"CPU": cpus}).to_proto())
            if labels is not None:
                bundle.label_selector.add(
                    key="half", operator=common_pb2.LabelConstraint.IN, values=[labels[index % len(labels)]]
                )
        self.wanted[group_id] = "there"
        self.ask(dies=dies, create_placement_group=pb.CreatePlacementGroup(spec=spec))
        self.ask(await_placement_group=pb.AwaitPlacementGroup(placement_group_id=group_id))
        return group_id

    def remove_group(self, group_id: bytes, dies: str = "") -> None:
        self.wanted[group_id] = "removed"
        self.ask(dies=dies, remove_placement_group=pb.RemovePlacementGroup(placement_group_id=group_id))

    def groups(self) -> list[PlacementGroupId]:
        return [group.id for group in self.gcs.core.groups.table.living()]
