"""Clients' and object manager's cores of extents together: messages in order, deaths, lack of room."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from manta_common.ids import NodeId, ObjectId, WorkerId
from manta_object_manager.arena import Arena, rounded
from manta_object_manager.client_id import ClientId
from manta_object_manager.object_table import Copy, Entry, Exists, ObjectTable, Owner
from manta_object_manager.object_table import Part as MadePart
from ray._runtime.arena.extents import Extents, Part

MIB = 1024 * 1024
ARENA = 128 * MIB
OWNER = Owner(NodeId(b"n" * 28), WorkerId(b"w" * 28))


@dataclass
class Writer:
    """A process, and what is on its way between it and the object manager, in order."""

    id: ClientId
    extents: Extents = field(default_factory=lambda: Extents(ARENA))
    writing: dict[ObjectId, tuple[Part, int]] = field(default_factory=dict)
    sent: deque[tuple[str, ObjectId, Part, int]] = field(default_factory=deque)
    coming: deque[Part | None] = field(default_factory=deque)  # grants; None: room is wanted


class ExtentMachine(RuleBasedStateMachine):
    """No byte is ever two objects', or an object's and somebody's to write; and all of them come back."""

    def __init__(self) -> None:
        super().__init__()
        self.table = ObjectTable(Arena(ARENA))
        self.now = 0.0
        self.last = 0
        self.clients = 0
        self.writers: list[Writer] = []
        for _ in range(3):
            self.begin()
        self.sealed: dict[ObjectId, int] = {}  # as far as somebody was told: -> size
        self.freed: set[ObjectId] = set()
        self.big: set[ObjectId] = set()

    def begin(self) -> None:
        self.clients += 1
        self.writers.append(Writer(ClientId(self.clients)))

    def name(self) -> ObjectId:
        self.last += 1
        return ObjectId(self.last.to_bytes(28, "big"))

    which = st.integers(0, 2)

    @rule(
        which=which,
        sizes=st.lists(st.integers(100_000, 2 * MIB), min_size=2, max_size=8),
        prompt=st.sampled_from([True, True, False]),
    )
    def write(self, which: int, sizes: list[int], prompt: bool) -> None:
        """prompt: what is sent about extents arrives at once, in both directions."""
        for size in sizes:
            self._write(self.writers[which], size)
            while prompt and self.writers[which].sent:
                self.deliver_to_object_manager(which)
            while prompt and self.writers[which].coming:
                self.deliver_to_client(which)

    def _write(self, writer: Writer, size: int) -> None:
        if not writer.extents.suits(size):
            return
        part, over = writer.extents.carve(size, self.now)
        wish = writer.extents.wish(size, self.now)
        for rest in over:
            writer.sent.append(("back", ObjectId(b""), rest, 0))
        if wish:
            writer.sent.append(("wish", ObjectId(b""), Part(0, 0, wish), 0))
        if part is not None:
            writer.writing[self.name()] = (part, size)

    @rule(which=which, choice=st.integers(0, 10), abort=st.sampled_from([False, False, True]))
    def finish(self, which: int, choice: int, abort: bool) -> None:
        writer = self.writers[which]
        if not writer.writing:
            return
        name = list(writer.writing)[choice % len(writer.writing)]
        part, size = writer.writing.pop(name)
        writer.sent.append(("back" if abort else "seal", name, part, size))

    @rule(which=which, left=st.integers(0, 3))
    def finish_most(self, which: int, left: int) -> None:
        """All but some of what is being written is sealed, and most of what is on its way arrives."""
        while len(self.writers[which].writing) > left:
            self.finish(which, 0, abort=False)
        while len(self.writers[which].sent) > left:
            self.deliver_to_object_manager(which)

    @rule(which=which)
    def deliver_to_object_manager(self, which: int) -> None:
        writer = self.writers[which]
        if not writer.sent:
            return
        kind, name, part, size = writer.sent.popleft()
        if kind == "wish":
            extent = self.table.extents.grant(writer.id, part.size)
            taken = extent.range if extent is not None else None
            number = extent.number if extent is not None else 0
            granted = Part(number, taken.offset, taken.size) if taken is not None else Part(0, 0, 0)
            writer.coming.append(granted)
        elif kind == "seal":
            made = self.table.adopt(writer.id, MadePart(name, part.extent, part.offset, size), OWNER, keep_pin=False)
            assert isinstance(made, Entry) and made.range.offset == part.offset
            self.sealed[name] = size
        else:
            self.table.extents.give_back(writer.id, part.extent, part.offset, part.size)

    @rule(which=which)
    def deliver_to_client(self, which: int) -> None:
        writer = self.writers[which]
        if not writer.coming:
            return
        news = writer.coming.popleft()
        if news is not None:
            writer.extents.granted(news, self.now)
            return
        for rest in writer.extents.give_back(self.now):
            writer.sent.append(("back", ObjectId(b""), rest, 0))

    @rule(size=st.integers(20 * MIB, ARENA), drop=st.booleans())
    def want_room(self, size: int, drop: bool) -> None:
        """drop: what took room before goes first, or the arena would be full most of the time."""
        name = self.name()
        if drop:
            self.table.free(self.big)
            self.big.clear()
        if not self.table.has_room(size) and self.table.room_in_extents(size):
            for writer in self.writers:
                writer.coming.append(None)
        result = self.table.create(ClientId(1000), name, size, OWNER, Copy.PRIMARY)
        assert not isinstance(result, Exists)
        if isinstance(result, Entry):
            self.table.seal(ClientId(1000), name, keep_pin=False)
            self.big.add(name)

    @rule(choice=st.integers(0, 50))
    def free(self, choice: int) -> None:
        names = [*self.sealed, *self.big]
        if names:
            name = names[choice % len(names)]
            assert self.table.free([name]) == 1
            self.sealed.pop(name, None)
            self.big.discard(name)

    @rule(which=which)
    def die(self, which: int) -> None:
        self.table.drop_client(self.writers[which].id)
        del self.writers[which]
        self.begin()

    @rule(seconds=st.sampled_from([0.2, 1.2, 2.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for writer in self.writers:
            for rest in writer.extents.expire(self.now):
                writer.sent.append(("back", ObjectId(b""), rest, 0))

    @invariant()
    def nobody_shares_a_byte(self) -> None:
        self.table.validate()
        ranges = [(entry.range.offset, entry.range.end) for entry in self.table]
        for writer in self.writers:
            ranges += [(part.offset, part.offset + part.size) for part, _ in writer.writing.values()]
            # Of those on their way: objects still to be made, for their bytes are read as soon as they are.
            ranges += [(p.offset, p.offset + rounded(size)) for kind, _, p, size in writer.sent if kind == "seal"]
        position = 0
        for start, end in sorted(ranges):
            assert start >= position, f"[{start}, {end}) is used twice"
            position = end

    def teardown(self) -> None:
        for writer in self.writers:
            self.table.drop_client(writer.id)
        assert self.table.extents.bytes == 0
        self.table.free([*self.sealed, *self.big])
        self.table.validate()
        assert self.table.available_bytes == ARENA and self.table.has_room(ARENA)


TestExtentMachine = ExtentMachine.TestCase
TestExtentMachine.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
