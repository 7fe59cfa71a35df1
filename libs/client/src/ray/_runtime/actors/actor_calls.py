"""The calls of one actor from this process: a pure core, changed under the process's lock.

Calls leave in the order of their submission; one whose arguments are late holds up those behind it, unless the actor
runs calls side by side anyway. What was sent to an incarnation that died is sent again only as max_task_retries
allows.

**Room.** At most WINDOW calls, or WINDOW_BYTES of them, are at the actor and unfinished; others wait here, so that a
caller that is ahead fills its own memory and not the actor's. A group of calls always has room for as many as the
actor runs at once: what waits here could not have started there.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence, Set
from enum import Enum, auto
from typing import Final, NamedTuple

from ray._runtime.specs.task_record import TaskRecord

WINDOW: Final = 4_096
WINDOW_BYTES: Final = 64 << 20


class ActorState(Enum):
    # No address known yet: being created, or not asked for.
    PENDING = auto()
    ALIVE = auto()
    # Its process is gone and nobody has said what comes of the actor; calls wait for the verdict.
    AWAY = auto()
    # The verdict is a new process: calls that may be repeated wait for it, others fail at once.
    RESTARTING = auto()
    DEAD = auto()


S = ActorState
LEGAL: Final[Mapping[ActorState, Set[ActorState]]] = {
    S.PENDING: {S.PENDING, S.ALIVE, S.AWAY, S.RESTARTING, S.DEAD},
    S.ALIVE: {S.ALIVE, S.AWAY, S.RESTARTING, S.DEAD},
    S.AWAY: {S.AWAY, S.ALIVE, S.RESTARTING, S.DEAD},
    S.RESTARTING: {S.RESTARTING, S.ALIVE, S.DEAD},
    S.DEAD: {S.DEAD},
}


class Outcome(NamedTuple):
    """What an event leads to: calls to send to the present incarnation, calls that fail, and calls that failed there.

    repeat: they have used one of their retries, and wait for the next incarnation or are among those to send.
    """

    send: list[TaskRecord]
    fail: list[TaskRecord]
    repeat: Sequence[TaskRecord] = ()


class ActorCalls:
    """One actor as this process sees it."""

    def __init__(self, actor_id: bytes, in_order: bool, widest: int = 1) -> None:
        """widest: how many calls of one concurrency group the actor runs at once, of the group that has most."""
        self.actor_id = actor_id
        self._widest = widest
        self._window = max(WINDOW, widest)
        # What is in flight of each group, and the bytes of all.
        self._flying: collections.Counter[str] = collections.Counter()
        self._bytes = 0
        # Ready calls that wait for room, by group; of an actor that keeps the order they wait in `queue`.
        self._lines: dict[str, collections.deque[TaskRecord]] = {}
        # Whether any does.
        self.held_back = False
        self.in_order = in_order
        self.state = S.PENDING
        self.incarnation = 0
        # The highest incarnation whose end was announced.
        self._ended = -1
        self.queue: collections.deque[TaskRecord] = collections.deque()
        self.in_flight: dict[bytes, TaskRecord] = {}
        self._sequence = 0

    def move(self, state: ActorState) -> None:
        if state not in LEGAL[self.state]:
            raise ValueError(f"actor {self.actor_id.hex()} cannot go from {self.state.name} to {state.name}")
        self.state = state

    def pending(self) -> int:
        """Calls that are not finished."""
        return len(self.queue) + len(self.in_flight) + sum(map(len, self._lines.values()))

    def waiting(self) -> list[TaskRecord]:
        """Calls that have not been sent, oldest first. cost: O(n log n) of them."""
        lines = [call for line in self._lines.values() for call in line]
        return sorted([*lines, *self.queue], key=_place) if lines else list(self.queue)

    def submit(self, call: TaskRecord) -> bool:
        """Take a place in the order; the call leaves when it is ready and its turn has come.

        returns: False when there is no place, for the actor is dead, or restarts and the call may not be repeated.
        """
        if self.state is S.DEAD or (self.state is S.RESTARTING and not _waits(call)):
            return False
        self._sequence += 1
        call.sequence = self._sequence
        self.queue.append(call)
        return True

    def sendable(self) -> list[TaskRecord]:
        """Calls that can go now; they are in flight from here on."""
        if self.state is not S.ALIVE:
            return []
        self.held_back = False
        queue = self.queue
        if self.in_order:
            return self._leave(queue)
        if queue:
            late: collections.deque[TaskRecord] = collections.deque()
            for call in queue:
                if call.message:
                    self._lines.setdefault(call.group, collections.deque()).append(call)
                elif not call.cancelled:
                    late.append(call)
            self.queue = late
        return [call for line in self._lines.values() for call in self._leave(line)]

    def _leave(self, line: collections.deque[TaskRecord]) -> list[TaskRecord]:
        """Take from the head of a line what is ready and has room."""
        ready: list[TaskRecord] = []
        flying, in_flight = self._flying, self.in_flight
        while line:
            call = line[0]
            if not call.cancelled:
                if not call.message:
                    break
                count = flying[call.group]
                if count >= self._widest and (count >= self._window or self._bytes >= WINDOW_BYTES):
                    self.held_back = True
                    break
                flying[call.group] = count + 1
                self._bytes += len(call.message)
                in_flight[call.task_id] = call
                ready.append(call)
            line.popleft()
        return ready

    def withdraw(self, call: TaskRecord) -> bool:
        """A call is not wanted any more. returns: whether it left the queue; False when it was sent."""
        if call.task_id in self.in_flight:
            return False
        for line in (self.queue, *self._lines.values()):
            if call in line:
                line.remove(call)
        return True

    def finished(self, task_id: bytes) -> bool:
        """returns: whether it was in flight."""
        call = self.in_flight.pop(task_id, None)
        if call is None:
            return False
        self._flying[call.group] -= 1
        self._bytes -= len(call.message)
        return True

    def refused(self, call: TaskRecord) -> None:
        """The process there is not, or no longer, the incarnation that was meant: the call never started."""
        if self.finished(call.task_id):
            self._requeue([call])

    def alive(self, incarnation: int) -> Outcome:
        """An incarnation serves. Older news are ignored."""
        if self.state is S.DEAD or incarnation < self.incarnation or incarnation <= self._ended:
            return Outcome([], [])
        failed: list[TaskRecord] = []
        again: list[TaskRecord] = []
        if incarnation > self.incarnation:
            again, failed = self._give_up_in_flight()
        self.incarnation = incarnation
        self.move(S.ALIVE)
        return Outcome(self.sendable(), failed, tuple(again))

    def away(self) -> Outcome:
        """Its process died and nobody has said yet what comes of the actor; what was sent is settled then."""
        if self.state not in (S.DEAD, S.RESTARTING):
            self.move(S.AWAY)
        return Outcome([], [])

    def restarting(self) -> Outcome:
        """The incarnation that calls were sent to will not answer them; who may not be repeated does not wait."""
        if self.state is S.DEAD:
            return Outcome([], [])
        self.move(S.RESTARTING)
        self._ended = self.incarnation
        again, failed = self._give_up_in_flight()
        waiting = self.waiting()
        failed += [call for call in waiting if not _waits(call)]
        self._wait([call for call in waiting if _waits(call)])
        return Outcome([], failed, tuple(again))

    def dead(self) -> Outcome:
        """Final: everything fails."""
        self.move(S.DEAD)
        failed = list(self.in_flight.values()) + self.waiting()
        self._land()
        self._wait([])
        return Outcome([], failed)

    def _give_up_in_flight(self) -> tuple[list[TaskRecord], list[TaskRecord]]:
        """returns: calls that are repeated, and calls that fail."""
        again: list[TaskRecord] = []
        failed: list[TaskRecord] = []
        for call in self.in_flight.values():
            (again if call.may_retry() else failed).append(call)
        self._land()
        for call in again:
            if call.retries_left > 0:
                call.retries_left -= 1
            call.attempt += 1
        self._requeue(again)
        return again, failed

    def _requeue(self, calls: list[TaskRecord]) -> None:
        for call in calls:
            call.sent_at = 0.0
        self._wait(sorted([*calls, *self.waiting()], key=_place))

    def _wait(self, calls: list[TaskRecord]) -> None:
        """These, in that order, are all that is not sent."""
        self.queue = collections.deque(calls)
        self._lines.clear()

    def _land(self) -> None:
        """Nothing is in flight any more."""
        self.in_flight.clear()
        self._flying.clear()
        self._bytes = 0


def _place(call: TaskRecord) -> int:
    return call.sequence


def _waits(call: TaskRecord) -> bool:
    """Whether the call outlasts a restart: it may be repeated, or has paid for the attempt that it waits for."""
    return bool(call.retries_left or call.attempt)
