"""The store: what clients are told when memory runs short or a writer goes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from google.protobuf.message import Message
from manta_object_manager.arena import Arena
from manta_object_manager.client_id import ClientId
from manta_object_manager.extent_service import ExtentService
from manta_object_manager.incoming import Incoming
from manta_object_manager.memory import MARGIN_BYTES, ArenaMemory
from manta_object_manager.node_table import NodeTable
from manta_object_manager.object_table import ObjectTable
from manta_object_manager.prefetch import Prefetch
from manta_object_manager.pulls import OpenStream, Pulls
from manta_object_manager.reservation import Reservations
from manta_object_manager.store import Store
from manta_object_manager.writes import Writes
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

MIB = 1024 * 1024


@dataclass(eq=False)
class RecordedClient:
    """A connection that keeps what it is sent."""

    id: ClientId
    closed: bool = False
    sent: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)

    def send(self, kind: int, message: Message) -> None:
        self.sent.put_nowait(message)

    async def reply(self) -> Message:
        async with asyncio.timeout(5):
            return await self.sent.get()


class NoPuller:
    """A node without neighbours."""

    def open(self, command: OpenStream, address: str) -> None:
        raise AssertionError(f"nobody is at {address}")

    receive = stop = open  # type: ignore[assignment]


def both_of(size: int, available: int = 1 << 40) -> tuple[Store, Incoming]:
    memory = ArenaMemory(size, available=lambda: available)
    table, reservations, writes = ObjectTable(Arena(memory.size)), Reservations(memory), Writes()
    extents, prefetch = ExtentService(table, reservations), Prefetch(table, memory.size)
    incoming = Incoming(table, Pulls(budget=1, streams=1), NodeTable(), reservations, writes, extents, prefetch)
    incoming.attach(NoPuller())  # type: ignore[arg-type]
    return Store(memory, table, reservations, writes, extents, prefetch), incoming


def store_of(size: int, available: int = 1 << 40) -> Store:
    return both_of(size, available)[0]


async def test_an_untouched_range_without_memory_behind_it_is_full_and_not_a_crash() -> None:
    store = store_of(64 * MIB, available=MARGIN_BYTES + 8 * MIB)
    client = RecordedClient(ClientId(1))
    for size in (2 * MIB, 32 * MIB):  # one is refused at once, one by the reserving thread
        store.create(client, pb.Create(request_id=1, object_id=bytes([size >> 20]) * 28, size=size))
    first, second = await client.reply(), await client.reply()
    assert isinstance(first, pb.Created) and not first.failure.code
    assert isinstance(second, pb.Created) and second.failure.code == pb.Failure.FULL
    assert f"{32 * MIB} bytes" in second.failure.message and "8388608" not in second.failure.message[:40]
    assert len(store.table) == 1
    store.table.validate()


async def test_a_writer_that_dies_while_memory_is_reserved_leaves_nothing() -> None:
    store, incoming = both_of(64 * MIB)
    client, other = RecordedClient(ClientId(1)), RecordedClient(ClientId(2))
    store.create(client, pb.Create(request_id=1, object_id=b"a" * 28, size=64 * MIB))
    client.closed = True
    incoming.client_closed(client)
    store.client_gone(client)
    store.create(other, pb.Create(request_id=2, object_id=b"b" * 28, size=64 * MIB))
    created = await other.reply()
    assert isinstance(created, pb.Created) and not created.failure.code
    assert client.sent.empty()
    assert len(store.table) == 1


async def test_a_second_attempt_waits_for_the_first_and_takes_over_when_it_dies() -> None:
    store = store_of(MIB)
    first, second, third = (RecordedClient(ClientId(number)) for number in (1, 2, 3))
    request = pb.Create(request_id=1, object_id=b"a" * 28, size=100)
    store.create(first, request)
    await first.reply()
    store.create(second, request)
    store.create(third, request)
    assert second.sent.empty()
    store.client_gone(first)
    created = await second.reply()
    assert isinstance(created, pb.Created) and not created.exists and not created.failure.code
    assert third.sent.empty()
    store.seal(second, pb.Seal(object_id=b"a" * 28))
    repeated = await third.reply()
    assert isinstance(repeated, pb.Created) and repeated.exists
    store.table.validate()


async def test_a_get_that_is_cancelled_is_not_answered() -> None:
    store, incoming = both_of(MIB)
    writer, reader = RecordedClient(ClientId(1)), RecordedClient(ClientId(2))
    store.create(writer, pb.Create(request_id=1, object_id=b"a" * 28, size=100))
    incoming.get(reader, pb.Get(request_id=7, object_id=b"a" * 28))
    incoming.cancel_get(reader, pb.GetCancelled(request_id=7))
    store.seal(writer, pb.Seal(object_id=b"a" * 28))
    assert reader.sent.empty()
    assert store.describe(pb.DescribeRequest()).pins_count == 0


async def test_a_transfer_waits_for_the_writer() -> None:
    store = store_of(MIB)
    writer = RecordedClient(ClientId(1))
    store.create(writer, pb.Create(request_id=1, object_id=b"a" * 28, size=100))
    waiting = asyncio.create_task(store.pin_for_transfer(b"a" * 28, 5))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    store.seal(writer, pb.Seal(object_id=b"a" * 28))
    entry = await waiting
    assert entry is not None and entry.size == 100
    store.free([b"a" * 28])
    assert len(store.table) == 1
    store.unpin_transfer(entry.object_id)
    assert len(store.table) == 0
