"""ray.wait for objects on this node: one that is made elsewhere counts once its copy has arrived."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ray._runtime.arena.arena_errors import ObjectNotFound
from ray._runtime.arena.pins import Pinned
from ray._runtime.loop.latch import Gate
from ray._runtime.objects.object_table import ObjectState

if TYPE_CHECKING:
    from ray._runtime.objects.object_table import ObjectEntry
    from ray._runtime.process.process import Process
    from ray._runtime.values.object_ref import ObjectRef

# So many more are brought at once than are waited for: the first in the list need not be the first to arrive.
_MORE: Final = 16


def is_elsewhere(entry: ObjectEntry, node_id: bytes) -> bool:
    """Whether a copy may have to be brought to this node. The first that is named has the primary one, which stays."""
    return entry.state is ObjectState.STORED and entry.nodes[:1] != (node_id,)


class Lost(NamedTuple):
    """No copy of the object is at these nodes, which were those of one generation."""

    ref: ObjectRef
    entry: ObjectEntry
    nodes: Sequence[bytes]
    generation: int


class LocalWait:
    """Until `needed` of the refs are here. One that cannot be brought counts as here: getting it tells why.

    It may be run again, after copies were lost.
    """

    def __init__(self, process: Process, refs: Sequence[ObjectRef], needed: int) -> None:
        self._process = process
        self._refs = refs
        self._needed = needed
        self.here: set[bytes] = set()
        self.lost: list[Lost] = []
        self._gate = Gate(needed)
        # Changed on the waiting thread and on the one that reads; each step is one call.
        self._away: list[ObjectRef] = []

    def run(self, wait: Callable[[Gate, bool], None]) -> None:
        """wait: how the calling thread waits, at a gate, and whether for something that this process has to make."""
        process, objects = self._process, self._process.objects
        self.here.clear()
        self.lost.clear()
        self._away.clear()
        pending: dict[bytes, ObjectRef] = {}
        for ref in self._refs:
            entry = objects.get(ref._id)
            if entry is None or entry.state is ObjectState.PENDING:
                pending[ref._id] = ref
            elif is_elsewhere(entry, process.node_id):
                self._away.append(ref)
            else:
                self.here.add(ref._id)
        if len(self.here) >= self._needed:
            return
        missing = self._needed - len(self.here)
        gate = self._gate = Gate(missing)

        def ready(object_id: bytes) -> None:
            entry = objects.get(object_id)
            if entry is not None and is_elsewhere(entry, process.node_id):
                self._bring(pending[object_id], gate)
            else:
                self._arrived(object_id, gate)

        with process.lock:
            already = [object_id for object_id in pending if objects.when_ready(object_id, ready)]
        for object_id in already:
            ready(object_id)
        for _ in range(missing + _MORE):
            self._bring_next(gate)
        makes = False
        try:
            for object_id, ref in pending.items():
                entry = objects.get(object_id)
                if entry is not None and entry.owner is not None:
                    process.inquiries.want(ref)
                else:
                    makes = True
            if not gate.opened:
                wait(gate, makes)
        finally:
            with process.lock:
                for object_id in pending:
                    objects.forget_waiter(object_id, ready)

    def _bring_next(self, gate: Gate) -> None:
        if self._away:
            self._bring(self._away.pop(0), gate)

    def _bring(self, ref: ObjectRef, gate: Gate) -> None:
        process = self._process
        entry = process.objects.get(ref._id)
        if entry is None:
            self._arrived(ref._id, gate)
            return
        generation, nodes = entry.generation, entry.nodes
        told = functools.partial(self._told, ref, entry, nodes, generation, gate)
        process.arena.get_async(ref._id, list(nodes), ref._owner or process.address, told)

    def _told(
        self,
        ref: ObjectRef,
        entry: ObjectEntry,
        nodes: Sequence[bytes],
        generation: int,
        gate: Gate,
        pin: Pinned | Exception,
    ) -> None:
        process = self._process
        if isinstance(pin, Pinned):
            with process.lock:
                process.objects.add_node(ref._id, process.node_id)
            process.reads.keep(ref._id, pin)
        if isinstance(pin, ObjectNotFound) and not process.closing:
            self.lost.append(Lost(ref, entry, pin.lost_at or nodes, generation))
            gate.open()
            return
        self._arrived(ref._id, gate)

    def _arrived(self, object_id: bytes, gate: Gate) -> None:
        if gate is self._gate:  # else it was asked for by a run that copies were lost in
            self.here.add(object_id)
            gate.one_ready()
            self._bring_next(gate)
