"""The first bytes of a channel: magic, version and token, checked before the Hello message is parsed."""

import struct
from typing import TYPE_CHECKING, Final

from manta_common.channel.framing import ProtocolError
from manta_common.credentials import MAX_TOKEN_BYTES, Token
from manta_common.version import PROTOCOL, Version, check

if TYPE_CHECKING:
    from manta_proto.common.v1.common_pb2 import Welcome

MAGIC: Final = b"MNTA"
MAX_HELLO_BYTES: Final = 64 * 1024

# Kinds of the frame that answers a hello; a channel's own kinds begin above them.
WELCOME: Final = 1
REFUSED: Final = 2

_VERSION: Final = struct.Struct("<HH")
_TOKEN_SIZE: Final = struct.Struct("<H")
_PAYLOAD_SIZE: Final = struct.Struct("<I")
_VERSION_AT: Final = len(MAGIC)
_TOKEN_SIZE_AT: Final = _VERSION_AT + _VERSION.size
_TOKEN_AT: Final = _TOKEN_SIZE_AT + _TOKEN_SIZE.size


class BadToken(ProtocolError):
    """The peer's token is not this cluster's."""

    def __str__(self) -> str:
        return "the token is not this cluster's; check MANTA_TOKEN or the token file on both sides"


class HelloRefused(Exception):
    """The other side refused our hello; the text is its reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the connection was refused: {self.reason}"


def hello_bytes(token: Token, version: Version, payload: bytes) -> bytes:
    """What a connecting side sends first; payload: a serialized manta.common.v1.Hello.

    raises: ValueError when it is larger than a server would take.
    """
    head = MAGIC + _VERSION.pack(*version) + _TOKEN_SIZE.pack(len(token.value)) + token.value
    hello = head + _PAYLOAD_SIZE.pack(len(payload)) + payload
    if len(hello) > MAX_HELLO_BYTES:
        raise ValueError(f"a hello of {len(hello)} bytes exceeds {MAX_HELLO_BYTES}; shorten the payload")
    return hello


class HelloDecoder:
    """Checks what a connecting side sends first. It holds at most MAX_HELLO_BYTES and the last chunk."""

    __slots__ = ("_buffer", "_ours", "_token", "_trusted", "rest")

    def __init__(self, token: Token, ours: Version = PROTOCOL) -> None:
        self._token = token
        self._ours = ours
        self._buffer = bytearray()
        self._trusted = False
        self.rest = b""  # what followed the hello, once feed has returned it

    def feed(self, data: bytes) -> bytes | None:
        """The payload once it is complete, None before; bytes after it are left in `rest`.

        raises, as early as the bytes tell: ProtocolError for a wrong magic or size, VersionMismatch naming both
        versions, BadToken. Each ends the connection.
        """
        self._buffer += data
        buffer = self._buffer
        if bytes(buffer[: len(MAGIC)]) != MAGIC[: len(buffer)]:
            raise ProtocolError(f"the first bytes are {bytes(buffer[:8])!r} and not a channel's {MAGIC!r}")
        if len(buffer) < _TOKEN_AT:
            return None
        token_end = self._check_version_and_size()
        if len(buffer) < token_end:
            return None
        if not self._trusted:
            if not self._token.matches(bytes(buffer[_TOKEN_AT:token_end])):
                raise BadToken
            self._trusted = True
        payload_at = token_end + _PAYLOAD_SIZE.size
        if len(buffer) < payload_at:
            return None
        (payload_size,) = _PAYLOAD_SIZE.unpack_from(buffer, token_end)
        end = payload_at + payload_size
        if end > MAX_HELLO_BYTES:
            raise ProtocolError(f"the hello announces {end} bytes; at most {MAX_HELLO_BYTES} are allowed")
        if len(buffer) < end:
            return None
        self.rest = bytes(buffer[end:])
        return bytes(buffer[payload_at:end])

    def _check_version_and_size(self) -> int:
        check(Version(*_VERSION.unpack_from(self._buffer, _VERSION_AT)), self._ours, peer="the connecting side")
        (token_size,) = _TOKEN_SIZE.unpack_from(self._buffer, _TOKEN_SIZE_AT)
        if token_size > MAX_TOKEN_BYTES:
            raise ProtocolError(f"the hello announces a token of {token_size} bytes; at most {MAX_TOKEN_BYTES} may be")
        return int(_TOKEN_AT + token_size)


def read_answer(kind: int, payload: bytes) -> "Welcome":
    """The Welcome in the frame that answers a hello. raises: HelloRefused, or ProtocolError for anything else."""
    # Imported here so that framing a hello alone does not load protobuf.
    from google.protobuf.message import DecodeError
    from manta_proto.common.v1.common_pb2 import Refused, Welcome

    try:
        if kind == REFUSED:
            raise HelloRefused(Refused.FromString(payload).reason)
        if kind == WELCOME:
            return Welcome.FromString(payload)
    except DecodeError as error:
        raise ProtocolError("the answer to our hello cannot be parsed") from error
    raise ProtocolError(f"the answer to our hello has kind {kind}; expected {WELCOME} or {REFUSED}")
