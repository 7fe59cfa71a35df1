"""What this process knows of the values of objects: a pure table, changed under the process's lock.

An entry is PENDING until its value, its locations or its error is known, and again when its last copy was lost. Small
values are here; large ones are named by the nodes whose arenas hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manta_proto.common.v1 import common_pb2

Waiter = Callable[[bytes], None]


class ObjectState(IntEnum):
    PENDING = 0
    # `value` is here; an error is a value of kind ERROR.
    INLINE = 1
    # In the arenas of `nodes`.
    STORED = 2


class ObjectEntry:
    """One object. `waiters` are called once, with the object id, when it leaves PENDING."""

    __slots__ = ("asked", "generation", "nodes", "owner", "size", "state", "value", "waiters")

    def __init__(self, owner: tuple[bytes, bytes] | None) -> None:
        self.state = ObjectState.PENDING
        self.value: common_pb2.Value | None = None
        self.nodes: tuple[bytes, ...] = ()
        self.size = 0
        # None: this process.
        self.owner = owner
        self.waiters: list[Waiter] | None = None
        # A borrower has asked the owner and waits for the answer.
        self.asked = False
        # How often all its copies were lost: a report that no copy is found is about those of one generation.
        self.generation = 0


class ObjectTable:
    """All objects that this process owns, borrows or just fetches."""

    def __init__(self) -> None:
        self._entries: dict[bytes, ObjectEntry] = {}
        self.get = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, object_id: bytes) -> bool:
        return object_id in self._entries

    def __iter__(self) -> Iterator[tuple[bytes, ObjectEntry]]:
        return iter(self._entries.items())

    def create(self, object_id: bytes) -> ObjectEntry:
        """An object of this process, whose value will come."""
        entry = self._entries[object_id] = ObjectEntry(None)
        return entry

    def borrow(self, object_id: bytes, owner: tuple[bytes, bytes]) -> ObjectEntry:
        """The entry of another process's object; made if it is new here."""
        entry = self._entries.get(object_id)
        if entry is None:
            entry = self._entries[object_id] = ObjectEntry(owner)
        return entry

    def borrow_all(self, object_ids: Iterable[bytes], owner: tuple[bytes, bytes]) -> None:
        """borrow() for many of one owner: a value may hold ten thousand refs."""
        entries = self._entries
        for object_id in object_ids:
            if object_id not in entries:
                entries[object_id] = ObjectEntry(owner)

    def rest(self, object_ids: Iterable[bytes]) -> None:
        """Nothing here uses these borrowed objects for now: nothing is kept of them but their names."""
        entries, pending = self._entries, ObjectState.PENDING
        for object_id in object_ids:
            entry = entries.get(object_id)
            if entry is not None and (entry.state is not pending or entry.asked or entry.waiters):
                del entries[object_id]

    def set_value(self, object_id: bytes, value: common_pb2.Value) -> list[Waiter]:
        """The value arrived; returns who waited. An object freed meanwhile is left alone."""
        entry = self._entries.get(object_id)
        if entry is None:
            return []
        entry.value = value
        entry.asked = False
        # Last: it is read without the lock, and then what belongs to it.
        entry.state = ObjectState.INLINE
        return _take(entry)

    def set_stored(self, object_id: bytes, size: int, nodes: tuple[bytes, ...]) -> list[Waiter]:
        """The object is in these nodes' arenas; returns who waited."""
        entry = self._entries.get(object_id)
        if entry is None:
            return []
        entry.size = size
        entry.nodes = nodes
        entry.asked = False
        # Last: it is read without the lock, and then what belongs to it.
        entry.state = ObjectState.STORED
        return _take(entry)

    def add_node(self, object_id: bytes, node_id: bytes) -> None:
        """A reader there has, or will have, a copy: it is another source, and must be freed with the others."""
        entry = self._entries.get(object_id)
        if node_id and entry is not None and entry.state is ObjectState.STORED and node_id not in entry.nodes:
            entry.nodes = (*entry.nodes, node_id)

    def drop_nodes(self, object_id: bytes, lost: set[bytes]) -> tuple[bytes, ...] | None:
        """Copies at these nodes are gone; returns the nodes that are left, None when the object is not STORED."""
        entry = self._entries.get(object_id)
        if entry is None or entry.state is not ObjectState.STORED:
            return None
        entry.nodes = tuple(node for node in entry.nodes if node not in lost)
        return entry.nodes

    def forget_copies(self, object_id: bytes) -> None:
        """No copy is left; the object is PENDING until it is made again, or fails."""
        entry = self._entries[object_id]
        entry.state = ObjectState.PENDING
        entry.nodes = ()
        entry.generation += 1

    def stored_at(self, node_id: bytes) -> list[bytes]:
        """Our own objects that have a copy at this node. cost: O(objects)."""
        return [
            object_id
            for object_id, entry in self._entries.items()
            if entry.state is ObjectState.STORED and entry.owner is None and node_id in entry.nodes
        ]

    def when_ready(self, object_id: bytes, waiter: Waiter) -> bool:
        """Call `waiter` when the object is ready; True when it is already (the waiter is not called then)."""
        entry = self._entries[object_id]
        if entry.state is not ObjectState.PENDING:
            return True
        if entry.waiters is None:
            entry.waiters = [waiter]
        else:
            entry.waiters.append(waiter)
        return False

    def forget_waiter(self, object_id: bytes, waiter: Waiter) -> None:
        entry = self._entries.get(object_id)
        if entry is not None and entry.waiters is not None and waiter in entry.waiters:
            entry.waiters.remove(waiter)

    def owns_any(self) -> bool:
        """Whether an object of this process is still referred to, here or elsewhere."""
        return any(entry.owner is None for entry in self._entries.values())

    def remove(self, object_id: bytes) -> ObjectEntry | None:
        return self._entries.pop(object_id, None)


def _take(entry: ObjectEntry) -> list[Waiter]:
    waiters, entry.waiters = entry.waiters, None
    return waiters or []
