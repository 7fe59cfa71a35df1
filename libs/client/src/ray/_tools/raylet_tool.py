"""Asking raylets about their nodes, from a tool: one blocking call at a time."""

from __future__ import annotations

from typing import Any, Final

import grpc
from manta_common.credentials import TlsFiles, Token
from manta_proto.raylet.v1 import raylet_pb2

from ray._tools.tool_channel import metadata_of, open_channel

_SERVICE: Final = "/manta.raylet.v1.Raylet/"


class RayletTool:
    """All methods raise ConnectionError, naming the address, when that raylet does not answer in time or refuses."""

    def __init__(self, token: Token, tls: TlsFiles | None, timeout_s: float) -> None:
        self._metadata = metadata_of(token)
        self._tls = tls
        self._timeout_s = timeout_s

    def describe(self, address: str) -> raylet_pb2.DescribeReply:
        reply: raylet_pb2.DescribeReply = self._ask(
            address, "Describe", raylet_pb2.DescribeRequest(), raylet_pb2.DescribeReply
        )
        return reply

    def references(self, address: str, limit: int) -> raylet_pb2.ListReferencesReply:
        """limit: of each process of the node."""
        request = raylet_pb2.ListReferencesRequest(limit=limit)
        reply: raylet_pb2.ListReferencesReply = self._ask(
            address, "ListReferences", request, raylet_pb2.ListReferencesReply
        )
        return reply

    def _ask(self, address: str, method: str, request: Any, reply: Any) -> Any:
        with open_channel(address, self._tls) as channel:
            call = channel.unary_unary(
                _SERVICE + method,
                request_serializer=type(request).SerializeToString,
                response_deserializer=reply.FromString,
            )
            try:
                return call(request, timeout=self._timeout_s, metadata=self._metadata)
            except grpc.RpcError as error:
                raise ConnectionError(
                    f"the raylet at {address} answers {error.code().name}: {error.details()}"
                ) from error
