import asyncio
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from manta_common.channel import unix_asyncio
from manta_common.channel.framing import FrameDecoder, encode_frame
from manta_common.channel.hello import REFUSED, HelloRefused, hello_bytes
from manta_common.channel.paths import short_path
from manta_common.channel.unix_asyncio import Connection, ConnectionClosed, UnixServer, connect_unix, serve_unix
from manta_common.credentials import Token
from manta_common.version import PROTOCOL, Version
from manta_proto.common.v1.common_pb2 import Hello, Refused, Welcome

TOKEN = Token(b"the-cluster-token")
LIMIT_S = 10.0


async def echo(connection: Connection, hello: Hello) -> None:
    async for kind, payload in connection:
        connection.send(kind, payload)
        await connection.drain()


@asynccontextmanager
async def serving(path: Path, handler: unix_asyncio.Handler = echo, **options: object) -> AsyncIterator[UnixServer]:
    server = await serve_unix(path, TOKEN, handler, **options)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.close()
        await asyncio.wait_for(server.wait_closed(), LIMIT_S)


async def next_frame(connection: Connection) -> tuple[int, bytes]:
    return await asyncio.wait_for(anext(connection), LIMIT_S)


async def raw_exchange(path: Path, data: bytes) -> bytes:
    """Send bytes as they are and return all that comes back until the end."""
    with short_path(path) as usable:
        reader, writer = await asyncio.open_unix_connection(usable)
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(-1), LIMIT_S)
    writer.close()
    return answer


def refusal_in(answer: bytes) -> str:
    [(kind, payload)] = FrameDecoder().feed(answer)
    assert kind == REFUSED
    return Refused.FromString(payload).reason


async def test_frames_and_messages_go_both_ways(tmp_path: Path) -> None:
    def welcome(connection: Connection, hello: Hello) -> Welcome:
        return Welcome(node_id=b"node", details=hello.name.encode())

    async with serving(tmp_path / "s", welcome=welcome) as server:
        connection = await connect_unix(tmp_path / "s", TOKEN, Hello(name="driver", pid=7))
        assert connection.welcome == Welcome(node_id=b"node", details=b"driver")
        assert connection.peer_pid == os.getpid()
        [accepted] = server.connections
        assert accepted.hello == Hello(name="driver", pid=7) and accepted.peer_pid == os.getpid()
        large = os.urandom(3_000_000)
        for kind, payload in [(10, b"small"), (11, b""), (12, large)]:
            connection.send(kind, payload)
            assert await next_frame(connection) == (kind, payload)
        connection.send(13, Refused(reason="a message"))
        assert await next_frame(connection) == (13, Refused(reason="a message").SerializeToString())
        connection.close()
        await asyncio.wait_for(connection.wait_closed(), LIMIT_S)
        with pytest.raises(ConnectionClosed):
            connection.send(1, b"")


async def test_the_socket_is_private_and_goes_with_its_server(tmp_path: Path) -> None:
    path = tmp_path / "s"
    old = os.umask(0)
    try:
        async with serving(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(old)
    assert not path.exists()


async def test_a_200_byte_path_works_at_both_ends(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    path = folder / "1a2b3c4d.sock"
    async with serving(path):
        connection = await connect_unix(path, TOKEN, Hello())
        connection.send(10, b"far")
        assert await next_frame(connection) == (10, b"far")
        connection.close()
    assert not path.exists()


async def test_a_stale_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    async with serving(path):
        with pytest.raises(OSError, match="another process serves"):
            await serve_unix(path, TOKEN, echo)
        (await connect_unix(path, TOKEN, Hello())).close()
    path.write_text("a user's file")
    with pytest.raises(FileExistsError):
        await serve_unix(path, TOKEN, echo)
    assert path.read_text() == "a user's file"


async def test_a_wrong_token_is_refused_with_a_reason_that_shows_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path / "s"):
        with pytest.raises(HelloRefused, match="MANTA_TOKEN") as refusal:
            await connect_unix(tmp_path / "s", Token(b"guessed"), Hello())
    assert "guessed" not in str(refusal.value) and "the-cluster-token" not in str(refusal.value)
    [record] = [record for record in caplog.records if record.getMessage() == "connection_refused"]
    assert "MANTA_TOKEN" in record.fields["reason"]  # type: ignore[attr-defined]


async def test_one_minor_behind_works_and_two_are_refused_naming_both(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        near = Version(PROTOCOL.major, PROTOCOL.minor - 1)
        (await connect_unix(tmp_path / "s", TOKEN, Hello(), version=near)).close()
        far = Version(PROTOCOL.major, PROTOCOL.minor - 2)
        with pytest.raises(HelloRefused) as refusal:
            await connect_unix(tmp_path / "s", TOKEN, Hello(), version=far)
        assert str(far) in str(refusal.value) and str(PROTOCOL) in str(refusal.value)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "first bytes"),
        (os.urandom(3) + b"\x00" * 200_000, "first bytes"),
        (hello_bytes(TOKEN, PROTOCOL, b"\xff\xff\xff"), "cannot be parsed"),
    ],
)
async def test_a_wrong_first_message_ends_only_that_connection(tmp_path: Path, data: bytes, named: str) -> None:
    async with serving(tmp_path / "s") as server:
        good = await connect_unix(tmp_path / "s", TOKEN, Hello())
        assert named in refusal_in(await raw_exchange(tmp_path / "s", data))
        good.send(10, b"still here")
        assert await next_frame(good) == (10, b"still here")
        assert len(server.connections) == 1


async def test_a_malformed_frame_ends_only_that_connection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path / "s", max_frame_bytes=1000):
        good = await connect_unix(tmp_path / "s", TOKEN, Hello())
        bad = await connect_unix(tmp_path / "s", TOKEN, Hello())
        bad.send(10, b"x" * 2000)
        with pytest.raises(StopAsyncIteration):
            await next_frame(bad)
        good.send(10, b"still here")
        assert await next_frame(good) == (10, b"still here")
    reasons = [record.fields["reason"] for record in caplog.records if hasattr(record, "fields")]
    assert "a frame announces 2002 bytes; allowed are 2 to 1000" in reasons


async def test_a_peer_that_says_nothing_is_let_go(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", hello_timeout_s=0.05):
        assert "no complete hello" in refusal_in(await raw_exchange(tmp_path / "s", b"MNTA"))


async def test_frames_sent_with_the_hello_are_not_lost(tmp_path: Path) -> None:
    received: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

    async def keep(connection: Connection, hello: Hello) -> None:
        async for frame in connection:
            received.put_nowait(frame)

    async with serving(tmp_path / "s", keep):
        data = (
            hello_bytes(TOKEN, PROTOCOL, Hello().SerializeToString()) + encode_frame(10, b"a") + encode_frame(11, b"b")
        )
        _, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(data)
        assert await asyncio.wait_for(received.get(), LIMIT_S) == (10, b"a")
        assert await asyncio.wait_for(received.get(), LIMIT_S) == (11, b"b")
        writer.close()


async def test_a_peer_that_does_not_read_loses_its_connection_and_nobody_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def flood(connection: Connection, hello: Hello) -> None:
        try:
            while True:  # never awaits: send must return at once
                connection.send(10, b"x" * 100_000)
        except ConnectionClosed as error:
            outcome.set_result(str(error))

    async with serving(tmp_path / "s", flood, send_limit_bytes=5_000_000):
        connection = await connect_unix(tmp_path / "s", TOKEN, Hello())
        connection._transport.pause_reading()  # type: ignore[union-attr]
        assert "the peer does not read" in await asyncio.wait_for(outcome, LIMIT_S)
        connection.close()
    assert "connection_broken" in [record.getMessage() for record in caplog.records]


async def test_a_slow_reader_slows_the_sender_through_drain(tmp_path: Path) -> None:
    total = 150
    chunk = b"x" * 1_000_000

    async def produce(connection: Connection, hello: Hello) -> None:
        for _ in range(total):
            connection.send(10, chunk)
            await connection.drain()
            assert connection._transport is not None
            assert connection._transport.get_write_buffer_size() <= 1024 * 1024

    async with serving(tmp_path / "s", produce):
        connection = await connect_unix(tmp_path / "s", TOKEN, Hello())
        sizes = [len(payload) async for _, payload in connection]
    assert sizes == [len(chunk)] * total
    assert connection.reason == "closed by the peer"


async def test_a_failing_handler_ends_only_its_connection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def fail_on_request(connection: Connection, hello: Hello) -> None:
        async for kind, payload in connection:
            if kind == 99:
                raise LookupError("no such thing")
            connection.send(kind, payload)

    async with serving(tmp_path / "s", fail_on_request):
        bad = await connect_unix(tmp_path / "s", TOKEN, Hello())
        good = await connect_unix(tmp_path / "s", TOKEN, Hello())
        bad.send(99, b"")
        with pytest.raises(StopAsyncIteration):
            await next_frame(bad)
        good.send(10, b"still here")
        assert await next_frame(good) == (10, b"still here")
    assert "connection_failed" in [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


async def test_another_users_process_is_refused_on_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path / "s"):
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(PermissionError, match="runs as uid"):
            await connect_unix(tmp_path / "s", TOKEN, Hello())
        assert "runs as uid" in refusal_in(await raw_exchange(tmp_path / "s", b"MNTA"))


async def test_closing_the_server_ends_its_connections_and_cancels_its_handlers(tmp_path: Path) -> None:
    cancelled = asyncio.Event()

    async def wait_for_ever(connection: Connection, hello: Hello) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    async with serving(tmp_path / "s", wait_for_ever) as server:
        connection = await connect_unix(tmp_path / "s", TOKEN, Hello())
        server.close()
        with pytest.raises(StopAsyncIteration):
            await next_frame(connection)
        await asyncio.wait_for(cancelled.wait(), LIMIT_S)


async def test_with_nobody_there_the_error_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "nobody")):
        await connect_unix(tmp_path / "nobody", TOKEN, Hello())
