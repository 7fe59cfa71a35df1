"""The memfd: sealed, reserved before use, and refused rather than overcommitted."""

import mmap
import os

import pytest
from manta_object_manager.memory import MARGIN_BYTES, STEP_BYTES, ArenaMemory, MemoryShort, available_memory

MIB = 1024 * 1024


def test_the_arena_cannot_shrink_or_grow() -> None:
    memory = ArenaMemory(1 * MIB)
    for size in (0, 2 * MIB):
        with pytest.raises(PermissionError):
            os.ftruncate(memory.descriptor, size)


def test_the_readers_descriptor_cannot_be_mapped_for_writing() -> None:
    memory = ArenaMemory(1 * MIB)
    with pytest.raises(PermissionError):
        mmap.mmap(memory.read_descriptor, memory.size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    memory.view[:3] = b"abc"
    readable = mmap.mmap(memory.read_descriptor, memory.size, mmap.MAP_SHARED, mmap.PROT_READ)
    assert readable[:3] == b"abc"


def test_memory_is_reserved_in_steps_and_once() -> None:
    memory = ArenaMemory(10 * MIB)
    assert os.fstat(memory.descriptor).st_blocks == 0
    memory.reserve(1)
    assert memory.reserved == STEP_BYTES
    assert os.fstat(memory.descriptor).st_blocks * 512 >= STEP_BYTES
    memory.reserve(STEP_BYTES)
    assert memory.reserved == STEP_BYTES
    memory.reserve(10 * MIB)
    assert memory.reserved == memory.size


def test_what_the_machine_does_not_have_is_refused_and_nothing_is_reserved() -> None:
    memory = ArenaMemory(64 * MIB, available=lambda: MARGIN_BYTES + 8 * MIB)
    with pytest.raises(MemoryShort, match=f"{64 * MIB} more bytes .* {8 * MIB} to give"):
        memory.reserve(64 * MIB)
    assert memory.reserved == 0
    memory.reserve(8 * MIB)


def test_an_arena_larger_than_the_machine_is_refused_when_it_is_touched() -> None:
    memory = ArenaMemory(available_memory() * 4)
    with pytest.raises(MemoryShort):
        memory.reserve(memory.size)
