"""A request that the GCS refuses: a code and a text that says what to do."""

from __future__ import annotations

from manta_proto.gcs.v1 import gcs_pb2

NOT_FOUND = gcs_pb2.Error.NOT_FOUND
ALREADY_EXISTS = gcs_pb2.Error.ALREADY_EXISTS
INVALID = gcs_pb2.Error.INVALID
NOT_LEADER = gcs_pb2.Error.NOT_LEADER
UNAVAILABLE = gcs_pb2.Error.UNAVAILABLE


class RequestRefused(Exception):
    """Raised by a core before it has changed anything; becomes the Error that answers the request."""

    def __init__(self, code: gcs_pb2.Error.Code, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        return self.message

    def reply(self, request_id: int) -> gcs_pb2.GcsReply:
        return gcs_pb2.GcsReply(request_id=request_id, error=gcs_pb2.Error(code=self.code, message=self.message))


def need_size(name: str, value: bytes, size: int) -> bytes:
    """The id, if it has the right size. raises: RequestRefused (INVALID) naming it."""
    if len(value) != size:
        raise RequestRefused(INVALID, f"{name} {value.hex()!r} has {len(value)} bytes, not {size}")
    return value
