"""The raylet's end of a zygote, and workers that report what they are, for tests."""

import array
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from manta_common.channel.framing import FrameDecoder, encode_frame
from manta_common.version import PROTOCOL
from manta_proto.zygote.v1 import zygote_pb2

# A worker runs the Python text in its Fork's job_config and prints the JSON of what that leaves in `answer`.
WORKER = """
import json, os

prefix = os.urandom(8).hex()


def _new_prefix():
    global prefix
    prefix = os.urandom(8).hex()


os.register_at_fork(after_in_child=_new_prefix)


def run(fork):
    scope = {"prefix": prefix, "fork": fork}
    exec(fork.job_config, scope)
    print(json.dumps(scope.get("answer")), flush=True)
    raise SystemExit(scope.get("status", 0))
"""
DEADLINE_S = 30.0


class Worker:
    """One forked worker: its pid and what it writes."""

    def __init__(self, pid: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdout, self.stderr = os.fdopen(stdout, "rb"), os.fdopen(stderr, "rb")

    def answer(self) -> Any:
        """The JSON on its standard output; the descriptor reaches its end when the worker ends."""
        text, errors = self.stdout.read(), self.stderr.read()
        assert text, errors.decode()
        return json.loads(text.splitlines()[-1])

    def close(self) -> None:
        self.stdout.close()
        self.stderr.close()


class ZygotePeer:
    """Starts a real manta-zygote, whose workers are what the text `worker` makes of them, and speaks to it."""

    def __init__(self, folder: Path, env: dict[str, str] | None = None, worker: str = WORKER) -> None:
        (folder / "zygote_test_worker.py").write_text(worker)
        ours, theirs = socket.socketpair()
        path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = str(Path(sys.executable).with_name("manta-zygote"))
        self.process = subprocess.Popen(
            [command, "--fd", str(theirs.fileno()), "--worker", "zygote_test_worker"],
            pass_fds=[theirs.fileno()],
            env={**os.environ, **(env or {}), "PYTHONPATH": path},
        )
        theirs.close()
        self.socket = ours
        self._decoder = FrameDecoder()
        self._frames: deque[tuple[int, bytes]] = deque()
        self._exits: dict[int, int] = {}
        self._next = 1
        self._workers: list[Worker] = []

    def next_frame(self) -> tuple[int, bytes]:
        deadline = time.monotonic() + DEADLINE_S
        while not self._frames:
            ready, _, _ = select.select([self.socket], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the zygote is silent"
            data = self.socket.recv(65536)
            assert data, "the zygote hung up"
            self._frames.extend(self._decoder.feed(data))
        return self._frames.popleft()

    def wait_ready(self) -> zygote_pb2.Ready:
        kind, payload = self.next_frame()
        assert kind == zygote_pb2.READY
        return zygote_pb2.Ready.FromString(payload)

    def request(self, code: str, **fields: Any) -> tuple[zygote_pb2.Fork, int, int]:
        """Send a FORK. returns: it, and the read ends of the worker's outputs."""
        fields = {"version_major": PROTOCOL.major, "version_minor": PROTOCOL.minor, **fields}
        message = zygote_pb2.Fork(request_id=self._next, job_config=code, **fields)
        self._next += 1
        out_reader, out_writer = os.pipe()
        err_reader, err_writer = os.pipe()
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [out_writer, err_writer]))
        self.socket.sendmsg([encode_frame(zygote_pb2.FORK, message.SerializeToString())], [rights])
        os.close(out_writer)
        os.close(err_writer)
        return message, out_reader, err_reader

    def answer_to(self, request: zygote_pb2.Fork) -> zygote_pb2.Forked | zygote_pb2.ForkFailed:
        while True:
            kind, payload = self.next_frame()
            if kind == zygote_pb2.EXITED:
                self._note_exit(payload)
                continue
            answer = (zygote_pb2.Forked if kind == zygote_pb2.FORKED else zygote_pb2.ForkFailed).FromString(payload)
            assert answer.request_id == request.request_id
            return answer

    def fork(self, code: str, **fields: Any) -> Worker:
        return self.forked(*self.request(code, **fields))

    def forked(self, request: zygote_pb2.Fork, out: int, err: int) -> Worker:
        """The worker that was requested: the oldest that was not yet taken."""
        answer = self.answer_to(request)
        assert isinstance(answer, zygote_pb2.Forked), answer
        worker = Worker(answer.pid, out, err)
        self._workers.append(worker)
        return worker

    def exit_of(self, pid: int) -> int:
        while pid not in self._exits:
            kind, payload = self.next_frame()
            assert kind == zygote_pb2.EXITED
            self._note_exit(payload)
        return self._exits[pid]

    def _note_exit(self, payload: bytes) -> None:
        exited = zygote_pb2.Exited.FromString(payload)
        self._exits[exited.pid] = exited.status

    def close(self) -> None:
        self.socket.close()
        try:
            self.process.wait(DEADLINE_S)
        finally:
            self.process.kill()
            self.process.wait()
        for worker in self._workers:
            worker.close()
