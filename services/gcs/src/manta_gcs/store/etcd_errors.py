"""What a failed etcd call means for its request: one table, pure."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from grpc import StatusCode


class Verdict(Enum):
    NOT_SENT = auto()  # never reached a server: surely not applied
    REFUSED = auto()  # the server said no for now, before applying anything
    UNKNOWN = auto()  # perhaps applied
    REAUTHENTICATE = auto()  # the token is dead; not applied
    COMPACTED = auto()  # the revision wanted is gone
    LEASE_GONE = auto()
    TOO_LARGE_TO_RECEIVE = auto()  # our own receive limit
    AUTH_OFF = auto()  # this etcd asks for no login
    CONFIG = auto()  # will not work until someone changes the settings
    BUG = auto()  # the request is malformed


# By a piece of the text, since etcd uses one code for unlike cases; the first match counts.
_BY_TEXT: Final[tuple[tuple[StatusCode, str, Verdict], ...]] = (
    (StatusCode.UNAVAILABLE, "failed to connect to all addresses", Verdict.NOT_SENT),
    (StatusCode.UNAVAILABLE, "DNS resolution failed", Verdict.NOT_SENT),
    (StatusCode.UNAVAILABLE, "Domain name not found", Verdict.NOT_SENT),
    (StatusCode.UNAVAILABLE, "etcdserver: no leader", Verdict.REFUSED),
    (StatusCode.UNAVAILABLE, "etcdserver: not capable", Verdict.REFUSED),
    (StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max", Verdict.TOO_LARGE_TO_RECEIVE),
    (StatusCode.RESOURCE_EXHAUSTED, "etcdserver:", Verdict.REFUSED),  # quota exhausted, too many requests
    (StatusCode.UNAUTHENTICATED, "", Verdict.REAUTHENTICATE),
    # Users or rights changed since the login; two versions of etcd, two codes.
    (StatusCode.INVALID_ARGUMENT, "revision of auth store is old", Verdict.REAUTHENTICATE),
    (StatusCode.UNKNOWN, "revision in header is old", Verdict.REAUTHENTICATE),
    (StatusCode.INVALID_ARGUMENT, "auth", Verdict.CONFIG),  # wrong password
    (StatusCode.INVALID_ARGUMENT, "user name is empty", Verdict.CONFIG),
    (StatusCode.INVALID_ARGUMENT, "", Verdict.BUG),
    (StatusCode.FAILED_PRECONDITION, "authentication is not enabled", Verdict.AUTH_OFF),
    (StatusCode.PERMISSION_DENIED, "", Verdict.CONFIG),
    (StatusCode.UNIMPLEMENTED, "", Verdict.CONFIG),  # no etcd at that address
    (StatusCode.OUT_OF_RANGE, "compacted", Verdict.COMPACTED),
    (StatusCode.OUT_OF_RANGE, "", Verdict.BUG),  # a revision in the future
    (StatusCode.NOT_FOUND, "lease not found", Verdict.LEASE_GONE),
)


def verdict_of(code: StatusCode, details: str) -> Verdict:
    """Anything not surely harmless is UNKNOWN: timeouts, lost connections, a server that stops, no quorum."""
    for known_code, text, verdict in _BY_TEXT:
        if code is known_code and text in details:
            return verdict
    return Verdict.UNKNOWN
