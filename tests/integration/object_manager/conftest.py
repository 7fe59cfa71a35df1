"""Real object managers, and other processes that use them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from manta_common.channel.hello import hello_bytes
from manta_common.credentials import Token
from manta_common.version import PROTOCOL
from manta_proto.common.v1.common_pb2 import Hello, NodeInfo, Role
from manta_proto.object_manager.v1 import object_manager_pb2 as pb
from ray._runtime.arena.arena_client import ArenaClient

MIB = 1024 * 1024
TOKEN = Token(b"integration-token")
PROGRAM = Path(sys.executable).with_name("manta-object-manager")


class ObjectManager:
    """One manta-object-manager process."""

    def __init__(self, folder: Path, arena_bytes: int, *flags: str) -> None:
        self.folder = folder
        self.socket = str(folder / "object-manager.sock")
        self.node_id = os.urandom(28)
        self._arena_bytes = arena_bytes
        self._flags = flags
        (folder / "token").write_bytes(TOKEN.value)
        self.start()

    def start(self) -> None:
        read, write = os.pipe()
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MANTA_", "RAY_"))}
        self.process = subprocess.Popen(
            [
                str(PROGRAM),
                f"--socket={self.socket}",
                f"--token-file={self.folder / 'token'}",
                f"--arena-bytes={self._arena_bytes}",
                f"--log-file={self.folder / 'log'}",
                f"--ready-fd={write}",
                "--die-with-parent",
                *self._flags,
            ],
            pass_fds=[write],
            env=environment,
        )
        os.close(write)
        with os.fdopen(read) as pipe:
            line = pipe.readline()
        assert line, f"the object manager did not start: {self.log()}"
        self.ready: dict[str, str] = json.loads(line)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

    def node(self, state: NodeInfo.State.ValueType = NodeInfo.ALIVE) -> NodeInfo:
        return NodeInfo(
            node_id=self.node_id,
            state=state,
            flight_address=self.ready["flight"],
            object_manager_address=self.ready["grpc"],
        )


class Cluster:
    """What a test starts, and ends with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.managers: list[ObjectManager] = []
        self.clients: list[ArenaClient] = []
        self.children: list[subprocess.Popen[str]] = []

    def manager(self, arena_bytes: int = 64 * MIB, *flags: str, name: str = "") -> ObjectManager:
        folder = self.folder / (name or f"n{len(self.managers)}")
        folder.mkdir(mode=0o700)
        self.managers.append(ObjectManager(folder, arena_bytes, *flags))
        return self.managers[-1]

    def client(
        self, manager: ObjectManager, role: Role.ValueType = Role.WORKER, **hooks: Callable[..., None]
    ) -> ArenaClient:
        hello = hello_bytes(TOKEN, PROTOCOL, Hello(role=role, pid=os.getpid(), name="test").SerializeToString())
        self.clients.append(ArenaClient(manager.socket, lambda: hello, **hooks))  # type: ignore[arg-type]
        return self.clients[-1]

    def tell(self, manager: ObjectManager, kind: int, message: pb.Nodes | pb.WorkersDied | pb.JobEnded) -> None:
        """What the node's raylet says; a description that is answered after it shows that it was read."""
        raylet = self.client(manager, Role.RAYLET)
        raylet._connected().send(kind, message)
        raylet.describe()

    def introduce(self, *managers: ObjectManager) -> None:
        """Tell each of the object managers where all of them are."""
        for manager in managers:
            self.tell(manager, pb.NODES, pb.Nodes(nodes=[other.node() for other in managers]))

    def child(self, manager: ObjectManager, program: str, *arguments: str) -> subprocess.Popen[str]:
        """Another process with a `client`, `arguments`, and say(text) which the test reads by line."""
        process = subprocess.Popen(
            [sys.executable, "-c", _PRELUDE + program, manager.socket, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.children.append(process)
        return process

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for child in self.children:
            child.kill()
            child.wait(10)
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    stream.close()
        for manager in self.managers:
            manager.kill()


_PRELUDE = f"""
import os, sys
from manta_common.channel.hello import hello_bytes
from manta_common.credentials import Token
from manta_common.version import PROTOCOL
from manta_proto.common.v1.common_pb2 import Hello, Role
from ray._runtime.arena.arena_client import ArenaClient
hello = Hello(role=Role.WORKER, pid=os.getpid(), name="child")
hello = hello_bytes(Token({TOKEN.value!r}), PROTOCOL, hello.SerializeToString())
client = ArenaClient(sys.argv[1], lambda: hello)
arguments = sys.argv[2:]
def say(text):
    print(text, flush=True)
"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="manta-om-"))
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Wait for a condition of another process, which cannot be subscribed to, at most 10 s."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true within 10 s"
            time.sleep(0.01)

    return wait
