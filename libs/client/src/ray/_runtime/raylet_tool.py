"""Asking a raylet about its node, from a tool: one blocking call."""

from __future__ import annotations

from typing import Final

import grpc
from manta.common.credentials import TlsFiles, Token
from manta.proto.raylet.v1 import raylet_pb2
from ray._runtime.tool_channel import metadata_of, open_channel

_METHOD: Final = "/manta.raylet.v1.Raylet/Describe"


def describe(address: str, token: Token, tls: TlsFiles | None, timeout_s: float) -> raylet_pb2.DescribeReply:
    """raises: ConnectionError naming the address when the raylet does not answer in time or refuses."""
    with open_channel(address, tls) as channel:
        call = channel.unary_unary(
            _METHOD,
            request_serializer=raylet_pb2.DescribeRequest.SerializeToString,
            response_deserializer=raylet_pb2.DescribeReply.FromString,
        )
        try:
            reply: raylet_pb2.DescribeReply = call(
                raylet_pb2.DescribeRequest(), timeout=timeout_s, metadata=metadata_of(token)
            )
        except grpc.RpcError as error:
            raise ConnectionError(f"the raylet at {address} answers {error.code().name}: {error.details()}") from error
    return reply
