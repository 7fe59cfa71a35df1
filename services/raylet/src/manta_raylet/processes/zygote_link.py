"""The link to the zygote: spawns it, asks it for forks, starts another when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from google.protobuf.message import DecodeError
from manta_common.channel.framing import FrameDecoder, ProtocolError, encode_frame
from manta_common.logs import get
from manta_common.process import explain_lack, lacks_room, open_pidfd
from manta_common.version import Version, VersionMismatch, check
from manta_proto.zygote.v1 import zygote_pb2

from manta_raylet.processes.zygote_process import ZygoteProcess, spawn

_log = get("manta_raylet.zygote")

FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 5.0
# For a zygote that was told to end: nothing holds it up but a stopped process or machine.
_END_S: Final = 1.0
_FRAME_LIMIT: Final = 1024 * 1024


class ZygoteEvents(Protocol):
    """Who hears of forks and exits; all on the event loop."""

    def forked(self, request_id: int, pid: int) -> None: ...
    def fork_failed(self, request_id: int, message: str, lacks_room: bool) -> None: ...
    def fork_lost(self, request_id: int) -> None: ...
    def exited(self, pid: int, status: int) -> None: ...
    def zygote_gone(self) -> None: ...


@dataclass(slots=True)
class _Outgoing:
    request_id: int
    data: bytes
    descriptors: list[int] = field(default_factory=list)


class ZygoteLink:
    """One zygote at a time. Forks asked before it is ready wait; their number is bounded by the pool.

    Descriptors that come with a fork belong to the link from then on; it closes its copies once they are sent.
    """

    def __init__(
        self, command: Sequence[str], events: ZygoteEvents, log_file: Path, early: ZygoteProcess | None = None
    ) -> None:
        self._command = list(command)
        self._events = events
        self._log_file = log_file
        self._loop = asyncio.get_running_loop()
        self._early = early
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._socket: socket.socket | None = None
        self._decoder = FrameDecoder(_FRAME_LIMIT)
        self._outgoing: deque[_Outgoing] = deque()
        self._asked: set[int] = set()
        self._ready = False
        self._came_up_once = asyncio.Event()
        self._stopping = False
        self._backoff_s = FIRST_BACKOFF_S
        self._restart: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int:
        """0 while there is none."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Take the one that was spawned early, else spawn one. Main thread only, see zygote_process."""
        self._restart = None
        early, self._early = self._early, None
        zygote = early
        try:
            zygote = zygote or spawn(self._command, self._log_file)
            pidfd = open_pidfd(zygote.process.pid)
        except OSError as error:
            _log.error("zygote_not_started", command=self._command, reason=explain_lack(error))
            if zygote is not None:
                # Its end could not be seen.
                zygote.connection.close()
                zygote.process.kill()
                zygote.process.wait()
            self._start_again()
            return
        self._process, ours = zygote.process, zygote.connection
        self._socket = ours
        self._decoder = FrameDecoder(_FRAME_LIMIT)
        self._pidfd = pidfd
        self._loop.add_reader(self._pidfd, self._died)
        self._loop.add_reader(ours.fileno(), self._readable)
        _log.info("zygote_started", pid=self._process.pid)

    async def came_up(self) -> None:
        """Return once a zygote has been ready."""
        await self._came_up_once.wait()

    def fork(self, request: zygote_pb2.Fork, descriptors: list[int]) -> None:
        """Ask for a worker; answered by forked, fork_failed or fork_lost."""
        frame = encode_frame(zygote_pb2.FORK, request.SerializeToString())
        self._outgoing.append(_Outgoing(request.request_id, frame, descriptors))
        self._flush()

    def stop(self) -> None:
        """End the zygote for good."""
        self._stopping = True
        if self._restart is not None:
            self._restart.cancel()
        if self._process is not None:
            self._send_signal(signal.SIGTERM)
            # It may be in its rehearsal, whose sockets lie in the node's folder; that is removed once we have ended.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
        self._let_go()

    def kill(self) -> None:
        if self._process is not None:
            self._send_signal(signal.SIGKILL)

    def _send_signal(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except (ProcessLookupError, OSError):
            _log.debug("zygote_gone_already")

    def _flush(self) -> None:
        sock = self._socket
        if sock is None or not self._ready:
            return
        while self._outgoing:
            item = self._outgoing[0]
            try:
                sent = (
                    socket.send_fds(sock, [item.data], item.descriptors) if item.descriptors else sock.send(item.data)
                )
            except BlockingIOError:
                self._loop.add_writer(sock.fileno(), self._flush)
                return
            except OSError as error:
                if not lacks_room(error):
                    _log.warning("zygote_not_reached", reason=error.strerror)
                    return  # its end is near; _died does the rest
                if self._asked:
                    return  # each answer tells that it took the descriptors of one request off the way: see _handle
                self._outgoing.popleft()
                _close_all(item.descriptors)
                self._events.fork_failed(item.request_id, f"the zygote cannot be asked: {explain_lack(error)}", True)
                continue
            self._asked.add(item.request_id)
            # The descriptors went with the first byte.
            _close_all(item.descriptors)
            item.data = item.data[sent:]
            if not item.data:
                self._outgoing.popleft()
        self._loop.remove_writer(sock.fileno())

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._socket.fileno())
            # It closed its end and must not go on forking for nobody.
            self.kill()
            return
        try:
            self._handle_all(data)
        except (ProtocolError, DecodeError) as error:
            _log.error("zygote_malformed", reason=str(error))
            self.kill()
        else:
            if self._outgoing:
                self._flush()

    def _handle_all(self, data: bytes) -> None:
        """raises: ProtocolError, DecodeError."""
        for kind, payload in self._decoder.feed(data):
            try:
                self._handle(kind, payload)
            except (ProtocolError, DecodeError):
                raise
            except Exception:
                # A bug of ours: the frames behind it are of other workers.
                _log.exception("zygote_frame_failed", kind=kind)

    def _handle(self, kind: int, payload: bytes) -> None:
        if kind == zygote_pb2.READY:
            self._came_up(zygote_pb2.Ready.FromString(payload))
        elif kind == zygote_pb2.FORKED:
            forked = zygote_pb2.Forked.FromString(payload)
            self._asked.discard(forked.request_id)
            self._events.forked(forked.request_id, forked.pid)
        elif kind == zygote_pb2.FORK_FAILED:
            failed = zygote_pb2.ForkFailed.FromString(payload)
            self._asked.discard(failed.request_id)
            self._events.fork_failed(failed.request_id, failed.message, failed.lacks_room)
        elif kind == zygote_pb2.EXITED:
            exited = zygote_pb2.Exited.FromString(payload)
            self._events.exited(exited.pid, exited.status)
        else:
            raise ProtocolError(f"kind {kind} is none that a zygote sends")

    def _came_up(self, ready: zygote_pb2.Ready) -> None:
        theirs = Version(ready.version_major, ready.version_minor)
        try:
            check(theirs, peer=f"the zygote {self._command[0]}")
        except VersionMismatch as mismatch:
            _log.error("zygote_refused", pid=self.pid, reason=str(mismatch))
            self.kill()
            self._fail_waiting(str(mismatch))
            return
        self._ready = True
        self._came_up_once.set()
        self._backoff_s = FIRST_BACKOFF_S
        _log.info("zygote_ready", pid=self.pid, version=str(theirs))
        self._flush()

    def _fail_waiting(self, message: str) -> None:
        """Those who wait for a worker are told, rather than left to wait for a zygote that will not come."""
        waiting, self._outgoing = self._outgoing, deque()
        for item in waiting:
            _close_all(item.descriptors)
            self._events.fork_failed(item.request_id, message, False)

    def _died(self) -> None:
        assert self._process is not None
        # Exits that it reported last are still in the socket.
        while self._socket is not None and self._drain_once():
            pass
        status = self._process.poll()
        _log.warning("zygote_died", pid=self._process.pid, status=status)
        self._let_go()
        lost, self._asked = self._asked, set()
        first = self._outgoing[0] if self._outgoing else None
        if first is not None and first.request_id in lost:
            self._outgoing.popleft()  # half of it was sent
        if not self._stopping:
            self._start_again()
        self._events.zygote_gone()
        for request_id in lost:
            self._events.fork_lost(request_id)

    def _drain_once(self) -> bool:
        assert self._socket is not None
        try:
            data = self._socket.recv(64 * 1024, socket.MSG_DONTWAIT)
            self._handle_all(data)
        except (OSError, ProtocolError, DecodeError):
            return False
        return bool(data)

    def _let_go(self) -> None:
        self._ready = False
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        self._process = None

    def _start_again(self) -> None:
        self._restart = self._loop.call_later(self._backoff_s, self.start)
        self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
    descriptors.clear()
