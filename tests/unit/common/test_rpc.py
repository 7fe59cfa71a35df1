import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from manta_common.credentials import TlsFiles, Token
from manta_common.metrics import Metrics
from manta_common.rpc import RpcServer, method, open_channel
from manta_common.version import PROTOCOL, Version
from manta_proto.common.v1 import common_pb2
from manta_proto.common.v1.common_pb2 import Frame

from tests.certificates import Authority

TOKEN = Token(b"the-cluster-token")
LIMIT_S = 10.0
END: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # missing in the stubs
KINDS = {
    "Echo": "unary_unary",
    "Count": "unary_stream",
    "Sum": "stream_unary",
    "Chat": "stream_stream",
}


def make_service() -> ServiceDescriptor:
    file = descriptor_pb2.FileDescriptorProto(
        name="manta/test/rpc.proto",
        package="manta.test.v1",
        syntax="proto3",
        dependency=[common_pb2.DESCRIPTOR.name],
    )
    service = file.service.add(name="Sample")
    for name, kind in KINDS.items():
        asked, answered = kind.split("_")
        service.method.add(
            name=name,
            input_type=".manta.common.v1.Frame",
            output_type=".manta.common.v1.Frame",
            client_streaming=asked == "stream",
            server_streaming=answered == "stream",
        )
    pool = descriptor_pool.Default()
    pool.Add(file)
    return pool.FindServiceByName("manta.test.v1.Sample")


SERVICE = make_service()


class Sample:
    def __init__(self) -> None:
        self.calls = 0

    async def Echo(self, request: Frame, context: Any) -> Frame:
        self.calls += 1
        if request.kind == 404:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such frame")
        if request.kind == 500:
            raise LookupError("a bug")
        return request

    async def Count(self, request: Frame, context: Any) -> AsyncIterator[Frame]:
        self.calls += 1
        for number in range(request.kind):
            yield Frame(kind=number)

    async def Sum(self, requests: AsyncIterator[Frame], context: Any) -> Frame:
        self.calls += 1
        return Frame(kind=sum([frame.kind async for frame in requests]))

    async def Chat(self, requests: AsyncIterator[Frame], context: Any) -> AsyncIterator[Frame]:
        self.calls += 1
        async for frame in requests:
            yield Frame(kind=frame.kind + 1, payload=frame.payload)


class Running:
    def __init__(self) -> None:
        self.sample = Sample()
        self.metrics = Metrics("gcs")
        self.server = RpcServer(TOKEN, part="gcs", metrics=self.metrics)
        self.address = ""


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    made = Running()
    made.server.add_service(SERVICE, made.sample)
    made.address = await made.server.start("127.0.0.1:0")
    yield made
    await made.server.stop(0)


async def frames(*kinds: int) -> AsyncIterator[Frame]:
    for kind in kinds:
        yield Frame(kind=kind)


async def test_every_kind_of_method_works(running: Running) -> None:
    async with open_channel(running.address, TOKEN) as channel:
        echo = method(channel, SERVICE, "Echo")
        assert await echo(Frame(kind=3, payload=b"x"), timeout=LIMIT_S) == Frame(kind=3, payload=b"x")
        assert [f.kind async for f in method(channel, SERVICE, "Count")(Frame(kind=3), timeout=LIMIT_S)] == [0, 1, 2]
        assert (await method(channel, SERVICE, "Sum")(frames(1, 2, 3), timeout=LIMIT_S)).kind == 6
        chat = method(channel, SERVICE, "Chat")(timeout=LIMIT_S)
        await chat.write(Frame(kind=7))
        assert (await chat.read()).kind == 8
        await chat.write(Frame(kind=9))
        assert (await chat.read()).kind == 10
        await chat.done_writing()
        assert await chat.read() == END


async def test_the_registered_methods_are_listed(running: Running) -> None:
    assert running.server.methods == [(f"/manta.test.v1.Sample/{name}", kind) for name, kind in KINDS.items()]


def raw(channel: grpc.aio.Channel, kind: str, name: str) -> Any:
    """A method that sends and returns bytes as they are."""
    return getattr(channel, kind)(f"/manta.test.v1.Sample/{name}")


async def refusal(
    channel: grpc.aio.Channel, name: str, kind: str, metadata: tuple[tuple[str, str], ...]
) -> tuple[grpc.StatusCode, str]:
    """Call, where one request is sent with bytes that are no message, and return the status.

    A stream is only opened: gRPC's client may report a write that meets the end of the call as INTERNAL.
    """
    request = [b"\xff\xff\xff"] if kind.startswith("unary") else []
    call = raw(channel, kind, name)(*request, metadata=metadata, timeout=LIMIT_S)
    return await call.code(), await call.details()


@pytest.mark.parametrize(("name", "kind"), [*KINDS.items(), ("Unknown", "unary_unary")])
@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer wrong", "Bearer the-cluster-token2", "Bearer ", "Basic the-cluster-token", "the-cluster-token"],
)
async def test_a_stranger_gets_no_method_to_look_at_its_bytes(
    running: Running, name: str, kind: str, authorization: str | None
) -> None:
    metadata = (("manta-version", str(PROTOCOL)), *((("authorization", authorization),) if authorization else ()))
    async with grpc.aio.insecure_channel(running.address) as channel:
        code, details = await refusal(channel, name, kind, metadata)
    assert code == grpc.StatusCode.UNAUTHENTICATED
    assert "token" in details and "the-cluster-token" not in details
    assert running.sample.calls == 0


@pytest.mark.parametrize(("name", "kind"), [*KINDS.items()])
@pytest.mark.parametrize("text", [f"{PROTOCOL.major}.{PROTOCOL.minor - 2}", "1.0", "nonsense", ""])
async def test_a_version_too_far_away_is_refused_with_both_named(
    running: Running, name: str, kind: str, text: str
) -> None:
    metadata = (("authorization", "Bearer the-cluster-token"), *((("manta-version", text),) if text else ()))
    async with grpc.aio.insecure_channel(running.address) as channel:
        code, details = await refusal(channel, name, kind, metadata)
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert text in details and str(PROTOCOL) in details
    assert running.sample.calls == 0


async def test_one_minor_behind_works(running: Running) -> None:
    near = Version(PROTOCOL.major, PROTOCOL.minor - 1)
    async with open_channel(running.address, TOKEN, version=near) as channel:
        assert (await method(channel, SERVICE, "Echo")(Frame(kind=1), timeout=LIMIT_S)).kind == 1


async def test_a_wrong_token_through_the_factory_is_refused(running: Running) -> None:
    async with open_channel(running.address, Token(b"guessed")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await method(channel, SERVICE, "Echo")(Frame(), timeout=LIMIT_S)
    assert failure.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_malformed_message_harms_only_its_call(running: Running) -> None:
    async with open_channel(running.address, TOKEN) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await raw(channel, "unary_unary", "Echo")(b"\xff\xff\xff", timeout=LIMIT_S)
        assert (await method(channel, SERVICE, "Echo")(Frame(kind=1), timeout=LIMIT_S)).kind == 1


async def test_the_callers_own_metadata_is_kept(running: Running) -> None:
    async with open_channel(running.address, TOKEN) as channel:
        call = method(channel, SERVICE, "Echo")
        assert (await call(Frame(kind=1), metadata=(("cause-id", "c"),), timeout=LIMIT_S)).kind == 1


async def test_calls_are_counted_with_their_codes(running: Running) -> None:
    async with open_channel(running.address, TOKEN) as channel:
        echo = method(channel, SERVICE, "Echo")
        await echo(Frame(kind=1), timeout=LIMIT_S)
        for kind, code in [(404, grpc.StatusCode.NOT_FOUND), (500, grpc.StatusCode.UNKNOWN)]:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await echo(Frame(kind=kind), timeout=LIMIT_S)
            assert failure.value.code() == code
        chat = method(channel, SERVICE, "Chat")(timeout=LIMIT_S)
        await chat.write(Frame())
        await chat.read()
        chat_labels = {"part": "gcs", "method": "/manta.test.v1.Sample/Chat"}
        assert running.metrics.registry.get_sample_value("manta_rpc_open_streams", chat_labels) == 1
        await chat.done_writing()
        assert await chat.read() == END
    for name in ("OK", "NOT_FOUND", "UNKNOWN"):
        labels = {"part": "gcs", "method": "/manta.test.v1.Sample/Echo", "code": name}
        assert running.metrics.registry.get_sample_value("manta_rpc_seconds_count", labels) == 1
    assert running.metrics.registry.get_sample_value("manta_rpc_open_streams", chat_labels) == 0


async def test_a_message_of_64_mib_passes(running: Running) -> None:
    payload = b"x" * (64 * 1024 * 1024)
    async with open_channel(running.address, TOKEN) as channel:
        answer = await method(channel, SERVICE, "Echo")(Frame(payload=payload), timeout=LIMIT_S)
    assert answer.payload == payload


async def test_a_taken_port_is_refused_by_name(running: Running) -> None:
    with pytest.raises(OSError, match=running.address):
        await RpcServer(TOKEN).start(running.address)


async def test_a_restarted_server_is_found_again_on_the_same_channel() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    async with open_channel(address, TOKEN) as channel:
        for _ in range(2):
            server = RpcServer(TOKEN)
            server.add_service(SERVICE, Sample())
            await server.start(address)
            answer = await method(channel, SERVICE, "Echo")(Frame(kind=1), timeout=LIMIT_S, wait_for_ready=True)
            assert answer.kind == 1
            await server.stop(0)
            # What is sent before the channel has seen the end of its connection fails, for it may have arrived.
            async with asyncio.timeout(LIMIT_S):
                while channel.get_state() is grpc.ChannelConnectivity.READY:
                    await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)


def test_an_implementation_that_lacks_methods_is_named() -> None:
    class Partial:
        async def Echo(self, request: Frame, context: Any) -> Frame:
            return request

    async def add() -> None:
        RpcServer(TOKEN).add_service(SERVICE, Partial())

    with pytest.raises(TypeError, match=r"Partial lacks methods of manta\.test\.v1\.Sample: Count, Sum, Chat"):
        asyncio.run(add())


async def test_an_unknown_method_is_named(running: Running) -> None:
    async with open_channel(running.address, TOKEN) as channel:
        with pytest.raises(LookupError, match="'Nope'"):
            method(channel, SERVICE, "Nope")


async def test_mutual_tls_lets_in_only_who_the_authority_knows(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    server = RpcServer(TOKEN, ours.issue("gcs"))
    server.add_service(SERVICE, Sample())
    address = await server.start("127.0.0.1:0")
    try:
        client = ours.issue("raylet")
        async with open_channel(address, TOKEN, client) as channel:
            assert (await method(channel, SERVICE, "Echo")(Frame(kind=1), timeout=LIMIT_S)).kind == 1
        async with open_channel(address, Token(b"wrong"), client) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await method(channel, SERVICE, "Echo")(Frame(kind=1), timeout=LIMIT_S)
            assert failure.value.code() == grpc.StatusCode.UNAUTHENTICATED
        foreign = theirs.issue("stranger")
        mixed = TlsFiles(client.ca, foreign.cert, foreign.key)  # trusts the server, and is not trusted by it
        for tls in (None, foreign, mixed):
            async with open_channel(address, TOKEN, tls) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as failure:
                    await method(channel, SERVICE, "Echo")(Frame(kind=1), timeout=LIMIT_S)
                assert failure.value.code() == grpc.StatusCode.UNAVAILABLE
    finally:
        await server.stop(0)
