"""Extents at a client: when it asks for one, what it carves and what it gives back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from ray._runtime.arena.extents import OFTEN_S, PAUSE_S, Extents, Part

MIB = 1024 * 1024
ARENA = 1024 * MIB


def holding(*sizes: int) -> Extents:
    extents = Extents(ARENA)
    for number, size in enumerate(sizes, 1):
        extents.granted(Part(number, number * 100 * MIB, size), 0.0)
        if number < len(sizes):
            extents.carve(64, 0.0)
    return extents


def test_one_large_write_asks_for_nothing_and_two_in_a_row_do() -> None:
    extents = Extents(ARENA)
    assert extents.carve(MIB, 0.0) == (None, [])
    assert extents.wish(MIB, 0.0) == 0
    assert extents.wish(MIB, OFTEN_S) == 0
    assert extents.wish(MIB, OFTEN_S + 0.5) == 16 * MIB
    assert extents.wish(MIB, OFTEN_S + 0.6) == 0  # it asked


def test_the_wish_grows_with_the_objects_between_bounds() -> None:
    for size, wish in ((100_000, 4 * MIB), (MIB, 16 * MIB), (8 * MIB, 64 * MIB), (90 * MIB + 1, 90 * MIB + 64)):
        extents = Extents(2 * ARENA)
        extents.wish(size, 0.0)
        assert extents.wish(size, 0.1) == wish


def test_large_objects_are_asked_for_one_by_one() -> None:
    assert Extents(ARENA).suits(64 * MIB) and not Extents(ARENA).suits(64 * MIB + 1)


def test_parts_follow_each_other_and_the_next_extent_is_asked_for_at_half() -> None:
    extents = holding(4 * MIB)
    extents.wish(MIB, 0.0)
    start = 100 * MIB
    asked = []
    for number in range(4):
        part, over = extents.carve(MIB - 60, 0.1)
        assert part == Part(1, start + number * MIB, MIB) and not over
        asked.append(extents.wish(MIB, 0.1))
    assert asked == [0, 0, 16 * MIB, 0]
    assert extents.carve(64, 0.1) == (None, []) and not extents.holds


def test_what_is_left_of_an_extent_goes_back_when_the_next_is_begun() -> None:
    extents = holding(MIB)
    extents.carve(MIB - 128, 0.0)
    extents.granted(Part(2, 0, 4 * MIB), 0.0)
    assert extents.carve(MIB, 0.0) == (Part(2, 0, MIB), [Part(1, 101 * MIB - 128, 128)])


def test_a_refusal_and_a_lack_of_room_are_a_pause() -> None:
    extents = Extents(ARENA)
    extents.wish(MIB, 0.0)
    assert extents.wish(MIB, 0.1)
    extents.granted(Part(0, 0, 0), 0.2)
    assert extents.wish(MIB, 0.2 + PAUSE_S - 0.1) == 0
    assert extents.wish(MIB, 0.2 + PAUSE_S) == 16 * MIB
    extents.granted(Part(1, 0, 16 * MIB), 2.0)
    extents.carve(MIB, 2.0)
    assert extents.give_back(2.1) == [Part(1, MIB, 15 * MIB)]
    assert not extents.holds and extents.carve(MIB, 2.1) == (None, [])
    assert extents.wish(MIB, 2.2) == 0


def test_what_is_idle_goes_back() -> None:
    extents = holding(MIB)
    extents.carve(64, 5.0)
    assert extents.expire(5.0 + OFTEN_S - 0.1) == []
    assert extents.expire(5.0 + OFTEN_S) == [Part(1, 100 * MIB + 64, MIB - 64)]
    assert not extents.holds


def test_what_is_taken_back_is_written_to_next() -> None:
    extents = holding(4 * MIB)
    first, second = (extents.carve(MIB, 0.0)[0] for _ in range(2))
    assert first is not None and second is not None
    assert extents.taken_back(second, 0.1) == [] and extents.carve(MIB, 0.1) == (second, [])
    assert extents.taken_back(first, 0.2) == [] and extents.carve(MIB, 0.2) == (first, [])
    # In either order both are joined with what is left.
    extents.taken_back(first, 0.3)
    extents.taken_back(second, 0.3)
    assert extents.give_back(0.3) == [Part(1, 100 * MIB, 4 * MIB)]


def test_parts_of_other_sizes_go_back_with_their_extent() -> None:
    extents = holding(MIB)
    small = extents.carve(64, 0.0)[0]
    extents.carve(MIB - 64, 0.0)
    assert small is not None and extents.taken_back(small, 0.0) == [] and extents.holds and extents.bytes == 64
    extents.granted(Part(2, 0, MIB), 0.1)
    assert extents.carve(MIB, 0.1) == (Part(2, 0, MIB), [small])
    assert not extents.holds


def test_no_more_parts_are_kept_than_an_extent_has_objects() -> None:
    extents = holding(4 * MIB)
    parts = [extents.carve(64, 0.0)[0] for _ in range(40)]
    assert [extents.taken_back(part, 0.0) for part in parts[:17] if part is not None] == [[]] * 16 + [[parts[0]]]


def test_while_room_is_short_nothing_is_kept() -> None:
    extents = holding(MIB)
    part = extents.carve(64, 0.0)[0]
    assert part is not None
    extents.give_back(1.0)
    assert extents.taken_back(part, 1.1) == [part] and not extents.holds


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("carve"), st.integers(1, 300_000)),
            st.tuples(st.just("grant"), st.integers(1, 16)),
            st.tuples(st.just("room"), st.just(0)),
            st.tuples(st.just("take back"), st.integers(0, 20)),
        ),
        max_size=60,
    )
)
def test_every_byte_of_an_extent_is_carved_or_given_back_once(steps: list[tuple[str, int]]) -> None:
    extents = Extents(ARENA)
    out: list[Part] = []
    granted: list[Part] = []
    carved: list[Part] = []
    at = now = 0
    for kind, number in steps:
        if kind == "carve":
            part, over = extents.carve(number, now)
            assert part is None or part.size == -(-number // 64) * 64
            carved += [part] if part is not None else []
            out += over
        elif kind == "room":
            out += extents.give_back(now)
            now += 1
        elif kind == "take back":
            if number < len(carved):
                out += extents.taken_back(carved.pop(number), now)
        elif extents._spare is None:
            granted.append(Part(len(granted) + 1, at, number * 64 * 1024))
            extents.granted(granted[-1], now)
            at += granted[-1].size
    out += [*extents.give_back(now), *carved]
    out.sort(key=lambda part: part.offset)
    position = 0
    for part in out:
        assert part.offset == position and part.extent == next(
            extent.extent for extent in granted if extent.offset <= position < extent.offset + extent.size
        )
        position += part.size
    assert position == at
