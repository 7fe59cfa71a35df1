"""Arguments of tasks that wait on this node, brought before anybody here asks for them.

Each is pinned from its arrival until the first process asks for it, its owner frees it, KEEP_S have passed, or room is
short. Nobody waits for a prefetch: one that fails is forgotten, and the task brings the object itself.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from google.protobuf.message import Message
from manta_common.ids import ObjectId
from manta_common.logs import get
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

from manta_object_manager.client_id import PREFETCHES, ClientId
from manta_object_manager.client_link import Client
from manta_object_manager.object_table import Copy, ObjectTable

# A task that has not begun by then finds a copy that may have been evicted.
KEEP_S: Final = 30.0
# Of the arena, on their way and pinned together: the rest belongs to tasks that run.
_SHARE: Final = 4

_log = get("manta_object_manager")

# Brings an object for a client, which is sent LOCATED; Incoming.get.
Bring = Callable[[Client, pb.Get], None]


class Prefetch:
    """For the event loop's thread only. A client of Incoming, in the name of tasks that have no process yet."""

    def __init__(self, table: ObjectTable, arena_bytes: int) -> None:
        self.id: ClientId = PREFETCHES
        self.closed = False
        self.arrived_bytes = 0
        self._table = table
        self._limit = arena_bytes // _SHARE
        self._last = 0
        self._coming: dict[int, tuple[ObjectId, int]] = {}  # request -> object, bytes
        self._known: dict[ObjectId, int] = {}  # on their way or pinned -> bytes
        self._pinned: dict[ObjectId, asyncio.TimerHandle] = {}
        self._freed: set[ObjectId] = set()  # of those on their way, what nobody refers to any more
        self._bytes = 0

    @property
    def pinned(self) -> int:
        """Objects that wait here for their task."""
        return len(self._pinned)

    def wanted(self, request: pb.Prefetch, bring: Bring) -> None:
        """Bring what is not here; stops at the first that is too much, so that the oldest task's set comes first."""
        for item in request.items:
            object_id = ObjectId(item.object_id)
            present = self._table.find(object_id)
            if object_id in self._known or (present is not None and present.copy is Copy.PRIMARY):
                continue
            if self._bytes + item.size > self._limit:
                return
            self._last += 1
            self._coming[self._last] = (object_id, item.size)
            self._known[object_id] = item.size
            self._bytes += item.size
            get = pb.Get(request_id=self._last, object_id=object_id, node_ids=item.node_ids, owner=item.owner)
            bring(self, get)

    def send(self, kind: int, message: Message) -> None:
        """The answer to one GET of ours."""
        assert isinstance(message, pb.Located), "a client that only gets is sent nothing else"
        object_id, _ = self._coming.pop(message.request_id)
        if message.failure.code:
            _log.debug("prefetch_failed", object_id=object_id.hex(), reason=message.failure.message)
            self._forget(object_id)
            return
        self.arrived_bytes += message.size
        entry = self._table.find(object_id)
        if object_id in self._freed or entry is None or entry.freed:
            self._forget(object_id)
            self._table.release(PREFETCHES, object_id)
            self._table.free((object_id,))
            return
        loop = asyncio.get_running_loop()
        self._pinned[object_id] = loop.call_later(KEEP_S, self.release, object_id)
        loop.call_soon(self._hand_over, object_id)

    def _hand_over(self, object_id: ObjectId) -> None:
        """Somebody may have asked while it was on its way, and has its own pin."""
        entry = self._table.find(object_id)
        if entry is not None and len(entry.pins) > 1:
            self.release(object_id)

    def release(self, object_id: ObjectId) -> None:
        """The task has its own pin now, or the object is not wanted any more."""
        timer = self._pinned.pop(object_id, None)
        if timer is not None:
            timer.cancel()
            self._forget(object_id)
            self._table.release(PREFETCHES, object_id)

    def freed(self, object_id: ObjectId) -> None:
        """Its owner says that nobody refers to the object any more; it may be on its way."""
        if object_id in self._pinned:
            self.release(object_id)
        elif object_id in self._known:
            self._freed.add(object_id)

    def release_freed(self) -> None:
        """Owners died, or jobs ended: what was freed by that is nobody's."""
        for object_id in list(self._pinned):
            entry = self._table.find(object_id)
            if entry is not None and entry.freed:
                self.release(object_id)

    def release_all(self) -> None:
        """Room is short."""
        for object_id in list(self._pinned):
            self.release(object_id)

    def _forget(self, object_id: ObjectId) -> None:
        self._bytes -= self._known.pop(object_id)
        self._freed.discard(object_id)
