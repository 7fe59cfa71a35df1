"""A blocking gRPC channel for tools, and what each call on it says of who asks."""

from __future__ import annotations

import grpc
from manta_common.credentials import TlsFiles, Token
from manta_common.version import PROTOCOL

_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", 256 << 20))


def open_channel(address: str, tls: TlsFiles | None) -> grpc.Channel:
    """raises: CredentialError for a file of TLS that cannot be read."""
    if tls is None:
        return grpc.insecure_channel(address, _OPTIONS)
    ca, cert, key = tls.read()
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, key, cert), _OPTIONS)


def metadata_of(token: Token) -> tuple[tuple[str, str], ...]:
    return ("authorization", f"Bearer {token.value.decode('ascii')}"), ("manta-version", str(PROTOCOL))
