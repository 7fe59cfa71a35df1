"""The life of a worker process, from its fork to its end."""

from __future__ import annotations

import atexit
import contextlib
import io as python_io
import json
import logging
import os
import signal
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn

from google.protobuf.message import DecodeError
from manta_common.credentials import TlsFiles, Token
from manta_common.signals import set_handler
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2

from ray._runtime import current
from ray._runtime.execution.actor_host import ActorHost
from ray._runtime.execution.executor import exit_process
from ray._runtime.execution.own_children import kill_children, kill_group
from ray._runtime.execution.process_title import ProcessTitle, WorkerTitle
from ray._runtime.loop.io_thread import IoThread
from ray._runtime.loop.latch import Gate
from ray._runtime.process.metric_table import TABLE
from ray._runtime.process.process import Process
from ray._runtime.process.warm_up import rehearse
from ray._runtime.transport.carrier import Identity
from ray._runtime.transport.gcs_client import GcsClient

if TYPE_CHECKING:
    from manta_proto.zygote.v1 import zygote_pb2

log = logging.getLogger("ray.runtime")

# Marks, in a worker's output, the name under which the lines after it are shown.
NAME_MARK: Final = b"\x1e"
# For peers on other nodes to acknowledge the last replies; their nodes may be busy.
_EXIT_GRACE_S: Final = 30.0
# The raylet's reason when it ends a worker only because nobody uses it.
_IDLE: Final = "idle"
# Its reason when a worker has served its time, which it need not know: one that used a GPU serves one lease.
_RETIRED: Final = "retired"


class NamedOutput(python_io.RawIOBase):
    """Standard output or error of a worker: tells the raylet, before a write, whose output it is if that changed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._said = b""
        self.name_now = b""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        raw = bytes(data)
        out = raw
        if self.name_now != self._said:
            self._said = self.name_now
            out = NAME_MARK + self.name_now + b"\n" + raw
        view = memoryview(out)
        while view:
            view = view[os.write(self._descriptor, view) :]
        return len(raw)


def _stream(output: NamedOutput) -> IO[str]:
    buffered = python_io.BufferedWriter(output, 65536)
    return python_io.TextIOWrapper(buffered, encoding="utf-8", errors="backslashreplace", line_buffering=True)


class _StandardError(logging.StreamHandler[IO[str]]):
    """Writes to what sys.stderr is at the time: the zygote sets it up, and its children have streams of their own."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    @property
    def stream(self) -> IO[str]:
        return sys.stderr

    @stream.setter
    def stream(self, _stream: IO[str]) -> None:
        """StreamHandler's constructor sets it."""


def _write_own_log() -> None:
    """The runtime's own records go to stderr; the root logger is the user's, for logging.basicConfig to set up.

    Once, before the forks if the zygote prepares workers.
    """
    ours = logging.getLogger("ray")
    if not any(isinstance(handler, _StandardError) for handler in ours.handlers):
        ours.setLevel(logging.INFO)
        ours.addHandler(_StandardError())
        ours.propagate = False


def _set_up_logging(fork: zygote_pb2.Fork) -> None:
    """As the job's LoggingConfig says, if it has one."""
    config = json.loads(fork.job_config).get("py_logging_config") if "py_logging_config" in fork.job_config else None
    if config is not None:
        from ray import _log_records
        from ray.job_config import LoggingConfig

        _log_records.apply(LoggingConfig.from_dict(config))


class Worker:
    """A worker: its Process, and what its raylet tells it."""

    def __init__(self) -> None:
        self.process = process = Process(is_driver=False)
        self._outputs = (NamedOutput(1), NamedOutput(2))
        self._streams = tuple(map(_stream, self._outputs))
        self._name = ""
        process.on_worker_message = self._on_raylet
        process.output_name = self._name_output
        process.on_raylet_lost = lambda reason: _end_without_raylet()
        self._retirement = process.executor.retirement
        process.executor.title = WorkerTitle(ProcessTitle())
        self.children = ForkedChildren(self)

    def prepare(self, fork: zygote_pb2.Fork) -> None:
        """Take the surroundings that the raylet gives all workers of a kind; the request's ids are not for that."""
        identity = Identity(common_pb2.WORKER, fork.node_id, b"", fork.job_id, Token(fork.token), "worker")
        tls = TlsFiles.from_paths(fork.tls_ca, fork.tls_cert, fork.tls_key)
        io = IoThread()
        self.process.prepare(
            identity,
            gcs=GcsClient(io, identity, fork.gcs_addresses.split(","), tls),
            io=io,
            socket_dir=fork.socket_dir,
            object_manager_socket=fork.object_manager_socket,
            session_dir=fork.session_dir,
            gcs_addresses=fork.gcs_addresses,
            namespace=fork.ray_namespace,
            ip_address=fork.ip_address,
            runtime_env=_job_runtime_env(fork),
            job_config=fork.job_config,
            tls=tls,
        )
        if fork.welcome:
            self.process.tune(fork.welcome)

    def become(self, worker_id: bytes) -> None:
        """Be this worker from now on."""
        process = self.process
        process.identity.name = f"worker-{os.getpid()}"
        process.become(worker_id)
        current.set_runtime(process)

    def show_title(self) -> None:
        """What ps shows of it is a worker's from now on."""
        title = self.process.executor.title
        assert title is not None, "a worker has a title"
        title.begin()

    def print_by_name(self) -> None:
        """What user code prints goes through the named streams from now on."""
        sys.stdout, sys.stderr = self._streams

    def asked_to_end(self, _number: int, _frame: Any) -> None:
        """SIGTERM: finish what runs, then go."""
        self.process.executor.exit("the raylet asked it to end")
        self._retirement.end()

    def _name_output(self, actor: ActorHost | None, name: str) -> None:
        if name == self._name:
            return
        self._name = name
        shown = (actor.repr_name if actor is not None else name.rpartition(".")[2] or name).encode()
        for output in self._outputs:
            output.name_now = shown

    def _on_raylet(self, kind: int, payload: bytes) -> None:
        process = self.process
        if kind == raylet_pb2.START_ACTOR:
            process.executor.host(ActorHost(process, raylet_pb2.StartActor.FromString(payload)))
        elif kind == raylet_pb2.EXIT:
            message = raylet_pb2.Exit.FromString(payload)
            if message.at_once:
                exit_process(0)
            keeps = message.reason == _IDLE and process.objects.owns_any()
            if keeps or (message.reason in (_IDLE, _RETIRED) and self._retirement.needed()):
                # Others still need what this worker owns; its end would make it OwnerDiedError for them.
                process.raylet.send(raylet_pb2.EXIT_DECLINED, raylet_pb2.ExitDeclined().SerializeToString())
                if message.reason == _RETIRED:
                    process.executor.retire(message.reason)
                return
            process.executor.exit(message.reason)
            self._retirement.end()
        else:
            raise DecodeError(f"unknown frame kind {kind} from the raylet")

    def serve(self) -> str:
        """Run tasks until told to end; returns why."""
        process = self.process
        process.raylet.send(raylet_pb2.WORKER_READY, raylet_pb2.WorkerReady().SerializeToString())
        return process.executor.serve()

    def fail_to_start(self, problem: str) -> NoReturn:
        """Its environment cannot be made: it ends, and the raylet makes no other one like it."""
        self.process.executor.say_exiting(problem, common_pb2.DeathCause.RUNTIME_ENV_FAILED)
        self._send_the_rest()
        exit_process(1)

    def end(self, reason: str) -> None:
        """Say that this worker ends, and let what is queued leave."""
        process = self.process
        if process.executor.retires:
            self._retirement.wait()
        actor = process.executor.actor
        if actor is not None:
            actor.shut_down()
        # What user code registered; it may still say something to the cluster.
        atexit._run_exitfuncs()
        if actor is not None:
            # Not before: what the actor alone holds, a handler of logs say, is flushed by such functions.
            actor.let_go()
        process.task_events.tell()
        if not process.executor.exit_code:
            process.executor.say_exiting(reason)
        elif process.executor.actor is None:
            process.executor.say_exiting(reason, common_pb2.DeathCause.WORKER_DIED)
        self._send_the_rest()

    def _send_the_rest(self) -> None:
        """Let replies and drops leave; peers that do not read must not keep the process."""
        process = self.process
        deadline = time.monotonic() + _EXIT_GRACE_S
        gate = Gate(1)
        process.peers.settle(gate)
        # By wait(): the stand-in or a thread of the user's may be reading, and we need not. Sockets that take the rest
        # open no gate, so we look now and then.
        while not (process.peers.settled() and process.raylet.settled()) and time.monotonic() < deadline:
            process.reading.wait(Gate(1) if gate.opened else gate, 0.05)


def make_ahead(folder: str = "") -> None:
    """In the zygote, before its forks: run a worker's life through; folder: for its files meanwhile.

    Its workers copy a fifth fewer pages by that, and need a quarter less processor time to start.
    """
    try:
        rehearse(Worker, folder)
    except (OSError, RuntimeError) as error:
        # Workers start all the same, only slower.
        log.warning("rehearsal_failed error=%r", error)


def prepare(fork: zygote_pb2.Fork) -> Worker:
    """In the zygote: a worker that lacks its id, its descriptors and its random numbers."""
    _write_own_log()
    worker = Worker()
    worker.prepare(fork)
    return worker


def run(fork: zygote_pb2.Fork, prepared: Worker | None = None) -> NoReturn:
    """Be the worker that the raylet asked for; called in the new process, after it has left its parent behind."""
    worker = prepared or prepare(fork)
    worker.become(fork.worker_id)
    worker.show_title()
    worker.print_by_name()
    _set_up_logging(fork)
    _end_with_raylet(worker.process, fork.raylet_pid)
    worker.children.watch()
    # SIGTERM is how the raylet asks: finish what runs, then go.
    set_handler(signal.SIGTERM, worker.asked_to_end)
    worker.process.connect()
    TABLE.connected(worker.process)
    problem = _call_setup_hook(fork)
    if problem:
        worker.fail_to_start(problem)
    worker.end(worker.serve())
    exit_process(worker.process.executor.exit_code)


def _call_setup_hook(fork: zygote_pb2.Fork) -> str:
    """What the job has every worker run first, if anything. returns: what went wrong; empty when nothing did."""
    hook = json.loads(fork.job_config).get("setup_hook") if '"setup_hook"' in fork.job_config else None
    if hook is None:
        return ""
    from ray._setup_hook import call

    return call(hook)


def _job_runtime_env(fork: zygote_pb2.Fork) -> str:
    """What child tasks inherit: the env of this worker's own task or actor, without what was for it alone."""
    return json.dumps(json.loads(fork.runtime_env), sort_keys=True) if fork.runtime_env else ""


def _end_with_raylet(process: Process, raylet_pid: int) -> None:
    """A worker without its raylet is of no use; it ends at once, whatever it runs.

    Seen by whoever reads the channels, in user code the stand-in: a thread that only waits for this would be a tenth of
    what a worker costs.
    """
    try:
        pidfd = os.pidfd_open(raylet_pid)
    except ProcessLookupError:
        exit_process(0)
    process.reactor.add(pidfd, lambda events: _end_without_raylet())


def _end_without_raylet() -> NoReturn:
    """End at once, with all that user code started here: nobody is left who would do that."""
    with contextlib.suppress(OSError, ValueError):  # who read the output may be gone as well
        sys.stdout.flush()
        sys.stderr.flush()
    kill_children()
    kill_group()
    os._exit(0)


class ForkedChildren:
    """Has processes that user code forks forget the cluster."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._masks = threading.local()

    def watch(self) -> None:
        os.register_at_fork(before=self._hold, after_in_child=self._drop, after_in_parent=self._release)

    def _hold(self) -> None:
        # A SIGTERM that reaches the child while it still has our handler would be forgotten by the interpreter, and a
        # multiprocessing.Pool that ends its processes so would wait for this one for ever.
        self._masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))

    def _release(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masks.before)

    def _drop(self) -> None:
        self._worker.process.drop_in_child()
        # Ours would keep the child alive when its parent ends it.
        if signal.getsignal(signal.SIGTERM) == self._worker.asked_to_end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._release()
