"""Strangers get nothing, and a client that misbehaves harms only itself."""

from __future__ import annotations

import asyncio
import os
import socket
import urllib.request
from typing import Any

import grpc
import pytest
from manta_common.channel.framing import encode_frame
from manta_common.channel.hello import hello_bytes
from manta_common.credentials import Token
from manta_common.rpc import method, open_channel
from manta_common.version import PROTOCOL, Version
from manta_proto.common.v1.common_pb2 import Hello, Role
from manta_proto.object_manager.v1 import object_manager_pb2 as pb
from pyarrow import flight
from ray._runtime.arena.arena_client import ArenaClient
from ray._runtime.arena.arena_errors import ArenaDisconnected

SERVICE = pb.DESCRIPTOR.services_by_name["ObjectManager"]
WRONG = Token(b"wrong")


def put(client: Any, data: bytes) -> bytes:
    object_id = os.urandom(28)
    writable = client.create(object_id, len(data))
    writable.view[:] = data
    writable.seal()
    return object_id


def pull(address: str, object_id: bytes, headers: list[tuple[bytes, bytes]]) -> Any:
    options = flight.FlightCallOptions(headers=headers)  # type: ignore[arg-type]
    with flight.FlightClient(f"grpc+tcp://{address}") as client:
        return client.do_get(flight.Ticket(object_id), options).read_all()


def test_a_wrong_token_is_refused_on_the_socket(cluster: Any) -> None:
    manager = cluster.manager()
    hello = hello_bytes(WRONG, PROTOCOL, Hello(role=Role.WORKER, pid=os.getpid()).SerializeToString())
    stranger = ArenaClient(manager.socket, lambda: hello)
    with pytest.raises(ArenaDisconnected, match="token is not this cluster's"):
        stranger.describe()


async def test_a_wrong_or_missing_token_is_refused_by_every_grpc_method(cluster: Any) -> None:
    manager = await asyncio.to_thread(cluster.manager)
    requests = {"Free": pb.FreeRequest(), "Describe": pb.DescribeRequest()}
    assert requests.keys() == {item.name for item in SERVICE.methods}
    for name, request in requests.items():
        async with open_channel(manager.ready["grpc"], WRONG) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await method(channel, SERVICE, name)(request, timeout=5)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        async with grpc.aio.insecure_channel(manager.ready["grpc"]) as plain:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await plain.unary_unary(f"/{SERVICE.full_name}/{name}")(b"", timeout=5)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_flight_checks_token_and_version_before_the_ticket(cluster: Any) -> None:
    manager = cluster.manager()
    object_id = put(cluster.client(manager), b"secret")
    address = manager.ready["flight"]
    token = (b"authorization", b"Bearer integration-token")
    version = (b"manta-version", str(PROTOCOL).encode())
    assert pull(address, object_id, [token, version]).column(0).to_pylist() == list(b"secret")
    for wrong in ([], [version], [(b"authorization", b"Bearer wrong"), version], [(b"authorization", token[1][7:])]):
        with pytest.raises(flight.FlightUnauthenticatedError, match="token"):
            pull(address, object_id, wrong)
    old = Version(PROTOCOL.major, PROTOCOL.minor - 2)
    with pytest.raises(flight.FlightUnauthorizedError, match=rf"{old}.*{PROTOCOL}"):
        pull(address, object_id, [token, (b"manta-version", str(old).encode())])
    one_behind = f"{PROTOCOL.major}.{PROTOCOL.minor - 1}".encode()
    assert pull(address, object_id, [token, (b"manta-version", one_behind)]).num_rows == 6
    with pytest.raises(flight.FlightUnauthenticatedError), flight.FlightClient(f"grpc+tcp://{address}") as client:
        list(client.list_flights())


def test_a_socket_client_two_minors_behind_is_refused_with_both_versions(cluster: Any) -> None:
    manager = cluster.manager()
    old = Version(PROTOCOL.major, PROTOCOL.minor - 2)
    client = cluster.client(manager)
    outdated = hello_bytes(Token(b"integration-token"), old, Hello().SerializeToString())
    client._hello = lambda: outdated
    with pytest.raises(ArenaDisconnected, match=rf"{old}.*{PROTOCOL}"):
        client.describe()


FORBIDDEN = [
    b"\xff\xff\xff\xff\x00\x00",  # a length beyond all bounds
    encode_frame(999, b""),
    encode_frame(pb.CREATE, b"\xff\xff\xff"),
    encode_frame(pb.GET, pb.Get(object_id=b"short").SerializeToString()),
    encode_frame(pb.RELEASE, pb.Release(object_ids=[b"x" * 28]).SerializeToString()),
    encode_frame(pb.SEAL, pb.Seal(object_id=b"x" * 28).SerializeToString()),
    encode_frame(pb.JOB_ENDED, pb.JobEnded(job_id=b"\0\0\0\1").SerializeToString()),  # no raylet
]


def test_a_malformed_or_forbidden_frame_ends_that_connection_only(cluster: Any) -> None:
    manager = cluster.manager()
    bystander = cluster.client(manager)
    object_id = put(bystander, b"mine")
    hello = hello_bytes(Token(b"integration-token"), PROTOCOL, Hello(role=Role.WORKER).SerializeToString())
    for number, frame in enumerate(FORBIDDEN, start=1):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            sock.connect(manager.socket)
            sock.sendall(hello + frame)
            try:
                while sock.recv(65536):
                    pass
            except ConnectionResetError:
                pass
        assert bystander.get(object_id).buffer.tobytes() == b"mine"
        assert manager.log().count("client_connection_ended") == number, f"frame {frame!r}"


def test_garbage_instead_of_a_hello_is_refused(cluster: Any) -> None:
    manager = cluster.manager()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(10)
        sock.connect(manager.socket)
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert b"first bytes" in sock.recv(65536)
    assert cluster.client(manager).describe().objects_count == 0


def test_metrics_bear_the_documented_names(cluster: Any) -> None:
    manager = cluster.manager()
    put(cluster.client(manager), b"x" * 6400)
    with urllib.request.urlopen(f"http://{manager.ready['metrics']}/metrics", timeout=10) as reply:
        page = reply.read().decode()
    lines = [line for line in page.splitlines() if 'Location="MMAP_SHM"' in line and 'ObjectState="SEALED"' in line]
    assert [line for line in lines if line.startswith("ray_object_store_memory{") and line.endswith(" 6400.0")]
    for name in (
        "ray_object_store_available_memory",
        "ray_object_store_used_memory",
        "manta_object_pulls_total",
        "manta_object_transfer_bytes_total",
        "manta_arena_reserved_bytes",
    ):
        assert f"\n{name}{{" in page
