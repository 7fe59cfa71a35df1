"""Pins, frees, deaths and eviction: a range is used again only when nobody can see it."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from manta_common.ids import JobId, NodeId, ObjectId, WorkerId, job_id, job_of_object
from manta_object_manager.arena import ALIGNMENT, Arena
from manta_object_manager.client_id import ClientId, NotAllowed
from manta_object_manager.object_table import Copy, Entry, Exists, Full, ObjectTable, Owner, Part, State

ALICE, BOB = ClientId(1), ClientId(2)
WORKER = WorkerId(b"w" * 28)
OWNER = Owner(NodeId(b"n" * 28), WORKER)


def object_id(number: int, job: JobId = job_id(1)) -> ObjectId:  # noqa: B008
    return ObjectId(number.to_bytes(20, "big") + job + b"\0\0\0\1")


def table_of(units: int) -> ObjectTable:
    return ObjectTable(Arena(units * ALIGNMENT))


def sealed(table: ObjectTable, number: int, units: int = 1, copy: Copy = Copy.PRIMARY) -> ObjectId:
    name = object_id(number)
    assert isinstance(table.create(ALICE, name, units * ALIGNMENT, OWNER, copy), Entry)
    table.seal(ALICE, name, keep_pin=False)
    return name


def test_an_object_is_seen_by_others_once_it_is_sealed() -> None:
    table = table_of(10)
    name = object_id(1)
    entry = table.create(ALICE, name, 100, OWNER, Copy.PRIMARY)
    assert isinstance(entry, Entry) and entry.state is State.CREATED
    assert table.pin(BOB, name) is None
    table.seal(ALICE, name, keep_pin=False)
    assert table.pin(BOB, name) is entry
    table.validate()


def test_only_the_writer_seals_or_aborts() -> None:
    table = table_of(10)
    name = object_id(1)
    table.create(ALICE, name, 100, OWNER, Copy.PRIMARY)
    with pytest.raises(NotAllowed, match="not writing"):
        table.seal(BOB, name, keep_pin=False)
    with pytest.raises(NotAllowed, match="not writing"):
        table.abort(BOB, name)
    table.seal(ALICE, name, keep_pin=False)
    with pytest.raises(NotAllowed, match="not writing"):
        table.seal(ALICE, name, keep_pin=False)


def test_a_freed_range_is_used_again_only_after_the_last_pin() -> None:
    table = table_of(1)
    name = sealed(table, 1)
    table.pin(BOB, name)
    table.pin(BOB, name)
    assert table.free([name]) == 1
    assert isinstance(table.create(ALICE, object_id(2), 64, OWNER, Copy.PRIMARY), Full)
    table.release(BOB, name)
    assert isinstance(table.create(ALICE, object_id(2), 64, OWNER, Copy.PRIMARY), Full)
    table.release(BOB, name)
    assert isinstance(table.create(ALICE, object_id(2), 64, OWNER, Copy.PRIMARY), Entry)
    table.validate()


@pytest.mark.parametrize("by_node", [False, True])
def test_what_is_made_for_an_owner_that_is_dead_is_freed_once_it_is_whole(by_node: bool) -> None:
    table = ObjectTable(Arena(1 << 30))
    first = table.create(ALICE, object_id(1), 64, OWNER, Copy.PRIMARY)
    assert isinstance(first, Entry)
    assert (table.drop_owners_of_node(OWNER.node_id) if by_node else table.drop_owners([WORKER])) == 1
    table.seal(ALICE, object_id(1), keep_pin=False)
    extent = table.extents.grant(ALICE, 2 * ALIGNMENT, ALIGNMENT)
    assert extent is not None
    for number, keep_pin in ((2, False), (3, True)):
        offset = extent.range.offset + (number - 2) * ALIGNMENT
        table.adopt(ALICE, Part(object_id(number), extent.number, offset, 64), OWNER, keep_pin=keep_pin)
    assert [entry.object_id for entry in table] == [object_id(3)], "a view of it lives"
    table.release(ALICE, object_id(3))
    table.create(ALICE, object_id(4), 64, Owner(NodeId(b"m" * 28), WorkerId(b"v" * 28)), Copy.PRIMARY)
    table.seal(ALICE, object_id(4), keep_pin=False)
    assert [entry.object_id for entry in table] == [object_id(4)], "its owner lives"
    table.validate()


def test_the_write_pin_becomes_a_read_pin() -> None:
    table = table_of(1)
    name = object_id(1)
    table.create(ALICE, name, 64, OWNER, Copy.PRIMARY)
    table.seal(ALICE, name, keep_pin=True)
    table.free([name])
    assert table.find(name) is not None
    table.release(ALICE, name)
    assert table.find(name) is None
    table.validate()


def test_a_release_without_a_pin_is_refused() -> None:
    table = table_of(1)
    name = sealed(table, 1)
    with pytest.raises(NotAllowed, match="not pinned"):
        table.release(BOB, name)


def test_an_object_freed_while_it_is_written_goes_when_the_writer_is_done() -> None:
    table = table_of(1)
    name = object_id(1)
    table.create(ALICE, name, 64, OWNER, Copy.PRIMARY)
    table.free([name])
    assert table.find(name) is not None
    table.seal(ALICE, name, keep_pin=False)
    assert table.find(name) is None


def test_a_dead_client_loses_its_pins_and_unfinished_objects() -> None:
    table = table_of(4)
    name = sealed(table, 1)
    table.pin(BOB, name)
    unfinished = object_id(2)
    table.create(BOB, unfinished, 64, OWNER, Copy.PRIMARY)
    table.free([name])
    assert table.drop_client(BOB) == [unfinished]
    assert len(table) == 0
    table.validate()


def test_a_repeated_attempt_finds_the_object_sealed_or_being_written() -> None:
    table = table_of(4)
    name = object_id(1)
    table.create(ALICE, name, 64, OWNER, Copy.PRIMARY)
    assert table.create(BOB, name, 64, OWNER, Copy.PRIMARY) is Exists.BEING_WRITTEN
    with pytest.raises(NotAllowed, match="being written by this process"):
        table.create(ALICE, name, 64, OWNER, Copy.PRIMARY)
    table.seal(ALICE, name, keep_pin=False)
    assert table.create(BOB, name, 64, OWNER, Copy.PRIMARY) is Exists.SEALED


def test_an_object_that_was_freed_but_is_still_seen_counts_as_sealed_again() -> None:
    table = table_of(4)
    name = sealed(table, 1)
    entry = table.pin(BOB, name)
    table.free([name])
    assert table.create(ALICE, name, 64, OWNER, Copy.PRIMARY) is Exists.SEALED
    table.release(BOB, name)
    assert table.find(name) is entry
    table.validate()


def test_owner_death_frees_what_it_owned() -> None:
    table = table_of(4)
    mine, pinned = sealed(table, 1), sealed(table, 2)
    table.pin(BOB, pinned)
    other = Owner(OWNER.node_id, WorkerId(b"x" * 28))
    table.create(ALICE, object_id(3), 64, other, Copy.PRIMARY)
    assert table.drop_owners([WORKER]) == 2
    assert table.find(mine) is None and table.find(pinned) is not None and table.find(object_id(3)) is not None
    table.release(BOB, pinned)
    assert len(table) == 1
    table.validate()


def test_a_jobs_end_frees_its_objects_except_those_of_surviving_owners() -> None:
    table = table_of(8)
    survivor = Owner(OWNER.node_id, WorkerId(b"s" * 28))
    for number, job, owner in ((1, 1, OWNER), (2, 2, OWNER), (3, 1, survivor)):
        name = object_id(number, job_id(job))
        assert job_of_object(name) == job_id(job)
        table.create(ALICE, name, 64, owner, Copy.PRIMARY)
        table.seal(ALICE, name, keep_pin=False)
    assert table.drop_job(job_id(1), {survivor.worker_id}) == 1
    assert {entry.object_id for entry in table} == {object_id(2, job_id(2)), object_id(3, job_id(1))}


def test_a_full_arena_names_its_sizes() -> None:
    table = table_of(4)
    sealed(table, 1, units=2)
    table.pin(BOB, object_id(1))
    full = table.create(ALICE, object_id(2), 3 * ALIGNMENT, OWNER, Copy.PRIMARY)
    assert full == Full(requested=192, used=128, pinned=128, capacity=256)
    for part in ("192", "128 of 256", "128 of them pinned"):
        assert part in str(full)
    assert "can never fit" in str(table.create(ALICE, object_id(3), 257, OWNER, Copy.PRIMARY))


def test_unpinned_secondary_copies_make_room_least_recently_used_first() -> None:
    table = table_of(3)
    first, second, third = (sealed(table, number, copy=Copy.SECONDARY) for number in (1, 2, 3))
    table.pin(BOB, first)
    table.release(BOB, first)  # used last
    assert isinstance(table.create(ALICE, object_id(4), 64, OWNER, Copy.PRIMARY), Entry)
    assert table.find(second) is None
    assert table.find(first) is not None and table.find(third) is not None
    assert table.evicted_objects == 1
    table.validate()


def test_primary_and_pinned_copies_are_never_evicted() -> None:
    table = table_of(2)
    sealed(table, 1)
    pinned = sealed(table, 2, copy=Copy.SECONDARY)
    table.pin(BOB, pinned)
    assert isinstance(table.create(ALICE, object_id(3), 64, OWNER, Copy.PRIMARY), Full)
    assert len(table) == 2


def test_nothing_is_evicted_for_what_cannot_fit_anyway() -> None:
    table = table_of(3)
    sealed(table, 1)
    copy = sealed(table, 2, copy=Copy.SECONDARY)
    assert isinstance(table.create(ALICE, object_id(3), 3 * ALIGNMENT, OWNER, Copy.PRIMARY), Full)
    assert table.find(copy) is not None


class TableMachine(RuleBasedStateMachine):
    """Random requests against a model of pins; the bytes of a visible object never belong to another one."""

    def __init__(self) -> None:
        super().__init__()
        self.table = table_of(12)
        self.pins: dict[tuple[ClientId, ObjectId], tuple[int, int]] = {}  # -> (count, offset)
        self.writing: dict[ObjectId, ClientId] = {}

    clients = st.sampled_from([ALICE, BOB, ClientId(3)])
    names = st.integers(1, 8).map(object_id)

    @rule(client=clients, name=names, units=st.integers(0, 6), copy=st.sampled_from(Copy))
    def create(self, client: ClientId, name: ObjectId, units: int, copy: Copy) -> None:
        if self.writing.get(name) == client:
            with pytest.raises(NotAllowed):
                self.table.create(client, name, units * ALIGNMENT, OWNER, copy)
            return
        result = self.table.create(client, name, units * ALIGNMENT, OWNER, copy)
        if isinstance(result, Entry):
            assert name not in self.writing
            self.writing[name] = client

    @rule(client=clients, name=names, keep_pin=st.booleans())
    def seal(self, client: ClientId, name: ObjectId, keep_pin: bool) -> None:
        if self.writing.get(name) != client:
            with pytest.raises(NotAllowed):
                self.table.seal(client, name, keep_pin=keep_pin)
            return
        del self.writing[name]
        entry = self.table.seal(client, name, keep_pin=keep_pin)
        if keep_pin:
            self.pins[client, name] = (1, entry.range.offset)

    @rule(client=clients, name=names)
    def pin(self, client: ClientId, name: ObjectId) -> None:
        entry = self.table.pin(client, name)
        if entry is not None:
            count, offset = self.pins.get((client, name), (0, entry.range.offset))
            assert offset == entry.range.offset
            self.pins[client, name] = (count + 1, offset)

    @rule(client=clients, name=names)
    def release(self, client: ClientId, name: ObjectId) -> None:
        if (client, name) not in self.pins:
            with pytest.raises(NotAllowed):
                self.table.release(client, name)
            return
        self.table.release(client, name)
        count, offset = self.pins.pop((client, name))
        if count > 1:
            self.pins[client, name] = (count - 1, offset)

    @rule(name=names)
    def free(self, name: ObjectId) -> None:
        self.table.free([name])

    @rule(client=clients)
    def die(self, client: ClientId) -> None:
        gone = self.table.drop_client(client)
        assert set(gone) == {name for name, writer in self.writing.items() if writer == client}
        self.writing = {name: writer for name, writer in self.writing.items() if writer != client}
        self.pins = {key: value for key, value in self.pins.items() if key[0] != client}

    @rule()
    def owner_dies(self) -> None:
        self.table.drop_owners([WORKER])

    @invariant()
    def pins_hold(self) -> None:
        self.table.validate()
        for (client, name), (count, offset) in self.pins.items():
            entry = self.table.find(name)
            assert entry is not None and entry.pins[client] == count and entry.range.offset == offset


TestTableMachine = TableMachine.TestCase
TestTableMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
