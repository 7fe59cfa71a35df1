"""What two processes say to each other over all their connections, so that a broken one loses nothing: a pure core.

Both number their frames from 1 by counting; no number travels with a frame. What has left stays here until the peer
acknowledges it. A connection that breaks takes frames with it, nobody knows which: on the next one each side first says
the number of the last frame that it received, and the other goes on from there.

A new connection may be read before the old one is read to its end, so frames can come twice. The receiver therefore
counts on each connection by itself, from the number that its sender says the connection begins with, and takes only
what its session has not had.

One thread at a time takes (it sends), and one is told of arrivals (it reads); the two may be different ones.
"""

from __future__ import annotations

import collections
from enum import Enum, auto
from typing import Final

Frame = tuple[int, bytes]  # kind, payload

# The receiver acknowledges after so many frames or bytes, and what is less when it has been quiet for a moment.
ACKNOWLEDGE_FRAMES: Final = 64
ACKNOWLEDGE_BYTES: Final = 1 << 20
# With so many bytes unacknowledged nothing more leaves: it waits with what is queued anyway.
WINDOW_BYTES: Final = 64 << 20


class Arrival(Enum):
    """What to do with a numbered frame."""

    # It came over an earlier connection already.
    REPEATED = auto()
    NEW = auto()
    # New, and it is time to acknowledge.
    NEW_AND_DUE = auto()


class Session:
    """One side of it. `waiting` may be appended to by any thread."""

    __slots__ = (
        "_acknowledged_bytes",
        "_again",
        "_sent",
        "_taken_bytes",
        "_told",
        "_untold_bytes",
        "_window_bytes",
        "acknowledged",
        "kept",
        "received",
        "stalled",
        "taken",
        "waiting",
    )

    def __init__(self, window_bytes: int = WINDOW_BYTES) -> None:
        self._window_bytes = window_bytes
        self.waiting: collections.deque[Frame] = collections.deque()
        # Taken and not acknowledged; the first has number `acknowledged` + 1.
        self._sent: collections.deque[Frame] = collections.deque()
        # Those of them that the present connection has to carry once more.
        self._again: collections.deque[Frame] = collections.deque()
        self.taken = 0
        self.acknowledged = 0
        # Two counters, each written by one thread, in place of one that both would change.
        self._taken_bytes = 0
        self._acknowledged_bytes = 0
        self.stalled = False
        # False for a peer of an older protocol: it acknowledges nothing, so what has left is forgotten.
        self.kept = True
        self.received = 0
        self._told = 0
        self._untold_bytes = 0

    # -- frames that leave

    def take(self) -> Frame | None:
        """The next frame to send; None when there is none, or when too much is unacknowledged (`stalled` then)."""
        if self._again:
            return self._again.popleft()
        if not self.waiting or (self._is_full() and self._stall()):
            return None
        frame = self.waiting[0]
        if self.kept:
            # Kept before it is taken away: who looks whether all has arrived must see it in one place or the other.
            self._sent.append(frame)
            self._taken_bytes += len(frame[1])
            self.taken += 1
        self.waiting.popleft()
        return frame

    def sendable(self) -> bool:
        """Whether `take` may give a frame."""
        return bool(self._again or (self.waiting and not self.stalled))

    def unsent(self) -> bool:
        """Whether something waits to be taken."""
        return bool(self._again or self.waiting)

    def _is_full(self) -> bool:
        return self._taken_bytes - self._acknowledged_bytes >= self._window_bytes

    def _stall(self) -> bool:
        self.stalled = True
        # The acknowledgement that makes room may have come between our look and our word.
        self.stalled = self._is_full()
        return self.stalled

    def on_acknowledged(self, number: int) -> bool:
        """The peer has all frames up to `number`. returns: whether a sender that was stalled may go on.

        raises: ValueError for a number that was never taken.
        """
        if number > self.taken:
            raise ValueError(f"frame {number} was acknowledged, and {self.taken} were sent")
        while self.acknowledged < number:
            self.acknowledged += 1
            self._acknowledged_bytes += len(self._sent.popleft()[1])
        if self.stalled and not self._is_full():
            self.stalled = False
            return True
        return False

    def resume(self, received: int | None) -> int:
        """Begin a connection; nobody takes meanwhile. received: what the peer says it has; None: it keeps no session.

        returns: the number of the first frame that the connection will carry.
        """
        if received is None:
            self.forget()
            return 1
        self.kept = True
        if received > self.taken:
            # We had declared the peer dead and forgotten what we said to it; it goes on with what it knows.
            self.taken, self.acknowledged = received + len(self._sent), received
        self.on_acknowledged(max(received, self.acknowledged))
        # They keep their numbers: an older connection may still be read, and some of them be acknowledged meanwhile.
        self._again = self._sent.copy()
        self.stalled = False
        return self.acknowledged + 1

    def forget(self) -> None:
        """The peer keeps no session: nothing will be acknowledged."""
        self.kept = self.stalled = False
        self._sent.clear()
        self._again.clear()
        self._acknowledged_bytes = self._taken_bytes

    def clear(self) -> None:
        """The peer is dead."""
        self.forget()
        self.waiting.clear()

    def unsettled(self) -> bool:
        """Whether something waits, or left and is not known to have arrived."""
        return bool(self.waiting or self._sent)

    # -- frames that arrive

    def begin(self, first: int) -> None:
        """A connection's next frame has this number. raises: ValueError when frames between were never received."""
        if first > self.received + 1:
            if self.received:
                raise ValueError(f"the connection begins with frame {first}, and {self.received} is the last received")
            # The peer goes on with a session that we ended when we declared it dead.
            self.received = self._told = first - 1

    def arrived(self, number: int, size: int) -> Arrival:
        """Count a frame of `size` payload bytes."""
        if number <= self.received:
            return Arrival.REPEATED
        self.received = number
        self._untold_bytes += size
        if number - self._told >= ACKNOWLEDGE_FRAMES or self._untold_bytes >= ACKNOWLEDGE_BYTES:
            return Arrival.NEW_AND_DUE
        return Arrival.NEW

    def owes(self) -> bool:
        """Whether frames arrived that were not acknowledged."""
        return self.received > self._told

    def tell(self) -> int:
        """The number to acknowledge now."""
        self._told = self.received
        self._untold_bytes = 0
        return self._told
