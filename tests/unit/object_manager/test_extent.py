"""Extents at the object manager: who may have one, what becomes of its parts."""

import pytest
from manta_common.ids import NodeId, ObjectId, WorkerId
from manta_object_manager.arena import ALIGNMENT, Arena, Range
from manta_object_manager.client_id import ClientId, NotAllowed
from manta_object_manager.extent import MAX_BYTES, MIN_BYTES, Extents
from manta_object_manager.object_table import Copy, Entry, Exists, Full, ObjectTable, Owner, Part
from manta_object_manager.rounds import Rounds

MIB = 1024 * 1024
ALICE, BOB = ClientId(1), ClientId(2)
OWNER = Owner(NodeId(b"n" * 28), WorkerId(b"w" * 28))


def name(number: int) -> ObjectId:
    return ObjectId(number.to_bytes(28, "big"))


def test_a_part_of_a_taken_range_becomes_a_range_by_itself() -> None:
    arena = Arena(16 * ALIGNMENT)
    taken = arena.allocate(8 * ALIGNMENT)
    assert taken is not None
    assert arena.split(taken, 2 * ALIGNMENT, ALIGNMENT) == [Range(0, 128), Range(192, 320)]
    arena.validate()
    arena.free(Range(128, 64))
    arena.free(Range(0, 128))
    arena.free(Range(192, 320))
    arena.validate()
    assert arena.used == 0
    assert arena.allocate(arena.size) == Range(0, arena.size)


@pytest.mark.parametrize(("offset", "size"), [(32, 64), (64, 32), (64, 0), (448, 128), (1024, 64), (-64, 64)])
def test_a_part_outside_its_range_is_refused(offset: int, size: int) -> None:
    arena = Arena(16 * ALIGNMENT)
    taken = arena.allocate(8 * ALIGNMENT)
    assert taken is not None
    with pytest.raises(ValueError, match="is no part of"):
        arena.split(taken, offset, size)
    arena.validate()


def test_extents_take_a_bounded_share_of_the_arena() -> None:
    extents = Extents(Arena(64 * MIB))
    granted = [extents.grant(ClientId(client), MAX_BYTES) for client in range(10)]
    sizes = [extent.range.size for extent in granted if extent is not None]
    assert sizes == [4 * MIB] * 4  # a sixteenth each, a quarter together
    assert granted[4:] == [None] * 6
    assert extents.bytes == 16 * MIB
    extents.validate()


def test_one_client_holds_few_extents() -> None:
    extents = Extents(Arena(1024 * MIB))
    granted = [extents.grant(ALICE, MIB) for _ in range(6)]
    assert sum(extent is not None for extent in granted) == 4
    assert extents.grant(BOB, MIB) is not None


def test_no_extent_when_a_quarter_of_the_arena_would_not_stay_free() -> None:
    arena = Arena(64 * MIB)
    arena.allocate(47 * MIB)
    extents = Extents(arena)
    assert extents.grant(ALICE, 4 * MIB) is not None
    assert extents.grant(ALICE, 4 * MIB) is None
    assert Extents(Arena(15 * MIB)).grant(ALICE, MIB) is None  # a sixteenth is less than is worth it


def test_a_warm_range_is_preferred_to_a_larger_cold_one() -> None:
    arena = Arena(1024 * MIB)
    warm, between = arena.allocate(6 * MIB), arena.allocate(MIB)
    assert warm is not None and between is not None
    arena.free(warm)
    extent = Extents(arena).grant(ALICE, 16 * MIB)
    assert extent is not None and extent.range == warm
    assert arena.touched == 7 * MIB


def test_an_extent_for_one_large_object_has_room_for_it_or_is_refused() -> None:
    arena = Arena(2048 * MIB)
    warm, between = arena.allocate(60 * MIB), arena.allocate(MIB)
    assert warm is not None and between is not None
    arena.free(warm)
    extents = Extents(arena)
    extent = extents.grant(ALICE, 100 * MIB, 100 * MIB)
    assert extent is not None and extent.range.size == 100 * MIB
    assert extents.grant(ALICE, 129 * MIB, 129 * MIB) is None  # over a sixteenth
    extents.validate()


def test_parts_may_be_sealed_in_any_order_and_the_extent_ends_with_its_last_hole() -> None:
    extents = Extents(arena := Arena(64 * MIB))
    extent = extents.grant(ALICE, MIN_BYTES)
    assert extent is not None
    start, half = extent.range.offset, MIB // 2
    second = extents.take(ALICE, extent.number, start + half, half - 64)
    extents.validate()
    extents.give_back(ALICE, extent.number, start + MIB - 64, 64)
    first = extents.take(ALICE, extent.number, start, half - 63)
    assert (first.size, second.size) == (half, half - 64)
    assert len(extents) == 0 and extents.bytes == 0 and extents.clients == ()
    arena.free(first)
    arena.free(second)
    assert arena.used == 0


def test_parts_of_others_and_parts_twice_are_refused() -> None:
    extents = Extents(Arena(64 * MIB))
    extent = extents.grant(ALICE, MIN_BYTES)
    assert extent is not None
    for client, number, offset, size in (
        (BOB, extent.number, 0, 64),
        (ALICE, extent.number + 1, 0, 64),
        (ALICE, extent.number, 2 * MIB, 64),
        (ALICE, extent.number, 32, 64),
        (ALICE, extent.number, 0, 2 * MIB),
        (ALICE, extent.number, 0, 0),
    ):
        with pytest.raises(NotAllowed):
            extents.take(client, number, offset, size)
    extents.take(ALICE, extent.number, 0, 64)
    with pytest.raises(NotAllowed):
        extents.take(ALICE, extent.number, 0, 64)
    extents.validate()


def test_an_object_of_an_extent_is_sealed_from_the_start() -> None:
    table = ObjectTable(Arena(64 * MIB))
    extent = table.extents.grant(ALICE, MIN_BYTES)
    assert extent is not None
    entry = table.adopt(ALICE, Part(name(1), extent.number, 0, 1000), OWNER, keep_pin=True)
    assert isinstance(entry, Entry) and entry.pins == {ALICE: 1}
    table.validate()
    assert table.pin(BOB, name(1)) is entry
    table.free([name(1)])
    table.drop_client(ALICE)
    table.release(BOB, name(1))
    table.validate()
    assert len(table) == 0 and table.available_bytes == 64 * MIB


def test_a_second_copy_of_an_object_goes_unless_its_writer_reads_it() -> None:
    table = ObjectTable(Arena(64 * MIB))
    extent = table.extents.grant(ALICE, MIN_BYTES)
    assert extent is not None
    table.adopt(ALICE, Part(name(1), extent.number, 0, 64), OWNER, keep_pin=False)
    assert table.adopt(ALICE, Part(name(1), extent.number, 64, 64), OWNER, keep_pin=False) is Exists.SEALED
    assert table.extents.bytes == MIB - 128
    assert table.adopt(ALICE, Part(name(1), extent.number, 128, 64), OWNER, keep_pin=True) is Exists.SEALED
    assert table.extents.bytes == MIB - 128  # its views are there: not to be used again while it lives
    table.validate()
    table.drop_client(ALICE)
    table.validate()
    assert table.extents.bytes == 0


def test_what_extents_hold_counts_as_pinned_when_the_arena_is_full() -> None:
    table = ObjectTable(Arena(64 * MIB))
    assert table.extents.grant(ALICE, 4 * MIB) is not None
    assert not table.has_room(64 * MIB) and table.room_in_extents(64 * MIB)
    full = table.create(BOB, name(1), 64 * MIB, OWNER, Copy.PRIMARY)
    assert isinstance(full, Full) and full.pinned == 4 * MIB


def test_a_round_is_over_when_all_have_answered_or_gone() -> None:
    rounds = Rounds()
    number = rounds.begin([ALICE, BOB])
    assert not rounds.answered(ALICE, number) and not rounds.is_over(number)
    assert not rounds.answered(ALICE, number)
    assert rounds.gone(BOB) == [number] and rounds.is_over(number)


def test_a_client_that_did_not_answer_is_not_waited_for_until_it_does() -> None:
    rounds = Rounds()
    number = rounds.begin([ALICE, BOB])
    rounds.answered(ALICE, number)
    assert rounds.overdue(number) == {BOB} and rounds.is_over(number)
    assert rounds.attentive([ALICE, BOB]) == [ALICE]
    rounds.end(number)
    assert not rounds.answered(BOB, number)
    assert rounds.attentive([ALICE, BOB]) == [ALICE, BOB]
