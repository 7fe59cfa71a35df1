"""Frames of a channel: u32 length of kind and payload, u16 kind, payload; little endian."""

import struct
from collections.abc import Iterable
from typing import Final

MAX_FRAME_BYTES: Final = 512 * 1024 * 1024
# Of any gRPC message, and so of a frame that may have to go to another node.
MAX_MESSAGE_BYTES: Final = 128 * 1024 * 1024

_HEADER: Final = struct.Struct("<IH")
_HEADER_SIZE: Final = _HEADER.size
_LENGTH_SIZE: Final = 4
_KIND_SIZE: Final = 2


class ProtocolError(Exception):
    """Bytes that the protocol does not allow; the connection they came over has to end."""


def encode_frame(kind: int, payload: bytes) -> bytes:
    """One frame. raises: ValueError when the kind is no u16 or the payload exceeds MAX_FRAME_BYTES."""
    return frame_header(kind, len(payload)) + payload


def encode_frames(frames: Iterable[tuple[int, bytes]]) -> bytes:
    """Several frames as one buffer, for one send. raises: as encode_frame."""
    parts: list[bytes] = []
    for kind, payload in frames:
        parts.append(frame_header(kind, len(payload)))
        parts.append(payload)
    return b"".join(parts)


def frame_header(kind: int, payload_size: int) -> bytes:
    """The bytes before a payload of that size, for a sender that does not want to copy a large one."""
    # The receiver would end the connection; the caller can still report the one message.
    if payload_size > MAX_FRAME_BYTES - _KIND_SIZE:
        raise ValueError(
            f"a payload of {payload_size} bytes exceeds a frame's {MAX_FRAME_BYTES - _KIND_SIZE}; split it"
        )
    try:
        return _HEADER.pack(payload_size + _KIND_SIZE, kind)
    except struct.error as error:
        raise ValueError(f"frame kind {kind} is not between 0 and 65535") from error


class FrameDecoder:
    """Turns received chunks, split anywhere, back into frames.

    Memory grows with the bytes received, never with the length that a header announces; at most `limit` and one
    chunk are held. After an error the decoder stays broken, since the next frame's start is unknown.
    """

    __slots__ = ("_buffer", "_error", "_limit", "_wanted")

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._wanted = _HEADER_SIZE  # bytes in the buffer below which no further frame can be complete
        self._error = ""

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame; at the end of a connection, not 0 means that it was cut short."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview) -> list[tuple[int, bytes]]:
        """The frames that this chunk completes, as (kind, payload).

        raises: ProtocolError when a frame announces more than the limit or less than its kind; frames that the same
        chunk completed before it are lost with the connection. cost: one copy of each payload, two when it was split.
        """
        if self._error:
            raise ProtocolError(self._error)
        if not self._buffer and isinstance(data, bytes):
            frames, end = self._parse(data)
            if end < len(data):
                self._buffer += memoryview(data)[end:]
            return frames
        self._buffer += data
        if len(self._buffer) < self._wanted:
            return []
        frames, end = self._parse(self._buffer)
        del self._buffer[:end]
        return frames

    def _parse(self, data: bytes | bytearray) -> tuple[list[tuple[int, bytes]], int]:
        frames: list[tuple[int, bytes]] = []
        start, size = 0, len(data)
        self._wanted = _HEADER_SIZE
        with memoryview(data) as view:
            while size - start >= _HEADER_SIZE:
                length, kind = _HEADER.unpack_from(data, start)
                if length < _KIND_SIZE or length > self._limit:
                    self._error = f"a frame announces {length} bytes; allowed are {_KIND_SIZE} to {self._limit}"
                    break
                end = start + _LENGTH_SIZE + length
                if end > size:
                    self._wanted = end - start
                    break
                frames.append((kind, bytes(view[start + _HEADER_SIZE : end])))
                start = end
        if self._error:
            self._buffer = bytearray()
            raise ProtocolError(self._error)
        return frames, start
