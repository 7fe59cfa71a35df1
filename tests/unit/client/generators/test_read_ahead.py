"""Items brought ahead of their reader: what becomes of a copy that arrives after its item was freed."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from ray._runtime.arena.pins import Pinned
from ray._runtime.generators.read_ahead import ReadAhead
from ray._runtime.objects.object_table import ObjectTable
from ray._runtime.values.wire import item_id

ITEM = b"i" * 28
HERE, THERE = b"here", b"there"


class StandIn:
    """The process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects = ObjectTable()
        self.node_id = HERE
        self.to_free: list[tuple[bytes, list[bytes]]] = []
        self.kept: list[bytes] = []
        self.asked = 0
        self.reads: Any = self
        self.drops: Any = self

    def keep(self, object_id: bytes, pin: Pinned) -> None:
        self.kept.append(object_id)

    def ask(self) -> None:
        self.asked += 1


def arrived(process: StandIn) -> None:
    ReadAhead(process)._keep(ITEM, Pinned(None, ITEM, 0, 64))  # type: ignore[arg-type]


def test_a_copy_that_arrives_is_kept_and_freed_with_the_others() -> None:
    process = StandIn()
    process.objects.create(ITEM)
    process.objects.set_stored(ITEM, 64, (THERE,))
    arrived(process)
    entry = process.objects.get(ITEM)
    assert entry is not None and entry.nodes == (THERE, HERE)
    assert process.kept == [ITEM] and not process.to_free


def test_a_copy_that_arrives_after_its_item_was_freed_is_freed_too() -> None:
    process = StandIn()
    arrived(process)
    assert process.to_free == [(ITEM, [HERE])] and process.asked == 1
    assert not process.kept


@pytest.mark.parametrize(("arena_mib", "wanted"), [(1024, 3), (160, 2), (100, 1), (60, 0)])
def test_what_is_on_its_way_takes_an_eighth_of_a_small_arena(arena_mib: int, wanted: int) -> None:
    process: Any = StandIn()
    process.arena = SimpleNamespace(size=arena_mib << 20)
    call: Any = SimpleNamespace(task_id=b"t" * 24, ahead=0, stream=SimpleNamespace(arrived=5))
    for index in range(5):
        object_id = item_id(call.task_id, index)
        process.objects.create(object_id)
        process.objects.set_stored(object_id, 10 << 20, (THERE,))
    assert len(ReadAhead(process)._wanted(call, 1)) == wanted
