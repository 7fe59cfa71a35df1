"""The objects of one arena: their ranges, who pins them, and when a range may be used again.

An object is CREATED while its creator writes and SEALED after that. Its range goes back to the arena when the object
has been freed (or, for a secondary copy, evicted) and nobody pins it; never earlier, for a view would change under
its reader.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from manta_common.ids import JobId, NodeId, ObjectId, WorkerId, job_of_object

from manta_object_manager.arena import Arena, Range, rounded
from manta_object_manager.client_id import ClientId, NotAllowed
from manta_object_manager.extent import Extents

# Beyond it the oldest are forgotten; a process of such a one that still writes was cut off long before.
REMEMBERED_DEATHS: Final = 65_536


class State(Enum):
    CREATED = auto()  # its creator holds the write pin
    SEALED = auto()  # final: the bytes never change again


class Copy(Enum):
    PRIMARY = auto()  # made here; only the owner's word ends it
    SECONDARY = auto()  # brought from another node; may be evicted


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that owns an object."""

    node_id: NodeId
    worker_id: WorkerId


@dataclass(slots=True)
class Entry:
    """One object. `pins` counts per client; `creator` holds the write pin while the state is CREATED."""

    object_id: ObjectId
    size: int
    range: Range
    copy: Copy
    owner: Owner
    creator: ClientId | None
    state: State = State.CREATED
    pins: dict[ClientId, int] = field(default_factory=dict)
    freed: bool = False

    @property
    def pinned(self) -> bool:
        return self.creator is not None or bool(self.pins)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an extent that an object was written to. size: bytes of the object."""

    object_id: ObjectId
    extent: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Full:
    """Why nothing could be reserved; bytes."""

    requested: int
    used: int
    pinned: int
    capacity: int

    def __str__(self) -> str:
        if rounded(self.requested) > self.capacity:
            advice = "it can never fit: give the node a larger --object-store-memory"
        elif self.capacity - self.pinned >= self.requested:
            advice = "drop references that are no longer needed, or give the node more --object-store-memory"
        else:
            advice = "drop views (arrays, tables) no longer needed, or give the node more --object-store-memory"
        return (
            f"the object store cannot hold an object of {self.requested} bytes: {self.used} of {self.capacity} bytes "
            f"are used, {self.pinned} of them pinned by live views or writers; {advice}"
        )


class Exists(Enum):
    SEALED = auto()
    BEING_WRITTEN = auto()


_S: Final = State


class ObjectTable:
    """Every object in the arena. Pure: no clock, no I/O; recency is the order of calls."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self.extents = Extents(arena)
        self._entries: dict[ObjectId, Entry] = {}
        self._of_client: dict[ClientId, set[ObjectId]] = {}
        self._of_worker: dict[WorkerId, set[ObjectId]] = {}
        # Owners that were declared dead, in that order: what others make for them from here on is nobody's.
        self._dead_workers: OrderedDict[WorkerId, None] = OrderedDict()
        self._dead_nodes: OrderedDict[NodeId, None] = OrderedDict()
        # Unpinned secondary copies, the least recently used first.
        self._evictable: OrderedDict[ObjectId, None] = OrderedDict()
        self._evictable_bytes = 0
        self._pinned_bytes = 0
        self.writing = 0  # objects that are not sealed yet
        self.evicted_bytes = 0
        self.evicted_objects = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def find(self, object_id: ObjectId) -> Entry | None:
        return self._entries.get(object_id)

    @property
    def pinned_bytes(self) -> int:
        """Bytes in ranges that a reader, a writer or a transfer pins; an extent is its client's to write to."""
        return self._pinned_bytes + self.extents.bytes

    @property
    def used_bytes(self) -> int:
        """Bytes in ranges of objects, freed but pinned ones too."""
        return self._arena.used - self.extents.bytes

    @property
    def available_bytes(self) -> int:
        """Free bytes, maybe in several ranges."""
        return self._arena.available

    @property
    def evictable_bytes(self) -> int:
        return self._evictable_bytes

    def create(
        self, client: ClientId, object_id: ObjectId, size: int, owner: Owner, copy: Copy
    ) -> Entry | Exists | Full:
        """Reserve a range and give `client` the write pin; evicts when that is needed and enough.

        An object that was freed but is still pinned counts as sealed again: its bytes are those of the same id, and
        writing them anew would change them under a reader.
        raises: NotAllowed when the client is writing this object already.
        """
        present = self._entries.get(object_id)
        if present is not None:
            if present.state is _S.SEALED:
                present.freed = self._is_dead(present.owner)
                return Exists.SEALED
            if present.creator == client:
                raise NotAllowed(f"object {object_id.hex()} is being written by this process already")
            return Exists.BEING_WRITTEN
        taken = self._take(size)
        if taken is None:
            return Full(size, self._arena.used, self.pinned_bytes, self._arena.size)
        entry = Entry(object_id, size, taken, copy, owner, client)
        self._entries[object_id] = entry
        self._of_client.setdefault(client, set()).add(object_id)
        self._of_worker.setdefault(owner.worker_id, set()).add(object_id)
        self._pinned_bytes += taken.size
        self.writing += 1
        return entry

    def has_room(self, size: int) -> bool:
        """Whether an object of that size fits without evicting any."""
        return rounded(size) <= self._arena.largest()

    def room_in_extents(self, size: int) -> bool:
        """Whether it could fit if clients gave up what they hold ahead, or if some were evicted besides."""
        return self.extents.bytes > 0 and rounded(size) <= (
            self._arena.available + self._evictable_bytes + self.extents.bytes
        )

    def adopt(self, client: ClientId, part: Part, owner: Owner, *, keep_pin: bool) -> Entry | Exists:
        """A part of an extent becomes a sealed primary copy.

        When the object is here already (of a repeated attempt), that one stays and the part goes back to the arena; but
        a client that keeps a pin reads its own part, which then stays in its extent. BEING_WRITTEN: nothing was done.
        raises: NotAllowed when the part is not in an extent of this client.
        """
        present = self._entries.get(part.object_id)
        if present is None:
            taken = self.extents.take(client, part.extent, part.offset, part.size)
            entry = Entry(part.object_id, part.size, taken, Copy.PRIMARY, owner, None, State.SEALED)
            self._entries[part.object_id] = entry
            self._of_worker.setdefault(owner.worker_id, set()).add(part.object_id)
            if keep_pin:
                self.pin(client, part.object_id)
            self._free_if_orphaned(entry)
            return entry
        if present.state is not _S.SEALED:
            return Exists.BEING_WRITTEN
        present.freed = False
        if keep_pin:
            self.pin(client, part.object_id)
        else:
            self.extents.give_back(client, part.extent, part.offset, part.size)
        self._free_if_orphaned(present)
        return Exists.SEALED

    def seal(self, client: ClientId, object_id: ObjectId, *, keep_pin: bool) -> Entry:
        """End the writing; the write pin becomes a read pin or goes. raises: NotAllowed for anybody but the writer."""
        entry = self._written_by(client, object_id, "seal")
        entry.state = _S.SEALED
        entry.freed = entry.freed or self._is_dead(entry.owner)
        if keep_pin:
            entry.pins[client] = 1
            entry.creator = None
            self.writing -= 1
        else:
            self._drop_pin_of(entry, client)
        return entry

    def abort(self, client: ClientId, object_id: ObjectId) -> None:
        """Forget what was being written. raises: NotAllowed for anybody but the writer."""
        self._drop_pin_of(self._written_by(client, object_id, "abort"), client)

    def pin(self, client: ClientId, object_id: ObjectId) -> Entry | None:
        """Pin a sealed object once more for the client; None when it is not here or not sealed."""
        entry = self._entries.get(object_id)
        if entry is None or entry.state is not _S.SEALED:
            return None
        if not entry.pinned:
            self._pinned_bytes += entry.range.size
            self._keep_from_eviction(entry)
        entry.pins[client] = entry.pins.get(client, 0) + 1
        self._of_client.setdefault(client, set()).add(object_id)
        return entry

    def release(self, client: ClientId, object_id: ObjectId) -> None:
        """Take one pin of the client back. raises: NotAllowed when it holds none."""
        entry = self._entries.get(object_id)
        count = entry.pins.get(client, 0) if entry is not None else 0
        if entry is None or count == 0:
            raise NotAllowed(f"object {object_id.hex()} is not pinned by this process")
        if count > 1:
            entry.pins[client] = count - 1
        else:
            self._drop_pin_of(entry, client)

    def free(self, object_ids: Iterable[ObjectId]) -> int:
        """Mark objects as referred to by nobody; returns how many were here. Ranges go when the last pin does."""
        found = 0
        for object_id in object_ids:
            entry = self._entries.get(object_id)
            if entry is None:
                continue
            found += 1
            entry.freed = True
            if not entry.pinned:
                self._forget(entry)
        return found

    def drop_client(self, client: ClientId) -> list[ObjectId]:
        """The process is gone: it loses its pins, its extents and what it was writing; returns the ids of these."""
        unfinished = []
        for object_id in self._of_client.pop(client, ()):
            entry = self._entries[object_id]
            if entry.creator == client:
                unfinished.append(object_id)
            self._drop_pin_of(entry, client)
        self.extents.drop_client(client)
        return unfinished

    def drop_owners(self, workers: Collection[WorkerId]) -> int:
        """These processes are dead: free every object that they own, now and later; returns how many there were."""
        for worker in workers:
            self._dead_workers[worker] = None
        while len(self._dead_workers) > REMEMBERED_DEATHS:
            self._dead_workers.popitem(last=False)
        return sum(self.free(tuple(self._of_worker.get(worker, ()))) for worker in workers)

    def drop_owners_of_node(self, node_id: NodeId) -> int:
        """As drop_owners, for every process of a node that is dead. cost: O(objects)."""
        self._dead_nodes[node_id] = None
        while len(self._dead_nodes) > REMEMBERED_DEATHS:
            self._dead_nodes.popitem(last=False)
        return self.free([entry.object_id for entry in self._entries.values() if entry.owner.node_id == node_id])

    def drop_job(self, job: JobId, surviving: Collection[WorkerId] = ()) -> int:
        """Free every object of the job whose owner does not outlive it; returns how many. cost: O(objects)."""
        gone = [
            entry.object_id
            for entry in self._entries.values()
            if job_of_object(entry.object_id) == job and entry.owner.worker_id not in surviving
        ]
        return self.free(gone)

    def evict(self) -> Entry | None:
        """Drop the least recently used unpinned secondary copy; None when there is none."""
        if not self._evictable:
            return None
        entry = self._entries[next(iter(self._evictable))]
        self.evicted_bytes += entry.range.size
        self.evicted_objects += 1
        self._forget(entry)
        return entry

    def validate(self) -> None:
        """Check every invariant. raises: AssertionError that names the broken one. cost: O(objects log objects)."""
        self._arena.validate()
        self.extents.validate()
        position = 0
        ranges = [*(entry.range for entry in self._entries.values() if entry.range.size), *self.extents.holes()]
        for taken in sorted(ranges, key=lambda item: item.offset):
            assert taken.offset >= position, f"{taken} overlaps its predecessor"
            position = taken.end
        entries = self._entries.values()
        assert self._arena.used == sum(taken.size for taken in ranges), "the arena holds ranges of no object"
        assert self._pinned_bytes == sum(entry.range.size for entry in entries if entry.pinned), "pinned bytes differ"
        assert self.writing == sum(entry.creator is not None for entry in entries), "the count of writers differs"
        assert not [entry for entry in entries if entry.freed and not entry.pinned], "a free object was kept"
        assert not [entry for entry in entries if (entry.state is _S.CREATED) != (entry.creator is not None)]
        evictable = {e.object_id for e in entries if e.copy is Copy.SECONDARY and not e.pinned}
        assert set(self._evictable) == evictable, "the eviction order misses or adds objects"
        held: dict[ClientId, set[ObjectId]] = {}
        for entry in entries:
            for client in (*entry.pins, *((entry.creator,) if entry.creator is not None else ())):
                held.setdefault(client, set()).add(entry.object_id)
        assert held == self._of_client, "the index of clients differs from the pins"

    def _take(self, size: int) -> Range | None:
        taken = self._arena.allocate(size)
        if taken is not None or rounded(size) > self._arena.available + self._evictable_bytes:
            return taken
        while taken is None and self.evict() is not None:
            taken = self._arena.allocate(size)
        return taken

    def _is_dead(self, owner: Owner) -> bool:
        return owner.worker_id in self._dead_workers or owner.node_id in self._dead_nodes

    def _free_if_orphaned(self, entry: Entry) -> None:
        if self._is_dead(entry.owner):
            self.free((entry.object_id,))

    def _written_by(self, client: ClientId, object_id: ObjectId, verb: str) -> Entry:
        entry = self._entries.get(object_id)
        if entry is None or entry.creator != client:
            raise NotAllowed(f"cannot {verb} object {object_id.hex()}: this process is not writing it")
        return entry

    def _drop_pin_of(self, entry: Entry, client: ClientId) -> None:
        if entry.creator == client:
            entry.creator = None
            self.writing -= 1
        entry.pins.pop(client, None)
        held = self._of_client.get(client)
        if held is not None:
            held.discard(entry.object_id)
            if not held:
                del self._of_client[client]
        if entry.pinned:
            return
        self._pinned_bytes -= entry.range.size
        if entry.freed or entry.state is _S.CREATED:
            self._forget(entry)
        elif entry.copy is Copy.SECONDARY:
            self._evictable[entry.object_id] = None
            self._evictable_bytes += entry.range.size

    def _keep_from_eviction(self, entry: Entry) -> None:
        if entry.object_id in self._evictable:
            del self._evictable[entry.object_id]
            self._evictable_bytes -= entry.range.size

    def _forget(self, entry: Entry) -> None:
        self._keep_from_eviction(entry)
        del self._entries[entry.object_id]
        owned = self._of_worker[entry.owner.worker_id]
        owned.discard(entry.object_id)
        if not owned:
            del self._of_worker[entry.owner.worker_id]
        self._arena.free(entry.range)
