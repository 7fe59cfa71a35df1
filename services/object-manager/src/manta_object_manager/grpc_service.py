"""gRPC between object managers: frees and descriptions."""

from typing import Any, Final

import grpc.aio
from manta_common.credentials import TlsFiles, Token
from manta_common.rpc import MultiCallable, method, open_channel
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

from manta_object_manager.node_table import Peer
from manta_object_manager.store import Store

SERVICE: Final = pb.DESCRIPTOR.services_by_name["ObjectManager"]
_FREE_TIMEOUT_S: Final = 10.0
_CHANNELS: Final = 256


class ObjectManagerService:
    """What other nodes, and tools, may ask."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def Free(self, request: pb.FreeRequest, context: Any) -> pb.FreeReply:
        self._store.free(request.object_ids)
        return pb.FreeReply()

    async def Describe(self, request: pb.DescribeRequest, context: Any) -> pb.DescribeReply:
        return self._store.describe(request)


class PeerChannels:
    """Channels to other object managers, kept open; the least recently used goes when there are too many."""

    def __init__(self, token: Token, tls: TlsFiles | None) -> None:
        self._token = token
        self._tls = tls
        self._channels: dict[str, tuple[grpc.aio.Channel, MultiCallable]] = {}

    async def free(self, peer: Peer, object_ids: list[bytes]) -> None:
        """raises: ConnectionError when the peer did not confirm."""
        address = peer.object_manager
        channel, call = self._channels.pop(address) if address in self._channels else self._open(address)
        self._channels[address] = channel, call
        if len(self._channels) > _CHANNELS:
            oldest, _ = self._channels.pop(next(iter(self._channels)))
            await oldest.close(grace=_FREE_TIMEOUT_S)
        try:
            await call(pb.FreeRequest(object_ids=object_ids), timeout=_FREE_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise ConnectionError(f"{peer.object_manager}: {error.code().name} {error.details()}") from error

    async def close(self) -> None:
        for channel, _ in self._channels.values():
            await channel.close(grace=None)

    def _open(self, address: str) -> tuple[grpc.aio.Channel, MultiCallable]:
        channel = open_channel(address, self._token, self._tls)
        return channel, method(channel, SERVICE, "Free")
