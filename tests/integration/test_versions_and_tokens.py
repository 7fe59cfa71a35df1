"""Who may speak to a running cluster: every method and every socket, with wrong tokens and other versions."""

import asyncio
import contextlib
import importlib
import os
import socket
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import manta_proto
import pytest
import ray
from google.protobuf.descriptor import ServiceDescriptor
from manta_common import rpc
from manta_common.channel.framing import FrameDecoder
from manta_common.channel.hello import REFUSED, WELCOME, hello_bytes
from manta_common.channel.paths import short_path
from manta_common.credentials import Token
from manta_common.ids import new_worker_id, short
from manta_common.version import PROTOCOL, Version
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2
from manta_proto.object_manager.v1 import object_manager_pb2
from manta_proto.raylet.v1 import raylet_pb2
from prometheus_client.parser import text_string_to_metric_families
from pyarrow import flight
from ray._node import LocalNode, NodeOptions, start_local
from ray._runtime import current

DEADLINE_S: Final = 20.0
BEHIND = Version(PROTOCOL.major, PROTOCOL.minor - 1)
TOO_OLD = Version(PROTOCOL.major, PROTOCOL.minor - 2)
TOO_NEW = Version(PROTOCOL.major, PROTOCOL.minor + 2)
GARBAGE = b"\xff" * 16  # no message parses from it: whoever answers UNAUTHENTICATED has not tried
EMPTY = b""  # Arrow's C++ server parses tickets and the like, which hold no code, before it looks at the headers
# Methods of Arrow Flight, which has no descriptor here: name -> kind.
FLIGHT: Final = {
    "Handshake": "stream_stream",
    "ListFlights": "unary_stream",
    "GetFlightInfo": "unary_unary",
    "PollFlightInfo": "unary_unary",
    "GetSchema": "unary_unary",
    "DoGet": "unary_stream",
    "DoPut": "stream_stream",
    "DoExchange": "stream_stream",
    "DoAction": "unary_stream",
    "ListActions": "unary_stream",
}


@dataclass(frozen=True)
class Running:
    """A cluster of one node, a driver in this process and an actor in a worker."""

    node: LocalNode
    token: Token
    addresses: dict[str, str]  # service -> host:port
    flight: str
    sockets: dict[str, str]  # who -> path
    metrics: dict[str, str]  # part -> host:port


def services() -> list[ServiceDescriptor]:
    """Every service of our own protocols, found by looking through all of them."""
    found = []
    (root,) = manta_proto.__path__
    for stub in sorted(Path(root).rglob("*_pb2.py")):
        name = ".".join(["manta_proto", *stub.relative_to(root).with_suffix("").parts])
        descriptor = importlib.import_module(name).DESCRIPTOR
        if descriptor.package.startswith("manta."):
            found += descriptor.services_by_name.values()
    return found


def methods() -> list[tuple[str, str, str]]:
    """(service, full path, kind) of every method."""
    return [
        (service.full_name, f"/{service.full_name}/{each.name}", kind(each.client_streaming, each.server_streaming))
        for service in services()
        for each in service.methods
    ]


def kind(*streams: bool) -> str:
    return "_".join("stream" if streamed else "unary" for streamed in streams)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_ADDRESS", "MANTA_TOKEN", "RAY_AUTH_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("MANTA_TMPDIR", str(tmp_path_factory.mktemp("root")))
        node = start_local(NodeOptions(num_cpus=1, object_store_memory=100 * 1024 * 1024))
        try:
            patch.setenv("MANTA_TOKEN_FILE", node.token_file)
            ray.init(address=node.gcs_address, log_to_driver=False)
            yield describe(node)
        finally:
            ray.shutdown()
            node.stop()


def describe(node: LocalNode) -> Running:
    @ray.remote
    class Resident:
        def worker_id(self) -> str:
            return ray.get_runtime_context().get_worker_id()

    actor = Resident.remote()  # type: ignore[attr-defined]
    worker_id = bytes.fromhex(ray.get(actor.worker_id.remote(), timeout=DEADLINE_S))
    driver = current.runtime_or_none()
    endpoint = endpoint_of(driver, worker_id, tcp=False)
    reply = driver.gcs.call(DEADLINE_S, list_nodes=gcs_pb2.ListNodes())  # type: ignore[union-attr]
    (item,) = reply.node_list.items
    running = Running(
        node,
        Token(node.token),
        {
            "manta.gcs.v1.Gcs": node.gcs_address,
            "manta.raylet.v1.Raylet": item.info.raylet_address,
            "manta.object_manager.v1.ObjectManager": item.info.object_manager_address,
            "manta.worker.v1.Worker": endpoint,
        },
        item.info.flight_address,
        {
            "raylet": node.raylet_socket,
            "object manager": node.object_manager_socket,
            "driver": f"{node.node_dir}/{short(driver.worker_id)}",  # type: ignore[union-attr]
            "actor": f"{node.node_dir}/{short(worker_id)}",
            "actor from elsewhere": endpoint_of(driver, worker_id, tcp=True),
        },
        {"gcs": node.services["gcs"]["metrics"], **item.info.metrics},
    )
    KEEP.append(actor)
    return running


KEEP: Final[list[Any]] = []  # an actor lives as long as its handle


def endpoint_of(driver: Any, worker_id: bytes, *, tcp: bool) -> str:
    """Where the worker serves a cross-node carrier, which it opens when somebody asks."""
    answered = threading.Event()
    found: list[str] = []

    def done(address: str) -> None:
        found.append(address)
        answered.set()

    driver.raylet.ask_endpoint(worker_id, done, tcp=tcp)
    assert answered.wait(DEADLINE_S)
    return found[0]


def outcome(
    address: str, path: str, how: str, *metadata: tuple[str, str], message: bytes = GARBAGE
) -> tuple[grpc.StatusCode, str]:
    """Call a method with raw bytes, as any stranger's gRPC could."""
    with grpc.insecure_channel(address) as channel:
        call = getattr(channel, how)(path)
        request = iter([message]) if how.startswith("stream") else message
        try:
            answer = call(request, metadata=metadata, timeout=DEADLINE_S)
            if how.endswith("stream"):
                for _ in answer:
                    pass
        except grpc.RpcError as error:
            return error.code(), error.details() or ""  # type: ignore[attr-defined]
    return grpc.StatusCode.OK, ""


def test_every_service_of_the_protocols_runs_here(running: Running) -> None:
    assert {service.full_name for service in services()} == running.addresses.keys()
    assert all(running.addresses.values())


@pytest.mark.parametrize(("service", "path", "how"), methods(), ids=lambda value: str(value).rpartition(".")[2])
def test_a_grpc_method_answers_only_with_the_token(running: Running, service: str, path: str, how: str) -> None:
    address, right = running.addresses[service], running.token.value.decode()
    version = ("manta-version", str(PROTOCOL))
    wrong: list[tuple[tuple[str, str], ...]] = [
        (),
        (version,),
        (("authorization", ""), version),
        (("authorization", "Bearer wrong"), version),
        (("authorization", f"Bearer {right[:-1]}"), version),
        (("authorization", f"Bearer {right}x"), version),
        (("authorization", f"Basic {right}"), version),
    ]
    for metadata in wrong:
        code, details = outcome(address, path, how, *metadata)
        assert code is grpc.StatusCode.UNAUTHENTICATED, (metadata, details)
        assert right not in details
    code, details = outcome(address, path, how, ("authorization", f"Bearer {right}"), version)
    assert code not in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.FAILED_PRECONDITION), details


@pytest.mark.parametrize(("service", "path", "how"), methods(), ids=lambda value: str(value).rpartition(".")[2])
def test_a_grpc_method_refuses_a_peer_two_minors_away(running: Running, service: str, path: str, how: str) -> None:
    authorization = ("authorization", f"Bearer {running.token.value.decode()}")
    for version in (TOO_OLD, TOO_NEW):
        code, details = outcome(running.addresses[service], path, how, authorization, ("manta-version", str(version)))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert str(version) in details and str(PROTOCOL) in details
    code, details = outcome(running.addresses[service], path, how, authorization, ("manta-version", str(BEHIND)))
    assert code is not grpc.StatusCode.FAILED_PRECONDITION, details


def test_an_unknown_method_does_not_tell_a_stranger_that_it_is_unknown(running: Running) -> None:
    for service, address in running.addresses.items():
        code, _ = outcome(address, f"/{service}/Nothing", "unary_unary")
        assert code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("name", FLIGHT)
def test_a_flight_method_answers_only_with_the_token(running: Running, name: str) -> None:
    path = f"/arrow.flight.protocol.FlightService/{name}"
    for metadata in ((), (("authorization", "Bearer wrong"), ("manta-version", str(PROTOCOL)))):
        code, details = outcome(running.flight, path, FLIGHT[name], *metadata, message=EMPTY)
        assert code is grpc.StatusCode.UNAUTHENTICATED, details


def test_flight_serves_one_minor_behind_and_refuses_two(running: Running) -> None:
    def get(version: Version) -> None:
        headers = [
            (b"authorization", b"Bearer " + running.token.value),
            (b"manta-version", str(version).encode()),
        ]
        with flight.connect(f"grpc://{running.flight}") as client:
            options = flight.FlightCallOptions(headers=headers, timeout=DEADLINE_S)  # type: ignore[arg-type]
            client.do_get(flight.Ticket(bytes(28)), options).read_all()

    for version in (PROTOCOL, BEHIND):
        with pytest.raises(KeyError, match="is not on this node"):
            get(version)
    with pytest.raises(flight.FlightUnauthorizedError) as refusal:
        get(TOO_OLD)
    assert str(TOO_OLD) in str(refusal.value) and str(PROTOCOL) in str(refusal.value)


def test_services_work_with_a_peer_one_minor_behind(running: Running) -> None:
    async def ask() -> tuple[gcs_pb2.GcsBatch, raylet_pb2.DescribeReply, object_manager_pb2.DescribeReply]:
        async with contextlib.AsyncExitStack() as stack:

            async def open_(service: str) -> grpc.aio.Channel:
                channel = rpc.open_channel(running.addresses[service], running.token, version=BEHIND)
                return await stack.enter_async_context(channel)

            gcs = rpc.method(await open_("manta.gcs.v1.Gcs"), gcs_pb2.DESCRIPTOR.services_by_name["Gcs"], "Connect")()
            hello = gcs_pb2.ClientRequest(request_id=1, hello=common_pb2.Hello(role=common_pb2.TOOL))
            await gcs.write(gcs_pb2.ClientBatch(requests=[hello]))
            welcome = await gcs.read()
            gcs.cancel()
            raylet = raylet_pb2.DESCRIPTOR.services_by_name["Raylet"]
            described = rpc.method(await open_(raylet.full_name), raylet, "Describe")
            manager = object_manager_pb2.DESCRIPTOR.services_by_name["ObjectManager"]
            arena = rpc.method(await open_(manager.full_name), manager, "Describe")
            return (
                welcome,
                await described(raylet_pb2.DescribeRequest(), timeout=DEADLINE_S),
                await arena(object_manager_pb2.DescribeRequest(), timeout=DEADLINE_S),
            )

    welcome, node, arena = asyncio.run(asyncio.wait_for(ask(), DEADLINE_S))
    assert welcome.replies[0].welcome.version == str(PROTOCOL)
    assert node.node_id == running.node.node_id
    assert arena.arena_size > 0


def greet(path: str, hello: bytes) -> tuple[int, bytes]:
    """Say that hello to a Unix socket, or at tcp://. returns: the answer's kind and payload; (0, b"") for none."""
    decoder = FrameDecoder()
    with contextlib.ExitStack() as stack:
        if path.startswith("tcp://"):
            host, _, port = path.removeprefix("tcp://").rpartition(":")
            peer = stack.enter_context(socket.create_connection((host, int(port))))
        else:
            peer = stack.enter_context(socket.socket(socket.AF_UNIX))
            peer.connect(stack.enter_context(short_path(path)))
        peer.settimeout(DEADLINE_S)
        peer.sendall(hello)
        while data := peer.recv(65536):
            for found, payload in decoder.feed(data):
                return found, payload
    return 0, b""


@pytest.mark.parametrize("who", ["raylet", "object manager", "driver", "actor", "actor from elsewhere"])
def test_a_socket_takes_the_right_token_and_one_minor_behind(running: Running, who: str) -> None:
    path = running.sockets[who]
    node_id = running.node.node_id

    def answer(token: Token, version: Version) -> tuple[int, str]:
        hello = common_pb2.Hello(
            role=common_pb2.DRIVER, node_id=node_id, worker_id=new_worker_id(), pid=os.getpid(), name="test"
        )
        found, payload = greet(path, hello_bytes(token, version, hello.SerializeToString()))
        return found, common_pb2.Refused.FromString(payload).reason if found == REFUSED else ""

    for version in (PROTOCOL, BEHIND):
        assert answer(running.token, version)[0] == WELCOME
    for version in (TOO_OLD, TOO_NEW):
        found, reason = answer(running.token, version)
        assert found == REFUSED
        assert str(version) in reason and str(PROTOCOL) in reason
    found, reason = answer(Token(b"wrong"), PROTOCOL)
    assert found == REFUSED and "token" in reason
    assert running.token.value.decode() not in reason


def test_sockets_and_the_token_are_for_their_user_alone(running: Running) -> None:
    files = [path for path in running.sockets.values() if not path.startswith("tcp:")]
    assert {Path(path).stat().st_mode & 0o777 for path in files} == {0o600}
    assert Path(running.node.token_file).stat().st_mode & 0o777 == 0o600
    for folder in (running.node.session_dir, running.node.node_dir):
        assert Path(folder).stat().st_mode & 0o777 == 0o700


EXPECTED: Final = {
    "gcs": {"ray_actors", "ray_cluster_active_nodes", "ray_running_jobs", "manta_rpc_seconds"},
    "raylet": {"ray_resources", "manta_workers", "manta_leases_granted", "manta_rpc_seconds"},
    "object_manager": {"ray_object_store_memory", "manta_arena_size_bytes", "manta_rpc_seconds"},
}


@pytest.mark.parametrize("part", EXPECTED)
def test_a_service_serves_its_metrics(running: Running, part: str) -> None:
    with urllib.request.urlopen(f"http://{running.metrics[part]}/metrics", timeout=DEADLINE_S) as page:
        text = page.read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families.keys() >= EXPECTED[part]
    assert {sample.labels["part"] for family in families.values() for sample in family.samples} == {part}
    assert running.token.value.decode() not in text


def test_the_metrics_tell_of_what_runs(running: Running) -> None:
    def value(part: str, name: str, **labels: str) -> float:
        with urllib.request.urlopen(f"http://{running.metrics[part]}/metrics", timeout=DEADLINE_S) as page:
            families = text_string_to_metric_families(page.read().decode())
            samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    assert value("gcs", "ray_actors", State="ALIVE") == 1
    assert value("gcs", "ray_cluster_active_nodes") == 1
    assert value("raylet", "ray_resources", Name="CPU") == 1
    assert value("object_manager", "manta_arena_size_bytes") >= 100 * 1024 * 1024
