"""Small peers of the GCS that speak its real streams: a client, and a node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from manta_common.credentials import TlsFiles, Token
from manta_common.ids import JobId, NodeId, WorkerId, new_actor_id, new_node_id, new_worker_id
from manta_common.resources import ResourceSet
from manta_common.rpc import method, open_channel
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2

from tests.integration.gcs.gcs_process import TOKEN

SERVICE = gcs_pb2.DESCRIPTOR.services_by_name["Gcs"]
DEADLINE_S = 15.0
Message = TypeVar("Message")


class RefusedError(Exception):
    """The GCS answered with an error."""

    def __init__(self, error: gcs_pb2.Error) -> None:
        super().__init__(error.message)
        self.error = error


class StreamEndedError(Exception):
    """The stream is over; `status` says why."""


class ClientPeer:
    """One Connect stream. Requests are matched by id; pushed statuses queue up in `pushed`."""

    def __init__(self, address: str, token: bytes = TOKEN) -> None:
        self._channel = open_channel(address, Token(token))
        self._call: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[gcs_pb2.GcsReply]] = {}
        self._next = 0
        self._outgoing: asyncio.Queue[gcs_pb2.ClientRequest] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None
        self.pushed: asyncio.Queue[gcs_pb2.GcsReply] = asyncio.Queue()
        self.welcome = gcs_pb2.GcsWelcome()

    async def __aenter__(self) -> ClientPeer:
        self._call = method(self._channel, SERVICE, "Connect")()
        self._reader = asyncio.create_task(self._read())
        self._writer = asyncio.create_task(self._write())
        try:
            hello = common_pb2.Hello(role=common_pb2.DRIVER, pid=1, name="test")
            self.welcome = (await self.ask(hello=hello)).welcome
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (self._reader, self._writer):
            if task is not None:
                task.cancel()
        self._call.cancel()
        await self._channel.close()

    async def ask(self, **body: Any) -> gcs_pb2.GcsReply:
        """raises: RefusedError, StreamEndedError."""
        self._next += 1
        future = asyncio.get_running_loop().create_future()
        self._waiting[self._next] = future
        self._outgoing.put_nowait(gcs_pb2.ClientRequest(request_id=self._next, **body))
        async with asyncio.timeout(DEADLINE_S):
            reply = await future
        if reply.HasField("error"):
            raise RefusedError(reply.error)
        return reply  # type: ignore[no-any-return]

    async def _write(self) -> None:
        while True:
            requests = [await self._outgoing.get()]
            while not self._outgoing.empty():
                requests.append(self._outgoing.get_nowait())
            await self._call.write(gcs_pb2.ClientBatch(requests=requests))

    async def _read(self) -> None:
        ended: Exception = StreamEndedError("end of stream")
        try:
            async for batch in self._call:
                for reply in batch.replies:
                    future = self._waiting.pop(reply.request_id, None)
                    if future is not None and not future.done():
                        future.set_result(reply)
                    elif reply.request_id == 0:
                        self.pushed.put_nowait(reply)
        except grpc.aio.AioRpcError as error:
            ended = StreamEndedError(f"{error.code().name}: {error.details()}")
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ended)

    # ---- common requests ----

    async def job(self, node: NodePeer) -> gcs_pb2.JobRecord:
        driver = common_pb2.WorkerAddress(node_id=node.id, worker_id=new_worker_id())
        job = gcs_pb2.JobRecord(driver=driver, driver_pid=1)
        return (await self.ask(register_job=gcs_pb2.RegisterJob(job=job))).job_registered.job

    async def status(self, actor_id: bytes) -> actor_pb2.ActorStatus:
        return (await self.ask(find_actor=gcs_pb2.FindActor(actor_id=actor_id))).actor_found.status

    async def pushed_status(self, wanted: actor_pb2.ActorState) -> actor_pb2.ActorStatus:
        """The next pushed status of that state."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for status in (await self.pushed.get()).actor_statuses.statuses:
                    if status.state == wanted:
                        return status


def spec_of(job: gcs_pb2.JobRecord, **more: Any) -> actor_pb2.ActorSpec:
    spec = actor_pb2.ActorSpec(
        actor_id=new_actor_id(JobId(job.job_id)), job_id=job.job_id, owner=job.driver, class_name="Counter", **more
    )
    if not spec.definition.pickled:
        spec.definition.pickled = b"class Counter"
    return spec


class NodePeer:
    """What a raylet says on its Attach stream. With `start_actors` it starts each actor that it is told to."""

    def __init__(
        self, address: str, node_id: NodeId | None = None, cpus: float = 4, tls: TlsFiles | None = None
    ) -> None:
        self.address = address
        self.id = node_id or new_node_id()
        self.cpus = cpus
        self.start_actors = True
        self.living: dict[bytes, gcs_pb2.ActorReport] = {}
        self.received: list[gcs_pb2.GcsToNode] = []
        self.epoch = 0
        self.ended = asyncio.Event()
        self.status = ""
        self._news = asyncio.Event()
        self._channel = open_channel(address, Token(TOKEN), tls)
        self._call: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self._outgoing: asyncio.Queue[gcs_pb2.NodeToGcs] = asyncio.Queue()

    async def __aenter__(self) -> NodePeer:
        await self.attach()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        if self._call is not None:
            self._call.cancel()
        await self._channel.close()

    async def attach(self, *, expect: str = "attached") -> Any:
        """Open a stream (a new one after the GCS was gone) and wait for its answer; `epoch` is what was obeyed."""
        for task in self._tasks:
            task.cancel()
        self.ended = asyncio.Event()
        self.received = []
        self._outgoing = asyncio.Queue()
        total = ResourceSet.from_floats({"CPU": self.cpus}).to_proto()
        info = common_pb2.NodeInfo(node_id=self.id, total=total, node_name="test", ip_address="127.0.0.1")
        attach = gcs_pb2.AttachNode(info=info, available=total, epoch=self.epoch, actors=list(self.living.values()))
        self.say(attach=attach)
        self._call = method(self._channel, SERVICE, "Attach")(wait_for_ready=True)
        self._tasks = [
            asyncio.create_task(work)
            for work in (self._read(self._call, self.ended), self._write(self._call), self._beat())
        ]
        return await self.wait_for(expect)

    def say(self, **body: Any) -> None:
        self._outgoing.put_nowait(gcs_pb2.NodeToGcs(**body))

    async def wait_for(self, kind: str, accept: Callable[[Any], bool] = lambda _: True) -> Any:
        """The first message of that kind, past or to come, that is accepted."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for message in self.received:
                    if message.WhichOneof("body") == kind and accept(getattr(message, kind)):
                        return getattr(message, kind)
                if self.ended.is_set():
                    raise StreamEndedError(self.status)
                self._news.clear()
                await self._news.wait()

    def died(self, actor_id: bytes, message: str = "signal 9") -> None:
        """The actor's process is gone."""
        report = self.living.pop(actor_id)
        cause = common_pb2.DeathCause(kind=common_pb2.DeathCause.WORKER_DIED, message=message, exit_code=-9)
        dead = gcs_pb2.ActorReport(actor_id=actor_id, incarnation=report.incarnation, failure=cause)
        self.say(actor_report=dead)

    async def _write(self, call: Any) -> None:
        while True:
            messages = [await self._outgoing.get()]
            while not self._outgoing.empty():
                messages.append(self._outgoing.get_nowait())
            await call.write(gcs_pb2.NodeBatch(messages=messages))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(1)  # the protocol's heartbeat, not a wait
            self.say(heartbeat=gcs_pb2.Heartbeat())

    async def _read(self, call: Any, ended: asyncio.Event) -> None:
        try:
            async for batch in call:
                assert batch.epoch == 0 or batch.epoch >= self.epoch, "an epoch below one that was obeyed"
                self.epoch = max(self.epoch, batch.epoch)
                for message in batch.messages:
                    self._obey(message)
                self._news.set()
            self.status = "end of stream"
        except grpc.aio.AioRpcError as error:
            self.status = f"{error.code().name}: {error.details()}"
        finally:
            ended.set()
            self._news.set()

    def _obey(self, message: gcs_pb2.GcsToNode) -> None:
        self.received.append(message)
        if message.HasField("create_actor") and self.start_actors:
            create = message.create_actor
            report = self.living.get(create.spec.actor_id)
            if report is None or report.incarnation != create.incarnation:
                worker = common_pb2.WorkerAddress(node_id=self.id, worker_id=WorkerId(new_worker_id()))
                report = gcs_pb2.ActorReport(
                    actor_id=create.spec.actor_id, incarnation=create.incarnation, address=worker, pid=4711
                )
                self.living[create.spec.actor_id] = report
            self.say(actor_report=report)
        elif message.HasField("end_actor"):
            self.living.pop(message.end_actor.actor_id, None)
