"""Real services as processes, and peers that speak to a raylet."""

import asyncio
import contextlib
import json
import os
import secrets
import select
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from manta_common.channel.unix_asyncio import Connection, connect_unix
from manta_common.credentials import Token
from manta_common.ids import new_worker_id
from manta_common.resources import ResourceSet
from manta_common.rpc import method, open_channel
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2
from manta_proto.raylet.v1 import raylet_pb2

BIN = Path(sys.executable).parent
ZYGOTE = Path(__file__).parent / "stand_in_zygote.py"
DEADLINE_S = 20.0


class Service:
    """One service process; its ready line is read in `start`."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], ready: dict[str, Any], log: Path) -> None:
        self.name, self.process, self.ready, self.log = name, process, ready, log

    @classmethod
    async def start(cls, name: str, token: Token, log: Path, *flags: str) -> "Service":
        return await asyncio.to_thread(cls._start, name, token, log, *flags)

    @classmethod
    def _start(cls, name: str, token: Token, log: Path, *flags: str) -> "Service":
        read_end, write_end = os.pipe()
        env = {key: value for key, value in os.environ.items() if not key.startswith(("MANTA_", "RAY_"))}
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(BIN / name), "--ready-fd", str(write_end), "--die-with-parent", *flags],
                pass_fds=[write_end],
                env={**env, "MANTA_TOKEN": token.value.decode()},
                stdout=output,
                stderr=output,
            )
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            readable, _, _ = select.select([pipe], [], [], DEADLINE_S)
            line = pipe.readline() if readable else ""
        if not line:
            process.kill()
            process.wait(5)
            raise RuntimeError(f"{name} did not start:\n{log.read_text()}")
        return cls(name, process, json.loads(line), log)

    async def wait(self, timeout_s: float = 10) -> int:
        return await asyncio.to_thread(self.process.wait, timeout_s)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


class TestNode:
    """A GCS, an object manager and a raylet with the stand-in zygote."""

    __test__ = False

    def __init__(self, root: Path, token: Token) -> None:
        self.root, self.token = root, token
        self.node_dir = root / secrets.token_hex(4)
        self.node_dir.mkdir()
        self.services: list[Service] = []
        self.clients: list[Peer] = []

    async def start(self, gcs: str = "", resources: dict[str, float] | None = None, flags: Sequence[str] = ()) -> None:
        if not gcs:
            self.gcs = await Service.start(
                "manta-gcs", self.token, self.root / "gcs.log", "--store", f"sqlite:///{self.root}/gcs.db"
            )
            self.services.append(self.gcs)
            gcs = self.gcs.ready["address"]
        self.gcs_address = gcs
        await self.start_object_manager()
        await self.start_raylet(resources or {"CPU": 2}, *flags)

    async def start_object_manager(self) -> None:
        self.object_manager = await Service.start(
            "manta-object-manager",
            self.token,
            self.node_dir / "om.log",
            "--socket",
            f"{self.node_dir}/object-manager.sock",
            "--arena-bytes",
            "16777216",
        )
        self.services.append(self.object_manager)

    async def start_raylet(self, resources: dict[str, float], *flags: str) -> None:
        self.raylet = await Service.start(
            "manta-raylet",
            self.token,
            self.node_dir / "raylet.log",
            *("--gcs", self.gcs_address, "--node-dir", str(self.node_dir), "--session-dir", str(self.node_dir)),
            *("--resources", json.dumps(resources), "--zygote-command", f"{sys.executable} {ZYGOTE}"),
            *flags,
        )
        self.services.append(self.raylet)

    @property
    def node_id(self) -> bytes:
        return bytes.fromhex(self.raylet.ready["node_id"])

    async def driver(self, register: bool = True) -> "Peer":
        peer = await Peer.connect(self)
        self.clients.append(peer)
        if register:
            await peer.register_job()
        return peer

    def order(self, worker: common_pb2.WorkerAddress, text: str) -> None:
        """Have a stand-in worker do something."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(text.encode(), f"{self.node_dir}/{worker.worker_id[:4].hex()}.sock")

    async def stop(self) -> None:
        for client in self.clients:
            client.close()
        for service in reversed(self.services):
            service.kill()


class Peer:
    """A driver: a process of its own, so that its death can be real, with its connections held by the test.

    The kernel names the test's pid for a socket that the test connects, so that pid is the driver's.
    """

    def __init__(self, node: TestNode, connection: Connection, worker_id: bytes) -> None:
        self.node, self.connection, self.worker_id = node, connection, worker_id
        self.welcome = raylet_pb2.RayletWelcome.FromString(connection.welcome.details)  # type: ignore[union-attr]
        self.job_id = b""
        self._channel: Any = None
        self._call: Any = None
        self.seen: list[tuple[int, bytes]] = []

    @classmethod
    async def connect(cls, node: TestNode, token: Token | None = None, **hello: Any) -> "Peer":
        worker_id = hello.pop("worker_id", new_worker_id())
        message = common_pb2.Hello(
            role=hello.pop("role", common_pb2.DRIVER), worker_id=worker_id, pid=hello.pop("pid", os.getpid()), **hello
        )
        connection = await connect_unix(f"{node.node_dir}/raylet.sock", token or node.token, message)
        return cls(node, connection, worker_id)

    async def register_job(self) -> bytes:
        self._channel = open_channel(self.node.gcs_address, self.node.token)
        self._call = method(self._channel, gcs_pb2.DESCRIPTOR.services_by_name["Gcs"], "Connect")()
        hello = common_pb2.Hello(role=common_pb2.DRIVER, worker_id=self.worker_id, pid=os.getpid())
        await self.ask(hello=hello)
        record = gcs_pb2.JobRecord(
            driver=common_pb2.WorkerAddress(node_id=self.node.node_id, worker_id=self.worker_id),
            driver_pid=os.getpid(),
            working_directory="/",
        )
        reply = await self.ask(register_job=gcs_pb2.RegisterJob(job=record))
        self.job_id = reply.job_registered.job.job_id
        return self.job_id

    async def ask(self, **body: Any) -> gcs_pb2.GcsReply:
        request = gcs_pb2.ClientRequest(request_id=secrets.randbelow(2**32) + 1, **body)
        await self._call.write(gcs_pb2.ClientBatch(requests=[request]))
        while True:
            batch = await asyncio.wait_for(self._call.read(), DEADLINE_S)
            for reply in batch.replies:
                if reply.request_id == request.request_id:
                    return reply

    def send(self, kind: int, message: Message) -> None:
        self.connection.send(kind, message)

    def want(self, request_id: int, backlog: int = 1, resources: dict[str, float] | None = None, **more: Any) -> None:
        amounts = ResourceSet.from_floats({"CPU": 1} if resources is None else resources)
        wanted = raylet_pb2.LeasesWanted(
            request_id=request_id, job_id=self.job_id, resources=amounts.to_proto(), backlog=backlog, **more
        )
        self.send(raylet_pb2.LEASES_WANTED, wanted)

    def give_back(self, lease: raylet_pb2.LeaseGranted, retire: bool = False) -> None:
        returned = raylet_pb2.LeaseReturned(lease_id=lease.lease_id, retire_worker=retire)
        self.send(raylet_pb2.LEASE_RETURNED, returned)

    async def take(self, kind: int, kept: Callable[[Any], bool] = lambda message: True) -> Any:
        """The next message of that kind; others stay for later."""
        parser = _MESSAGES[kind]
        for index, (seen, payload) in enumerate(self.seen):
            if seen == kind and kept(message := parser.FromString(payload)):
                del self.seen[index]
                return message
        async with asyncio.timeout(DEADLINE_S):
            async for found, payload in self.connection:
                if found == kind and kept(message := parser.FromString(payload)):
                    return message
                self.seen.append((found, payload))
        raise ConnectionError(self.connection.reason)

    async def granted(self) -> raylet_pb2.LeaseGranted:
        return await self.take(raylet_pb2.LEASE_GRANTED)

    async def nothing_more(self, kind: int) -> bool:
        """Whether nothing of that kind is under way: a later question's answer comes without it."""
        number = secrets.randbelow(2**32)
        self.send(raylet_pb2.ENDPOINT_WANTED, raylet_pb2.EndpointWanted(request_id=number, worker_id=bytes(28)))
        await self.take(raylet_pb2.ENDPOINT, lambda message: message.request_id == number)
        return all(seen != kind for seen, _ in self.seen)

    def close(self) -> None:
        self.connection.close()
        if self._call is not None:
            self._call.cancel()


_MESSAGES: dict[int, Any] = {
    raylet_pb2.LEASE_GRANTED: raylet_pb2.LeaseGranted,
    raylet_pb2.LEASE_SPILLED: raylet_pb2.LeaseSpilled,
    raylet_pb2.LEASE_REFUSED: raylet_pb2.LeaseRefused,
    raylet_pb2.LEASES_SHORT: raylet_pb2.LeasesShort,
    raylet_pb2.WORKERS_DIED: raylet_pb2.WorkersDied,
    raylet_pb2.NODES: raylet_pb2.Nodes,
    raylet_pb2.ENDPOINT: raylet_pb2.Endpoint,
    raylet_pb2.LOG_LINES: raylet_pb2.LogLines,
}


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def ended(pid: int, timeout_s: float = 5) -> None:
    """Wait until a process has ended."""
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        event = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(fd, event.set)
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        finally:
            loop.remove_reader(fd)
            os.close(fd)


@contextlib.asynccontextmanager
async def running_node(root: Path, **options: Any) -> AsyncIterator[TestNode]:
    node = TestNode(root, Token(secrets.token_hex(16).encode()))
    try:
        await node.start(**options)
        yield node
    finally:
        await node.stop()
