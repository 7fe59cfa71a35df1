"""A blocking client of the GCS for tools: one stream, one request at a time."""

import queue
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Final

import grpc
from manta_common.credentials import TlsFiles, Token
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2

from ray._tools.tool_channel import metadata_of, open_channel

_METHOD: Final = "/manta.gcs.v1.Gcs/Connect"
# What another replica, or this one a little later, may answer.
_PASSING: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.DEADLINE_EXCEEDED,  # of the stream, which an earlier request has opened
)
_PAUSE_S: Final = 0.05


class GcsToolError(Exception):
    """The GCS could not be asked, or refused; the text names the addresses and the reason."""


class GcsTool:
    """Asks the leader among several addresses. Use it as a context manager.

    gcs_timeout_s: for finding the leader and for each answer.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        token: Token,
        *,
        tls: TlsFiles | None = None,
        gcs_timeout_s: float = 10.0,
    ) -> None:
        if not addresses:
            raise ValueError("no GCS address given; expected host:port")
        self._addresses = list(addresses)
        self._tls = tls
        self._timeout_s = gcs_timeout_s
        self._metadata = metadata_of(token)
        self._channel: grpc.Channel | None = None
        self._outgoing: queue.SimpleQueue[gcs_pb2.ClientBatch | None] = queue.SimpleQueue()
        self._incoming: Any = None
        self._next_id = 1

    def __enter__(self) -> "GcsTool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._outgoing.put(None)
        if self._incoming is not None:
            self._incoming.cancel()
        if self._channel is not None:
            self._channel.close()
        self._channel = self._incoming = None

    def nodes(self) -> list[gcs_pb2.NodeList.Item]:
        return list(self.ask(list_nodes=gcs_pb2.ListNodes()).node_list.items)

    def status(self) -> gcs_pb2.ClusterStatus:
        return self.ask(cluster_status=gcs_pb2.ClusterStatusRequest()).cluster_status

    def ask(self, **body: Any) -> gcs_pb2.GcsReply:
        """Send one request that may be repeated, such as a query; body: the field of ClientRequest.

        raises: GcsToolError after gcs_timeout_s without a leader's answer, or at once when the token is refused.
        """
        deadline = time.monotonic() + self._timeout_s
        reason = ""
        while time.monotonic() < deadline:
            address = self._addresses[0]
            try:
                reply = self._exchange(address, deadline, body)
            except grpc.RpcError as error:
                self.close()
                code, details = error.code(), error.details()
                if code not in _PASSING:
                    raise GcsToolError(f"the GCS at {address} refused: {code.name}: {details}") from error
                reason = f"{address}: {details}"
            else:
                if reply.WhichOneof("body") != "error":
                    return reply
                if reply.error.code not in (gcs_pb2.Error.NOT_LEADER, gcs_pb2.Error.UNAVAILABLE):
                    raise GcsToolError(f"the GCS at {address} refused: {reply.error.message}")
                reason = f"{address}: {reply.error.message}"
                self._prefer(reply.error.leader)
                self.close()
                if reply.error.leader:
                    continue
            self._addresses.append(self._addresses.pop(0))
            time.sleep(_PAUSE_S)
        raise GcsToolError(
            f"no GCS answered within {self._timeout_s:g} s (gcs_timeout_s) at {', '.join(self._addresses)}: "
            f"{reason or 'no reply'}; is the cluster running?"
        )

    def _prefer(self, leader: str) -> None:
        if leader:
            self._addresses = [leader, *(address for address in self._addresses if address != leader)]

    def _exchange(self, address: str, deadline: float, body: dict[str, Any]) -> gcs_pb2.GcsReply:
        if self._incoming is None:
            self._open(address, deadline)
        request_id = self._next_id
        self._next_id += 1
        request = gcs_pb2.ClientRequest(request_id=request_id, **body)
        self._outgoing.put(gcs_pb2.ClientBatch(requests=[request]))
        return self._answer_to(request_id)

    def _open(self, address: str, deadline: float) -> None:
        self._channel = open_channel(address, self._tls)
        connect = self._channel.stream_stream(
            _METHOD,
            request_serializer=gcs_pb2.ClientBatch.SerializeToString,
            response_deserializer=gcs_pb2.GcsBatch.FromString,
        )
        self._outgoing = queue.SimpleQueue()
        self._incoming = connect(
            _until_none(self._outgoing),
            metadata=self._metadata,
            timeout=max(0.1, deadline - time.monotonic()),
            wait_for_ready=False,
        )
        request_id = self._next_id
        self._next_id += 1
        hello = common_pb2.Hello(role=common_pb2.TOOL, name="tool")
        self._outgoing.put(gcs_pb2.ClientBatch(requests=[gcs_pb2.ClientRequest(request_id=request_id, hello=hello)]))

    def _answer_to(self, request_id: int) -> gcs_pb2.GcsReply:
        batch: gcs_pb2.GcsBatch
        for batch in self._incoming:
            for reply in batch.replies:
                refused = reply.WhichOneof("body") == "error" and reply.request_id < request_id
                if reply.request_id == request_id or refused:  # the hello's refusal answers for what follows it
                    return reply
        # The GCS ended the stream in order: it is going down.
        return gcs_pb2.GcsReply(
            error=gcs_pb2.Error(code=gcs_pb2.Error.UNAVAILABLE, message="the stream ended without an answer")
        )


def _until_none(
    messages: "queue.SimpleQueue[gcs_pb2.ClientBatch | None]",
) -> Iterator[gcs_pb2.ClientBatch]:
    while (message := messages.get()) is not None:
        yield message
