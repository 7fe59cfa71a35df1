"""A small zygote whose workers do what a test tells them over a datagram socket; it speaks the real protocols.

Commands to a worker, at <socket_dir>/<8 hex>.sock: block, unblock, exit N, print TEXT, error TEXT, child (starts a
child process that keeps all descriptors, and prints its pid), env NAME (prints the variable), stop (SIGSTOP).
"""

import os
import select
import signal
import socket
import sys

from manta_common.channel.framing import FrameDecoder, encode_frame
from manta_common.channel.hello import hello_bytes
from manta_common.credentials import Token
from manta_common.version import PROTOCOL
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2
from manta_proto.zygote.v1 import zygote_pb2


def frame(kind, message) -> bytes:
    return encode_frame(kind, message.SerializeToString())


class Worker:
    def __init__(self, fork: zygote_pb2.Fork) -> None:
        self.fork = fork
        self.raylet = socket.socket(socket.AF_UNIX)
        self.raylet.connect(fork.raylet_socket)
        hello = common_pb2.Hello(
            role=common_pb2.WORKER,
            node_id=fork.node_id,
            worker_id=fork.worker_id,
            job_id=fork.job_id,
            pid=os.getpid(),
            name="worker",
        )
        self.raylet.sendall(hello_bytes(Token(fork.token), PROTOCOL, hello.SerializeToString()))
        self.orders = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.orders.bind(f"{fork.socket_dir}/{fork.worker_id[:4].hex()}.sock")
        self.raylet.sendall(frame(raylet_pb2.WORKER_READY, raylet_pb2.WorkerReady()))

    def run(self) -> None:
        decoder = FrameDecoder()
        raylet = os.pidfd_open(self.fork.raylet_pid)
        while True:
            ready, _, _ = select.select([self.raylet, self.orders, raylet], [], [])
            if raylet in ready:
                os._exit(0)
            if self.raylet in ready:
                data = self.raylet.recv(65536)
                if not data:
                    os._exit(0)
                for kind, payload in decoder.feed(data):
                    self.told(kind, payload)
            if self.orders in ready:
                self.ordered(self.orders.recv(65536).decode().split(" ", 1))

    def told(self, kind: int, payload: bytes) -> None:
        if kind == raylet_pb2.EXIT:
            os._exit(0)
        elif kind == raylet_pb2.REFUSED:
            os._exit(1)
        elif kind == raylet_pb2.OPEN_ENDPOINT:
            host = raylet_pb2.OpenEndpoint.FromString(payload).host
            opened = raylet_pb2.EndpointOpened(address=f"{host}:{os.getpid()}")
            self.raylet.sendall(frame(raylet_pb2.ENDPOINT_OPENED, opened))
        elif kind == raylet_pb2.START_ACTOR:
            start = raylet_pb2.StartActor.FromString(payload)
            started = raylet_pb2.ActorStarted(actor_id=start.spec.actor_id, incarnation=start.incarnation)
            if start.spec.class_name == "Broken":
                started.failure.kind = common_pb2.DeathCause.INIT_FAILED
                started.failure.error = b"pickled"
            self.raylet.sendall(frame(raylet_pb2.ACTOR_STARTED, started))

    def ordered(self, words: list[str]) -> None:
        name, rest = words[0], words[1] if len(words) > 1 else ""
        if name == "block":
            self.raylet.sendall(frame(raylet_pb2.BLOCKED, raylet_pb2.Blocked()))
        elif name == "unblock":
            self.raylet.sendall(frame(raylet_pb2.UNBLOCKED, raylet_pb2.Blocked()))
        elif name == "exit":
            os._exit(int(rest))
        elif name == "print":
            os.write(1, rest.encode())
        elif name == "error":
            os.write(2, rest.encode())
        elif name == "env":
            os.write(1, f"{os.environ.get(rest)!r}\n".encode())
        elif name == "child":
            pid = os.fork()
            if pid == 0:
                signal.pause()
            os.write(1, f"{pid}\n".encode())
        elif name == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)


def be_worker(request: zygote_pb2.Fork, descriptors: list[int], zygote: socket.socket) -> None:
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(descriptors[0], 1)
        os.dup2(descriptors[1], 2)
        zygote.close()
        os.closerange(3, 256)
        os.environ.update(request.env)
        os.environ["OMP_NUM_THREADS"] = str(request.num_threads)
        if "TEST_EXIT_AT_START" in os.environ:
            os.write(2, b"cannot start\n")
            os._exit(int(os.environ["TEST_EXIT_AT_START"]))
        Worker(request).run()
    finally:
        os._exit(70)


def main() -> None:
    zygote = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    decoder, descriptors = FrameDecoder(), []
    behind = int(sys.argv[sys.argv.index("--behind") + 1]) if "--behind" in sys.argv else 0
    ready = zygote_pb2.Ready(pid=os.getpid(), python=sys.version)
    ready.version_major, ready.version_minor = PROTOCOL.major, PROTOCOL.minor - behind
    zygote.sendall(frame(zygote_pb2.READY, ready))
    while True:
        ready, _, _ = select.select([zygote, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            reap(zygote)
        if zygote in ready:
            data, received, _, _ = socket.recv_fds(zygote, 65536, 64)
            if not data:
                return
            descriptors += received
            for _kind, payload in decoder.feed(data):
                request = zygote_pb2.Fork.FromString(payload)
                ends, descriptors = descriptors[:2], descriptors[2:]
                pid = os.fork()
                if pid == 0:
                    be_worker(request, ends, zygote)
                for end in ends:
                    os.close(end)
                forked = zygote_pb2.Forked(request_id=request.request_id, pid=pid)
                zygote.sendall(frame(zygote_pb2.FORKED, forked))


def reap(zygote: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        exited = zygote_pb2.Exited(pid=pid, status=os.waitstatus_to_exitcode(status))
        zygote.sendall(frame(zygote_pb2.EXITED, exited))


if __name__ == "__main__":
    main()
