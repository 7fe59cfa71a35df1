"""A worker's life from its first line to its first answer, run through in the zygote before its forks.

What a forked process writes to it has to copy, a page at a time, and counting one reference is a write. What its zygote
has done before, the child does with fewer of them: names are in the interpreter's caches, code is specialized, classes
of messages are made. The raylet and the caller are sockets of this very process, which say what real ones would.
"""

from __future__ import annotations

import signal
import socket
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from manta_common.channel.framing import encode_frame
from manta_common.channel.paths import short_path
from manta_common.credentials import Token
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2
from manta_proto.raylet.v1 import raylet_pb2
from manta_proto.worker.v1 import worker_pb2
from manta_proto.zygote.v1 import zygote_pb2

from ray._runtime import current
from ray._runtime.execution.interrupts import INTERRUPT
from ray._runtime.specs.definitions import define
from ray._runtime.transport.carrier import Identity, socket_path
from ray._runtime.transport.raylets import raylet_socket
from ray._runtime.values import ref_pickling, serialization

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from ray._runtime.process.worker_main import Worker

# The interpreter specializes code after its eighth run.
ROUNDS: Final = 10
_TOKEN: Final = Token(b"of-the-rehearsal")
_NODE: Final = b"\1" * 28
_WORKER: Final = b"\2" * 28
_JOB: Final = b"\3" * 4
_ACTOR: Final = b"\4" * 12 + _JOB
_CALLER: Final = common_pb2.WorkerAddress(node_id=_NODE, worker_id=b"\5" * 28)


class _Partners:
    """The raylet of the rehearsal and, from the constructor on, a caller."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with short_path(raylet_socket(folder)) as path:
            self._listener.bind(path)
        self._listener.listen()
        self._raylet: socket.socket | None = None
        self._caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)

    def greet(self, actor: actor_pb2.ActorSpec) -> None:
        self._raylet, _ = self._listener.accept()
        details = raylet_pb2.RayletWelcome(node_id=_NODE, task_event_interval_ms=1_000)
        welcome = common_pb2.Welcome(node_id=_NODE, details=details.SerializeToString())
        self._say(raylet_pb2.WELCOME, welcome)
        node = common_pb2.NodeInfo(node_id=_NODE, state=common_pb2.NodeInfo.ALIVE)
        self._say(raylet_pb2.NODES, raylet_pb2.Nodes(nodes=[node]))
        self._say(raylet_pb2.START_ACTOR, raylet_pb2.StartActor(spec=actor))

    def call(self) -> None:
        """Call the actor, as the first that does."""
        args = common_pb2.Value(kind=serialization.PICKLE, data=serialization.plain(((), {})) or b"")
        task = worker_pb2.Task(task_id=b"\6" * 8 + _ACTOR, args=args, num_returns=1, actor_id=_ACTOR, method="answer")
        tasks = worker_pb2.Tasks(caller=_CALLER, job_id=_JOB, tasks=[task])
        caller = Identity(common_pb2.DRIVER, _NODE, _CALLER.worker_id, _JOB, _TOKEN, "caller")
        with short_path(socket_path(self._folder, _WORKER)) as path:
            self._caller.connect(path)
        self._caller.sendall(caller.hello_bytes())
        self._caller.sendall(encode_frame(worker_pb2.TASKS, tasks.SerializeToString()))

    def end(self) -> None:
        self._say(raylet_pb2.EXIT, raylet_pb2.Exit(reason="the rehearsal is over"))

    def _say(self, kind: int, message: Message) -> None:
        assert self._raylet is not None
        self._raylet.sendall(encode_frame(kind, message.SerializeToString()))

    def close(self) -> None:
        for end in (self._listener, self._raylet, self._caller):
            if end is not None:
                end.close()


# What the actor's constructor, then its method, has to do.
_cues: list[Callable[[], None]] = []


def next_cue() -> None:
    """Called by the actor of the rehearsal, which is unpickled as a user's would be."""
    _cues.pop(0)()


def _actor() -> actor_pb2.ActorSpec:
    class Rehearsed:
        def __init__(self) -> None:
            next_cue()

        def answer(self) -> int:
            next_cue()
            return 1

    definition = define(Rehearsed, "Rehearsed")
    return actor_pb2.ActorSpec(
        actor_id=_ACTOR,
        job_id=_JOB,
        owner=_CALLER,
        class_name="Rehearsed",
        definition=worker_pb2.Definition(digest=definition.digest, pickled=definition.pickled),
        args=common_pb2.Value(kind=serialization.PICKLE, data=serialization.plain(((), {})) or b""),
        max_concurrency=1,
    )


def rehearse(make: Callable[[], Worker], around: str = "") -> None:
    """Run ROUNDS workers through. No thread is left, nor a descriptor.

    around: the folder to make that of the sockets in, so that it goes with it when this process is killed; "": any.
    raises: OSError when there is no folder for sockets; RuntimeError when a worker did not come to its end.
    """
    before = signal.getsignal(INTERRUPT)
    actor = _actor()
    try:
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory(prefix="manta-rehearsal-", dir=around or None) as folder:
                _run(make(), actor, folder)
    finally:
        signal.signal(INTERRUPT, before)
        current.set_runtime(None)
        ref_pickling.set_outside_hooks(None, None)
        _cues.clear()


def _run(worker: Worker, actor: actor_pb2.ActorSpec, folder: str) -> None:
    fork = zygote_pb2.Fork(
        node_id=_NODE, worker_id=_WORKER, job_id=_JOB, token=_TOKEN.value, socket_dir=folder, session_dir=folder
    )
    partners = _Partners(folder)
    process = worker.process
    try:
        worker.prepare(fork)
        worker.become(_WORKER)
        # A stand-in would be a second thread, which a zygote must not have.
        process.reading.stop()
        _cues[:] = [partners.call, partners.end]
        process.connect()
        partners.greet(actor)
        worker.serve()
        if _cues:
            raise RuntimeError(f"the rehearsal of a worker ended {len(_cues)} cues early")
    finally:
        process.closing = True
        process.peers.close()
        process.raylets.close()
        process.reactor.close()
        partners.close()
