"""The zygote's end of the socket pair to its raylet: frames, and the descriptors that come with them."""

import array
import os
import socket
from collections import deque
from typing import Final

from manta_common.channel.framing import FrameDecoder, ProtocolError, encode_frame

_CHUNK: Final = 1 << 16
# The kernel passes at most 253 descriptors with one message (SCM_MAX_FD).
_ANCILLARY: Final = socket.CMSG_SPACE(253 * array.array("i").itemsize)
_FRAME_LIMIT: Final = 16 * 1024 * 1024
# Of one FORK: stdout and stderr.
_PER_FORK: Final = 2
# In the place of a descriptor that the kernel could not hand over.
LOST: Final = -1


class Control:
    """A non-blocking stream socket. What cannot be sent at once waits in `outbox`: some 30 bytes a worker."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._decoder = FrameDecoder(_FRAME_LIMIT)
        self._descriptors: deque[int] = deque()
        self.outbox = bytearray()
        self.ended = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[tuple[int, bytes]]:
        """One read: the frames that are complete now; sets `ended` at the end of the stream.

        raises: ProtocolError for a frame that the protocol does not allow.
        """
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(_CHUNK, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return []
        except ConnectionResetError:
            data, ancillary, flags = b"", [], 0
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
                self._descriptors.extend(received)
        if flags & socket.MSG_CTRUNC:
            # This process, or the machine, has no descriptor left. One read brings those of one FORK at most: only
            # that one is to fail.
            self._descriptors.extend([LOST] * (_PER_FORK - len(self._descriptors) % _PER_FORK))
        if not data:
            self.ended = True
            return []
        return self._decoder.feed(data)

    def take_descriptors(self) -> tuple[int, int]:
        """The oldest two received descriptors: stdout and stderr of one FORK, LOST if there was no room for it.

        The kernel hands them over no later than the bytes that they were sent with. raises: ProtocolError when there
        are none.
        """
        if len(self._descriptors) < _PER_FORK:
            raise ProtocolError(f"a FORK needs two descriptors and came with {len(self._descriptors)}")
        return self._descriptors.popleft(), self._descriptors.popleft()

    def send(self, kind: int, payload: bytes) -> None:
        self.outbox += encode_frame(kind, payload)
        self.flush()

    def flush(self) -> None:
        """Send what can be sent now."""
        while self.outbox:
            try:
                sent = self._socket.send(self.outbox, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                self.ended = True
                self.outbox.clear()
                return
            del self.outbox[:sent]


def close_all(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        if descriptor != LOST:
            os.close(descriptor)
