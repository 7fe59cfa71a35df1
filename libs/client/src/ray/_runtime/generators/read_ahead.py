"""Stored items of a generator, brought to their reader before it asks for them.

Who reads one item will most likely read the next. Its pin is made, and its copy brought from another node, while the
reader is busy with the one before: a round trip, or a transfer, less to wait for.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from ray._runtime.arena.pins import Pinned
from ray._runtime.generators.generator_replay import index_of
from ray._runtime.objects.object_table import ObjectState
from ray._runtime.specs.task_ids import TASK_ID_SIZE
from ray._runtime.values.wire import item_id

if TYPE_CHECKING:
    from ray._runtime.generators.generators import GeneratorCall
    from ray._runtime.process.process import Process

# Ahead of the reader: items, and what they may have together.
_ITEMS: Final = 4
_BYTES: Final = 32 * 1024 * 1024
# Of the arena, at the most: what is on its way here can be neither let go nor evicted, and a put may need the room.
_SHARE: Final = 8


class ReadAhead:
    """Of one process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def after(self, object_id: bytes) -> None:
        """A stored object was read here: look ahead if it is an item. Never waits; no lock is held."""
        process = self._process
        call = process.generators.find(object_id[:TASK_ID_SIZE])
        if call is None:
            return
        with process.lock:
            wanted = self._wanted(call, index_of(object_id) + 1)
        for wanted_id, nodes in wanted:
            kept = functools.partial(self._keep, wanted_id)
            process.arena.get_async(wanted_id, nodes, process.address, kept, flush=False)
        if wanted:
            process.arena.flush()

    def _wanted(self, call: GeneratorCall, following: int) -> list[tuple[bytes, tuple[bytes, ...]]]:
        """What to bring now; the lock is held."""
        begin = max(call.ahead, following)
        if begin - following > _ITEMS // 2:
            return []  # so that a few are asked for together
        wanted, size = [], 0
        most = min(_BYTES, self._process.arena.size // _SHARE)
        for index in range(begin, min(call.stream.arrived, following + _ITEMS)):
            object_id = item_id(call.task_id, index)
            entry = self._process.objects.get(object_id)
            if entry is not None and entry.state is ObjectState.STORED:
                size += entry.size
                if size > most:
                    break
                wanted.append((object_id, entry.nodes))
            call.ahead = index + 1
        return wanted

    def _keep(self, object_id: bytes, pin: Pinned | Exception) -> None:
        """Told by whoever reads the answer. What went wrong is told again to who asks for the object."""
        process = self._process
        if not isinstance(pin, Pinned):
            return
        with process.lock:
            wanted = object_id in process.objects
            if wanted:
                process.objects.add_node(object_id, process.node_id)
            else:
                # Its free went out before this copy was here, and named other nodes.
                process.to_free.append((object_id, [process.node_id]))
        if wanted:
            process.reads.keep(object_id, pin)
        else:
            process.drops.ask()
