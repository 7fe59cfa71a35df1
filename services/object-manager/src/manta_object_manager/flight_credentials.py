"""Token and protocol version on every Flight call, both sides; checked before a ticket is looked at."""

from typing import Any, Final

from manta_common.credentials import Token
from manta_common.version import PROTOCOL, Version, VersionMismatch, check
from pyarrow import flight

_AUTHORIZATION: Final = "authorization"
_VERSION: Final = "manta-version"
_SCHEME: Final = "Bearer "


def call_options(token: Token) -> flight.FlightCallOptions:
    """What a calling side sends."""
    sent = [
        (_AUTHORIZATION.encode(), _SCHEME.encode() + token.value),
        (_VERSION.encode(), str(PROTOCOL).encode()),
    ]
    return flight.FlightCallOptions(headers=sent)  # type: ignore[arg-type]  # the stubs say str, the code wants bytes


class CredentialCheck(flight.ServerMiddlewareFactory):
    """Refuses a call with FlightUnauthenticatedError, or for its version, before its method runs."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def start_call(self, info: Any, headers: dict[str, list[str] | list[bytes]]) -> None:
        given = _first(headers, _AUTHORIZATION)
        # Compared even when it is absent, so that the time tells nothing.
        if not self._token.matches(given.removeprefix(_SCHEME).encode()) or not given.startswith(_SCHEME):
            raise flight.FlightUnauthenticatedError("the token is not this cluster's; check MANTA_TOKEN on both sides")
        try:
            check(Version.parse(_first(headers, _VERSION)), peer="the calling node")
        except (VersionMismatch, ValueError) as error:
            raise flight.FlightUnauthorizedError(str(error)) from error


def _first(headers: dict[str, list[str] | list[bytes]], name: str) -> str:
    for key, values in headers.items():
        if key.lower() == name and values:
            return values[0].decode("latin-1") if isinstance(values[0], bytes) else values[0]
    return ""
