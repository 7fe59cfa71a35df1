"""Views of the arena's memory: read-only, in place, and a pin lasts as long as the last of them."""

from __future__ import annotations

import gc
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from ray._runtime.arena.copying import copy_into
from ray._runtime.arena.pins import Mapping, View
from ray._runtime.values import serialization

OBJECT = b"o" * 28
SIZE = 1 << 20
OFFSET = 4096


@pytest.fixture
def mapping() -> Iterator[Mapping]:
    arena = os.memfd_create("arena")
    os.ftruncate(arena, SIZE)
    reading = os.open(f"/proc/self/fd/{arena}", os.O_RDONLY)
    yield Mapping(SIZE, arena, reading)
    os.close(reading)
    os.close(arena)


class Stored:
    """A value in the arena; `ended` are the threads on which its views have ended."""

    def __init__(self, mapping: Mapping, value: Any) -> None:
        serialized = serialization.serialize(value)
        self.mapping = mapping
        self.size = serialized.stored_size()
        serialized.write_to(mapping.writable[OFFSET : OFFSET + self.size], copy_into)
        self.ended: list[int] = []

    def view(self) -> View:
        pin = self.mapping.find(OBJECT) or self.mapping.adopt(OBJECT, OFFSET, self.size)
        return View(pin, lambda _: self.ended.append(threading.get_ident()))

    def load(self) -> Any:
        view = self.view()
        kind, stream, extents = serialization.read_layout(view.readable)
        buffer = view.buffer
        return serialization.load(kind, stream, [buffer[at : at + length] for at, length in extents])

    def is_within(self, address: int) -> bool:
        begin = np.frombuffer(self.mapping.readable, dtype="u1").__array_interface__["data"][0]
        return bool(begin + OFFSET <= address < begin + OFFSET + self.size)


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def test_a_buffer_shows_the_bytes_that_are_there_now_and_takes_none(mapping: Mapping) -> None:
    pin = mapping.adopt(OBJECT, OFFSET, 100)
    buffer = pin.buffer
    mapping.writable[OFFSET : OFFSET + 3] = b"abc"
    assert buffer[:3] == b"abc" and buffer.nbytes == 100 and buffer.format == "B"
    assert buffer.readonly and pin.readable == buffer
    with pytest.raises(TypeError, match="read-only"):
        buffer[0] = 1


def test_arrays_are_aligned_and_cannot_be_made_writable(mapping: Mapping) -> None:
    stored = Stored(mapping, [np.arange(1000), np.ones(7, dtype="u1"), np.ones((3, 5), order="F")])
    arrays = stored.load()
    assert [address(array) % 64 for array in arrays] == [0, 0, 0]
    assert all(stored.is_within(address(array)) for array in arrays)
    assert arrays[0].sum() == 499_500 and arrays[2].flags.f_contiguous
    with pytest.raises(ValueError, match="WRITEABLE"):
        arrays[0].flags.writeable = True


VIEWS: dict[str, Callable[[Any], Any]] = {
    "a slice": lambda array: array[10:20],
    "a view of a view's view": lambda array: array[10:][5:].view("u1")[::2],
    "a memoryview": memoryview,
    "a slice of a cast memoryview": lambda array: memoryview(array).cast("B")[1:2],
    "an array over a memoryview": lambda array: np.asarray(memoryview(array))[3:],
    "an Arrow buffer": lambda array: pa.py_buffer(array).slice(8, 8),
    "an Arrow array": lambda array: pa.array(array)[:5].slice(1),
    "a pickle buffer": lambda array: pickle.PickleBuffer(array),
    "an array that travelled by buffers again": lambda array: _sent_on(array),
    "a frame": lambda array: pd.DataFrame({"a": array}, copy=False),
}


def _sent_on(array: Any) -> Any:
    buffers: list[Any] = []
    return pickle.loads(pickle.dumps(array, protocol=5, buffer_callback=buffers.append), buffers=buffers)


@pytest.mark.parametrize("name", VIEWS)
def test_the_last_of_all_views_holds_the_pin(mapping: Mapping, name: str) -> None:
    stored = Stored(mapping, np.arange(1000))
    array = stored.load()
    kept = VIEWS[name](array)
    del array
    gc.collect()
    assert stored.ended == [] and mapping.pins == 1
    del kept
    gc.collect()
    assert len(stored.ended) == 1 and mapping.pins == 0 and mapping.find(OBJECT) is None


def test_an_arrow_table_and_a_frame_lie_in_place_and_hold_the_pin(mapping: Mapping) -> None:
    frame = pd.DataFrame({"a": np.arange(500), "b": np.linspace(0, 1, 500)})
    table = pa.table({"number": np.arange(500), "text": [str(number) for number in range(500)]})
    stored = Stored(mapping, (table, frame))
    got_table, got_frame = stored.load()
    pd.testing.assert_frame_equal(got_frame, frame)
    assert got_table.equals(table)
    column = got_table["number"].chunk(0).to_numpy()
    assert stored.is_within(address(column)) and stored.is_within(address(got_frame["b"].to_numpy()))
    del got_table, got_frame
    gc.collect()
    assert stored.ended == [] and column[-1] == 499
    del column
    gc.collect()
    assert len(stored.ended) == 1 and mapping.pins == 0


def test_each_read_ends_by_itself_and_the_pin_with_the_last(mapping: Mapping) -> None:
    stored = Stored(mapping, np.arange(1000))
    first, second = stored.load(), stored.load()
    del first
    assert len(stored.ended) == 1 and mapping.pins == 1
    assert second[-1] == 999
    del second
    assert len(stored.ended) == 2 and mapping.pins == 0


def test_a_read_without_buffers_ends_with_it(mapping: Mapping) -> None:
    stored = Stored(mapping, list(range(100)))
    assert stored.load() == list(range(100))
    assert len(stored.ended) == 1 and mapping.pins == 0


def test_the_last_view_may_end_on_another_thread(mapping: Mapping) -> None:
    stored = Stored(mapping, np.arange(1000))
    kept = [stored.load()]
    thread = threading.Thread(target=kept.clear)
    thread.start()
    ident = thread.ident
    thread.join(10)
    assert stored.ended == [ident] and mapping.pins == 0


def test_a_view_holds_the_memory_that_its_mapping_is_gone_from() -> None:
    arena = os.memfd_create("arena")
    os.ftruncate(arena, SIZE)
    stored = Stored(Mapping(SIZE, arena, arena), np.arange(1000))
    os.close(arena)
    array, part = stored.load(), stored.view().buffer[:4]
    del stored
    gc.collect()
    assert array.sum() == 499_500 and len(part.tobytes()) == 4


def test_buffers_of_all_sizes_are_of_one_type(mapping: Mapping) -> None:
    pin = mapping.adopt(OBJECT, 0, SIZE)
    kinds = {type(mapping.buffer(OFFSET, size, pin).obj) for size in range(1, 100)}
    assert len(kinds) == 1, "ctypes keeps the array type of each length for ever"
