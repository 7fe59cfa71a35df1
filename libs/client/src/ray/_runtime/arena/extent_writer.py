"""The extents of one connection to the object manager: writing without asking, and answering who asks for them back.

Whatever changes the core does so under a lock that nobody waits for: a writer that does not get it asks the object
manager for its object as if there were no extents, and what messages and destructors say is queued for the holder.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from manta_proto.common.v1.common_pb2 import WorkerAddress
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

from ray._runtime.arena.arena_errors import ArenaDisconnected
from ray._runtime.arena.extents import Extents, Part, rounded
from ray._runtime.arena.writable import Writable

if TYPE_CHECKING:
    from ray._runtime.arena.arena_connection import ArenaConnection


class ExtentWriter:
    """Thread-safe, also in a finalizer. on_held: told, on any thread, when there is something that may expire."""

    def __init__(self, connection: ArenaConnection) -> None:
        self._connection = connection
        self._extents = Extents(connection.welcome.size) if connection.welcome.extents else None
        self._lock = threading.Lock()
        self._news: deque[Callable[[Extents], None]] = deque()
        self._closed = False
        self.on_held: Callable[[], None] | None = None

    def writable(self, object_id: bytes, size: int, owner: WorkerAddress) -> Writable | None:
        """A part to write the object to; None when it has to be asked for."""
        extents = self._extents
        if extents is None or self._closed or not extents.suits(size) or not self._lock.acquire(blocking=False):
            return None
        try:
            now = time.monotonic()
            self._take_news(extents)
            part, over = extents.carve(size, now)
            wish = extents.wish(size, now)
        finally:
            self._lock.release()
        self._settle()
        self._return(over)
        if wish:
            self._connection.queue(pb.EXTENT_WANTED, pb.ExtentWanted(size=wish, at_least=rounded(size)))
        if part is None:
            return None
        return Writable(self._connection, object_id, size, part.offset, part, owner)

    def taken_back(self, part: Part) -> None:
        """A part whose object nobody was told of, and nobody wants."""
        self._news.append(lambda extents: self._take_back(extents, part))
        self._settle()
        if self.on_held is not None:
            self.on_held()

    def granted(self, reply: pb.ExtentGranted) -> None:
        """From the object manager, by whoever reads."""
        part = Part(reply.extent, reply.offset, reply.size)
        self._news.append(lambda extents: self._keep(extents, part))
        self._settle()
        if part.size and self.on_held is not None:
            self.on_held()

    def asked(self, question: pb.ExtentsAsked) -> None:
        """From the object manager, by whoever reads; the answer goes out behind all that is queued."""
        if question.give_back:
            self._news.append(lambda extents: self._return(extents.give_back(time.monotonic())))
        self._news.append(lambda extents: self._answer(question.round))
        self._settle()
        with contextlib.suppress(ArenaDisconnected):  # noted by the connection; nobody waits for our answer then
            self._connection.flush()

    def expire(self) -> bool:
        """Give back what was not used of late. returns: whether there is more to give back another time."""
        self._news.append(lambda extents: self._return(extents.expire(time.monotonic())))
        self._settle()
        return self.holds

    @property
    def holds(self) -> bool:
        """Whether there is anything to give back."""
        return self._extents is not None and self._extents.holds

    def close(self) -> None:
        """Give back everything; nothing is carved any more."""
        self._closed = True
        self._news.append(lambda extents: self._return(extents.give_back(time.monotonic())))
        self._settle()

    def _settle(self) -> None:
        """Apply the news, unless somebody holds the lock: that one looks again after it let go."""
        extents = self._extents
        while self._news and extents is not None:
            if not self._lock.acquire(blocking=False):
                return
            try:
                self._take_news(extents)
            finally:
                self._lock.release()

    def _take_news(self, extents: Extents) -> None:
        while self._news:
            self._news.popleft()(extents)

    def _keep(self, extents: Extents, part: Part) -> None:
        extents.granted(part, time.monotonic())
        if self._closed:
            self._return(extents.give_back(time.monotonic()))

    def _take_back(self, extents: Extents, part: Part) -> None:
        self._return(extents.taken_back(part, time.monotonic()))
        if self._closed:
            self._return(extents.give_back(time.monotonic()))

    def _answer(self, number: int) -> None:
        self._connection.queue(pb.EXTENTS_ANSWERED, pb.ExtentsAnswered(round=number))

    def _return(self, parts: Iterable[Part]) -> None:
        returned = pb.ExtentReturned()
        for part in parts:
            returned.parts.add(extent=part.extent, offset=part.offset, size=part.size)
        if returned.parts:
            self._connection.queue(pb.EXTENT_RETURNED, returned)
