"""The allocator: ranges never overlap, are aligned, and all of them come back."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manta_object_manager.arena import ALIGNMENT, Arena, Range, rounded


def test_ranges_are_aligned_and_hold_what_was_asked_for() -> None:
    arena = Arena(1 << 20)
    for size in (1, 63, 64, 65, 1000):
        taken = arena.allocate(size)
        assert taken is not None
        assert taken.offset % ALIGNMENT == 0
        assert taken.size == rounded(size) >= size


def test_an_empty_object_takes_nothing() -> None:
    arena = Arena(ALIGNMENT)
    empty = arena.allocate(0)
    assert empty == Range(0, 0)
    assert arena.allocate(ALIGNMENT) is not None
    arena.free(empty)
    assert arena.available == 0


def test_a_used_range_is_preferred_to_untouched_memory() -> None:
    arena = Arena(1000 * ALIGNMENT)
    first, second = arena.allocate(640), arena.allocate(64)
    assert first is not None and second is not None
    touched = arena.touched
    arena.free(first)
    again = arena.allocate(128)
    assert again is not None and again.offset == first.offset
    assert arena.touched == touched


def test_the_best_fitting_used_range_is_taken() -> None:
    arena = Arena(1000 * ALIGNMENT)
    ranges = [arena.allocate(size * ALIGNMENT) for size in (10, 1, 3, 1, 5, 1)]
    for index in (0, 2, 4):
        assert ranges[index] is not None
        arena.free(ranges[index])  # type: ignore[arg-type]
    taken = arena.allocate(4 * ALIGNMENT)
    assert taken is not None and ranges[4] is not None
    assert taken.offset == ranges[4].offset


def test_a_used_range_beside_the_untouched_tail_is_extended() -> None:
    arena = Arena(10 * ALIGNMENT)
    first = arena.allocate(4 * ALIGNMENT)
    assert first is not None
    arena.free(first)
    assert arena.allocate(10 * ALIGNMENT) == Range(0, 10 * ALIGNMENT)


def test_a_range_is_taken_back_once_only() -> None:
    arena = Arena(10 * ALIGNMENT)
    taken = arena.allocate(1)
    assert taken is not None
    arena.free(taken)
    with pytest.raises(ValueError, match="not handed out"):
        arena.free(taken)


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="holds nothing"):
        Arena(63)
    with pytest.raises(ValueError, match="0 or more"):
        Arena(64).allocate(-1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3000), st.integers(0, 10**6)), max_size=60))
def test_any_sequence_keeps_the_invariants_and_gives_everything_back(steps: list[tuple[bool, int, int]]) -> None:
    arena = Arena(16 * 1024)
    held: list[Range] = []
    for allocate, size, choice in steps:
        if allocate or not held:
            largest = arena.largest()
            taken = arena.allocate(size)
            assert (taken is not None) == (rounded(size) <= largest)
            if taken is not None:
                held.append(taken)
        else:
            arena.free(held.pop(choice % len(held)))
        arena.validate()
    for taken in held:
        arena.free(taken)
    arena.validate()
    assert arena.used == 0
    assert arena.allocate(arena.size) == Range(0, arena.size)


def test_a_hundred_thousand_random_operations() -> None:
    seed = 20_240_607
    rng = random.Random(seed)
    arena = Arena(64 * 1024 * 1024)
    held: list[Range] = []
    owner_of: dict[int, Range] = {}  # 4 KiB page -> the large range that covers it, to see overlaps at once
    for step in range(100_000):
        if held and (rng.random() < 0.5 or len(held) > 2000):
            index = rng.randrange(len(held))
            held[index], held[-1] = held[-1], held[index]
            gone = held.pop()
            for page in range(-(-gone.offset // 4096), gone.end // 4096):
                assert owner_of.pop(page) == gone, f"seed {seed}, step {step}"
            arena.free(gone)
        else:
            taken = arena.allocate(int(rng.expovariate(1 / 20_000)))
            if taken is None:
                continue
            assert taken.offset % ALIGNMENT == 0 and taken.end <= arena.size
            for page in range(-(-taken.offset // 4096), taken.end // 4096):
                assert owner_of.setdefault(page, taken) is taken, f"seed {seed}, step {step}"
            held.append(taken)
        if step % 2_000 == 0:
            arena.validate()
    arena.validate()
    for taken in held:
        arena.free(taken)
    arena.validate()
    assert arena.used == 0
    assert arena.largest() == arena.size
