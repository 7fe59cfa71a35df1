"""Asking a raylet about its node, from a tool: one blocking call."""

from __future__ import annotations

from typing import Final

import grpc
from manta.common.credentials import Token
from manta.common.version import PROTOCOL
from manta.proto.raylet.v1 import raylet_pb2

_METHOD: Final = "/manta.raylet.v1.Raylet/Describe"


def describe(address: str, token: Token, timeout_s: float) -> raylet_pb2.DescribeReply:
    """raises: ConnectionError naming the address when the raylet does not answer in time or refuses."""
    metadata = (("authorization", f"Bearer {token.value.decode('ascii')}"), ("manta-version", str(PROTOCOL)))
    with grpc.insecure_channel(address, (("grpc.enable_http_proxy", 0),)) as channel:
        call = channel.unary_unary(
            _METHOD,
            request_serializer=raylet_pb2.DescribeRequest.SerializeToString,
            response_deserializer=raylet_pb2.DescribeReply.FromString,
        )
        try:
            reply: raylet_pb2.DescribeReply = call(raylet_pb2.DescribeRequest(), timeout=timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            raise ConnectionError(f"the raylet at {address} answers {error.code().name}: {error.details()}") from error
    return reply
