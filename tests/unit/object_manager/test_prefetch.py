"""Arguments brought ahead: pinned until their task asks, and in nobody's way."""

from __future__ import annotations

import asyncio

import pytest
from manta_common.ids import NodeId, ObjectId, WorkerId
from manta_object_manager import prefetch as module
from manta_object_manager.arena import Arena
from manta_object_manager.client_id import PREFETCHES, ClientId
from manta_object_manager.client_link import Client
from manta_object_manager.messages import located
from manta_object_manager.object_table import Copy, Entry, ObjectTable, Owner
from manta_object_manager.prefetch import Prefetch
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

OWNER = Owner(NodeId(b"n" * 28), WorkerId(b"w" * 28))
WRITER, READER = ClientId(10), ClientId(11)


def name(number: int) -> ObjectId:
    return ObjectId(number.to_bytes(28, "big"))


class Node:
    """Brings an object when told to, as pulls do."""

    def __init__(self, size: int = 64000) -> None:
        self.table = ObjectTable(Arena(size))
        self.prefetch = Prefetch(self.table, size)
        self.asked: list[pb.Get] = []

    def want(self, *numbers: int, size: int = 1000) -> None:
        items = [pb.Prefetch.Item(object_id=name(number), size=size, node_ids=[b"o" * 28]) for number in numbers]
        self.prefetch.wanted(pb.Prefetch(items=items), self.bring)

    def bring(self, client: Client, request: pb.Get) -> None:
        assert client is self.prefetch
        self.asked.append(request)

    def write(self, number: int, copy: Copy = Copy.SECONDARY) -> None:
        assert isinstance(self.table.create(WRITER, name(number), 1000, OWNER, copy), Entry)
        self.table.seal(WRITER, name(number), keep_pin=False)

    def arrive(self) -> None:
        request = self.asked.pop(0)
        object_id = ObjectId(request.object_id)
        assert isinstance(self.table.create(WRITER, object_id, 1000, OWNER, Copy.SECONDARY), Entry)
        self.table.seal(WRITER, object_id, keep_pin=True)
        entry = self.table.pin(PREFETCHES, object_id)
        assert entry is not None
        self.prefetch.send(pb.LOCATED, located(request.request_id, entry))
        self.table.release(WRITER, object_id)


async def test_what_arrives_is_pinned_until_its_task_asks() -> None:
    node = Node()
    node.want(1, 2)
    node.want(2)
    assert [request.object_id for request in node.asked] == [name(1), name(2)]
    node.arrive()
    assert node.prefetch.pinned == 1 and node.table.evict() is None
    node.prefetch.release(name(1))
    node.prefetch.release(name(2))  # still on its way
    assert node.prefetch.pinned == 0
    node.arrive()
    node.prefetch.release_all()
    node.table.validate()
    assert node.table.pinned_bytes == 0
    node.want(1)
    assert len(node.asked) == 1


async def test_one_that_fails_is_forgotten_and_may_be_asked_for_again() -> None:
    node = Node()
    node.want(1)
    failure = pb.Failure(code=pb.Failure.LOST, message="nowhere")
    node.prefetch.send(pb.LOCATED, pb.Located(request_id=node.asked.pop().request_id, failure=failure))
    assert node.prefetch.pinned == 0
    node.want(1)
    assert len(node.asked) == 1


async def test_no_more_than_a_quarter_of_the_arena_is_brought_ahead() -> None:
    node = Node()
    node.want(*range(1, 8), size=4000)
    assert len(node.asked) == 4
    node.arrive()
    node.prefetch.release_all()
    node.want(*range(1, 8), size=4000)
    assert len(node.asked) == 4 and node.asked[0].object_id == name(2)


async def test_what_was_made_here_needs_no_pin() -> None:
    node = Node()
    node.write(1, Copy.PRIMARY)
    node.want(1)
    assert not node.asked


async def test_a_task_that_asked_during_the_transfer_has_its_own_pin() -> None:
    node = Node()
    node.want(1)
    node.arrive()
    node.table.pin(READER, name(1))
    await asyncio.sleep(0)
    assert node.prefetch.pinned == 0
    entry = node.table.find(name(1))
    assert entry is not None and entry.pins == {READER: 1}


async def test_a_task_that_never_starts_does_not_keep_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_S", 0.0)
    node = Node()
    node.want(1)
    node.arrive()
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.001, later.set)
    await later.wait()
    assert node.prefetch.pinned == 0
    assert node.table.evict() is not None


async def test_what_is_freed_on_its_way_or_while_it_waits_is_kept_for_nobody() -> None:
    node = Node()
    node.want(1, 2, 3)
    node.prefetch.freed(name(1))
    node.arrive()
    node.arrive()
    assert [entry.object_id for entry in node.table] == [name(2)]
    node.table.drop_owners([OWNER.worker_id])
    node.prefetch.release_freed()
    assert not list(node.table) and node.prefetch.pinned == 0
    node.arrive()  # its owner is dead: it is freed as it comes
    assert not list(node.table) and node.prefetch.pinned == 0
    node.table.validate()
    node.want(1)
    assert len(node.asked) == 1, "it may be asked for again"
