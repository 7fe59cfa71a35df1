"""Extents at the store: what is asked ahead of the news of an object, and who gives up what when room is short."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import pytest
from google.protobuf.message import Message
from manta_common.ids import NodeId
from manta_object_manager import extent_service
from manta_object_manager.arena import Arena
from manta_object_manager.client_id import ClientId, NotAllowed
from manta_object_manager.extent_service import ExtentService
from manta_object_manager.incoming import Incoming
from manta_object_manager.memory import MARGIN_BYTES, ArenaMemory
from manta_object_manager.node_table import NodeTable, Peer
from manta_object_manager.object_table import ObjectTable
from manta_object_manager.prefetch import Prefetch
from manta_object_manager.pulls import OpenStream, Pulls
from manta_object_manager.reservation import Reservations
from manta_object_manager.store import Store
from manta_object_manager.writes import Writes
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

MIB = 1024 * 1024
HERE = NodeId(b"h" * 28)
NAME = b"a" * 28
M = TypeVar("M", bound=Message)


class Process:
    """A client that keeps what it is sent; `extent` is the one it was granted."""

    def __init__(self, node: Node, number: int) -> None:
        self.id = ClientId(number)
        self.closed = False
        self.sent: list[Message] = []
        self.arrived = asyncio.Event()
        self.node = node
        self.extent = pb.ExtentGranted()

    def send(self, kind: int, message: Message) -> None:
        self.sent.append(message)
        self.arrived.set()

    def seal(self, *, keep_pin: bool = False) -> None:
        request = pb.Seal(object_id=NAME, extent=self.extent.extent, offset=self.extent.offset, size=1000)
        request.keep_pin = keep_pin
        self.node.store.seal(self, request)

    def take(self, kind: type[M]) -> M:
        message = self.sent.pop(0)
        assert isinstance(message, kind), message
        self.arrived.clear()
        return message

    def answer(self, question: pb.ExtentsAsked) -> None:
        self.node.extents.answered(self, pb.ExtentsAnswered(round=question.round))


class NoPuller:
    """Nothing comes from other nodes."""

    def open(self, command: OpenStream, address: str) -> None:
        raise AssertionError(f"nobody is at {address}")

    receive = open  # type: ignore[assignment]

    def stop(self, attempt: int) -> None:
        """There is no stream."""


class Node:
    def __init__(self, size: int = 64 * MIB, available: int = 1 << 40) -> None:
        memory = ArenaMemory(size, available=lambda: available)
        self.table, reservations, writes = ObjectTable(Arena(memory.size)), Reservations(memory), Writes()
        self.extents = ExtentService(self.table, reservations)
        self.prefetch = Prefetch(self.table, memory.size)
        self.store = Store(memory, self.table, reservations, writes, self.extents, self.prefetch)
        self.incoming = Incoming(
            self.table, Pulls(budget=1 << 30, streams=4), NodeTable(), reservations, writes, self.extents, self.prefetch
        )
        self.incoming.attach(NoPuller())  # type: ignore[arg-type]
        self.incoming.own_flight_address = "here:1"
        self.incoming.node_alive(HERE, Peer("here:1", "here:2"))
        self.last = 0

    def process(self) -> Process:
        self.last += 1
        return Process(self, self.last)

    def writer(self, size: int = 4 * MIB) -> Process:
        process = self.process()
        self.extents.wanted(process, pb.ExtentWanted(size=size))
        process.extent = process.take(pb.ExtentGranted)
        assert process.extent.size
        return process


def get(node: Node, reader: Process) -> None:
    node.incoming.get(reader, pb.Get(request_id=1, object_id=NAME, node_ids=[HERE]))


async def test_a_reader_that_is_ahead_of_the_seal_waits_for_it() -> None:
    node = Node()
    writer, reader = node.writer(), node.process()
    get(node, reader)
    question = writer.take(pb.ExtentsAsked)
    assert not reader.sent and not question.give_back
    writer.seal()  # was sent before the question came
    writer.answer(question)
    located = reader.take(pb.Located)
    assert not located.failure.code and located.offset == writer.extent.offset and located.size == 1000
    node.table.validate()


async def test_an_object_that_nobody_wrote_is_lost_once_all_have_answered() -> None:
    node = Node()
    first, second, reader = node.writer(), node.writer(), node.process()
    get(node, reader)
    first.answer(first.take(pb.ExtentsAsked))
    assert not reader.sent
    second.answer(second.take(pb.ExtentsAsked))
    assert reader.take(pb.Located).failure.code == pb.Failure.LOST


async def test_a_reader_does_not_wait_for_a_writer_that_died() -> None:
    node = Node()
    writer, reader = node.writer(), node.process()
    get(node, reader)
    writer.closed = True
    node.store.client_gone(writer)
    node.extents.client_closed(writer)
    assert reader.take(pb.Located).failure.code == pb.Failure.LOST
    assert node.table.extents.bytes == 0


async def test_who_asks_during_a_round_is_served_by_the_next() -> None:
    node = Node()
    writer, first, second = node.writer(), node.process(), node.process()
    other = b"b" * 28
    node.incoming.get(first, pb.Get(request_id=1, object_id=other, node_ids=[HERE]))
    question = writer.take(pb.ExtentsAsked)
    get(node, second)
    assert not writer.sent  # one question at a time
    writer.answer(question)
    assert first.take(pb.Located).failure.code == pb.Failure.LOST and not second.sent
    writer.seal()
    assert writer.take(pb.ExtentsAsked).round > question.round
    writer.answer(pb.ExtentsAsked(round=question.round + 1))
    assert not second.take(pb.Located).failure.code


async def test_another_node_that_is_ahead_of_the_seal_waits_for_it() -> None:
    node = Node()
    writer = node.writer()
    transfer = asyncio.create_task(node.store.pin_for_transfer(NAME, 5))  # type: ignore[arg-type]
    await writer.arrived.wait()
    question = writer.sent.pop()
    assert isinstance(question, pb.ExtentsAsked)
    writer.seal()
    writer.answer(question)
    entry = await transfer
    assert entry is not None and entry.size == 1000


async def test_an_object_that_is_freed_before_its_seal_arrives_does_not_stay() -> None:
    node = Node()
    writer = node.writer()
    node.store.free([NAME])
    question = writer.take(pb.ExtentsAsked)
    writer.seal(keep_pin=True)
    assert len(node.table) == 1  # pinned
    node.store.release(writer, pb.Release(object_ids=[NAME]))
    assert len(node.table) == 0
    writer.answer(question)
    node.table.validate()


async def test_an_object_that_is_made_after_the_free_stays() -> None:
    node = Node()
    writer, slow = node.writer(), node.writer()
    node.store.free([NAME])
    writer.answer(writer.take(pb.ExtentsAsked))
    writer.seal()  # by another attempt of its task
    assert len(node.table) == 1
    slow.answer(slow.take(pb.ExtentsAsked))
    assert len(node.table) == 1


async def test_room_is_asked_back_before_the_arena_is_full() -> None:
    node = Node()
    writer, other = node.writer(), node.process()
    node.store.create(other, pb.Create(request_id=1, object_id=b"b" * 28, size=62 * MIB))
    question = writer.take(pb.ExtentsAsked)
    assert question.give_back and not other.sent
    back = pb.ExtentReturned.Part(extent=writer.extent.extent, offset=writer.extent.offset, size=writer.extent.size)
    node.extents.returned(writer, pb.ExtentReturned(parts=[back]))
    writer.answer(question)
    created = await _created(other)
    assert not created.failure.code
    node.table.validate()


async def test_room_that_is_being_written_to_stays_and_the_arena_is_full() -> None:
    node = Node()
    writer, other = node.writer(), node.process()
    node.store.create(other, pb.Create(request_id=1, object_id=b"b" * 28, size=62 * MIB))
    writer.answer(writer.take(pb.ExtentsAsked))
    created = await _created(other)
    assert created.failure.code == pb.Failure.FULL and f"{4 * MIB} of them pinned" in created.failure.message


async def test_a_client_that_does_not_answer_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extent_service, "ROOM_S", 0.01)
    node = Node()
    writer, other = node.writer(), node.process()
    request = pb.Create(request_id=1, object_id=b"b" * 28, size=62 * MIB)
    node.store.create(other, request)
    assert (await _created(other)).failure.code == pb.Failure.FULL
    writer.sent.clear()
    node.store.create(other, request)
    assert other.take(pb.Created).failure.code == pb.Failure.FULL and not writer.sent


async def test_an_extent_without_memory_behind_it_is_refused() -> None:
    node = Node(available=MARGIN_BYTES)
    process = node.process()
    node.extents.wanted(process, pb.ExtentWanted(size=4 * MIB))
    assert process.take(pb.ExtentGranted).size == 0
    assert node.table.extents.bytes == 0


async def test_a_seal_outside_of_its_extent_is_refused() -> None:
    node = Node()
    writer, thief = node.writer(), node.writer()
    thief.extent = writer.extent
    with pytest.raises(NotAllowed, match="not held by this process"):
        thief.seal()
    description = node.store.describe(pb.DescribeRequest())
    assert description.extents == 8 * MIB and description.used == 0


async def _created(process: Process) -> pb.Created:
    async with asyncio.timeout(5):
        while not process.sent:
            process.arrived.clear()
            await process.arrived.wait()
    return process.take(pb.Created)
