"""Objects on their way here from other nodes: one pull an object, many waiters, candidates in order.

A node that says that it has no copy is done with. One that could not be asked, or broke off, says nothing about the
object: the others come first, then it is asked again, with backoff, until it answers or is declared dead.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, NewType

from manta_common.ids import NodeId, ObjectId

from manta_object_manager.object_table import Owner

WaiterId = NewType("WaiterId", int)


class Stage(Enum):
    QUEUED = auto()  # waits for a stream
    OPENING = auto()  # a node is being asked
    WAITING = auto()  # the size is known; waits for the byte budget
    RECEIVING = auto()  # a range is reserved and being filled
    RESTING = auto()  # whoever may have it could not be reached a moment ago


_STREAMING: Final = frozenset({Stage.OPENING, Stage.WAITING, Stage.RECEIVING})

# How long a node may take to answer before others are asked, and how long nobody is asked when nobody could be reached;
# each doubles with every failure of the pull.
FIRST_PATIENCE_S: Final = 2.0
LONGEST_PATIENCE_S: Final = 16.0
FIRST_REST_S: Final = 0.1
LONGEST_REST_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Ask this node for the object; answer with opened, missing, unreached or, when told to stop, nothing.

    After patience_s without an answer, tell with overdue.
    """

    object_id: ObjectId
    node_id: NodeId
    attempt: int
    patience_s: float


@dataclass(frozen=True, slots=True)
class Receive:
    """Reserve a range and take the bytes; answer with finished or failed."""

    object_id: ObjectId
    owner: Owner
    size: int
    attempt: int


@dataclass(frozen=True, slots=True)
class StopStream:
    """Nobody waits for it any more, or its node died: end the stream of this attempt."""

    object_id: ObjectId
    attempt: int


@dataclass(frozen=True, slots=True)
class Tell:
    """The pull is over: arrived when lost_at is None, else lost at all of these nodes (may be empty)."""

    object_id: ObjectId
    waiters: tuple[WaiterId, ...]
    lost_at: tuple[NodeId, ...] | None


@dataclass(frozen=True, slots=True)
class Rest:
    """Answer with rested after delay_s."""

    object_id: ObjectId
    attempt: int
    delay_s: float


Command = OpenStream | Receive | StopStream | Tell | Rest


@dataclass(slots=True)
class _Pull:
    object_id: ObjectId
    owner: Owner
    candidates: list[NodeId]
    waiters: dict[WaiterId, None]
    arrival: int
    stage: Stage = Stage.QUEUED
    lost_at: list[NodeId] = field(default_factory=list)
    unreached: list[NodeId] = field(default_factory=list)
    failures: int = 0
    asked: NodeId | None = None
    attempt: int = 0
    size: int = 0


class Pulls:
    """The pulls of one node, admitted in the order of their first waiter.

    budget: bytes being received at the same time; a larger object is received alone. streams: nodes asked at the same
    time. Pulls beyond that are queued; their number is bounded by the requests that clients have open.
    """

    def __init__(self, *, budget: int, streams: int) -> None:
        if budget < 1 or streams < 1:
            raise ValueError(f"pulls need a budget and streams of at least 1, not {budget} and {streams}")
        self._budget = budget
        self._streams = streams
        self._pulls: dict[ObjectId, _Pull] = {}
        self._queue: OrderedDict[ObjectId, _Pull] = OrderedDict()  # the next to be opened first
        self._active: dict[ObjectId, _Pull] = {}  # those with a stream
        self._object_of: dict[WaiterId, ObjectId] = {}
        self._receiving = 0  # bytes
        self._attempts = 0
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._pulls)

    @property
    def receiving_bytes(self) -> int:
        return self._receiving

    def request(self, waiter: WaiterId, object_id: ObjectId, node_ids: Iterable[NodeId], owner: Owner) -> list[Command]:
        """Bring the object from the first of these nodes that has it; joins a pull under way."""
        pull = self._pulls.get(object_id)
        if pull is None:
            self._arrivals += 1
            pull = _Pull(object_id, owner, list(dict.fromkeys(node_ids)), {}, self._arrivals)
            self._pulls[object_id] = self._queue[object_id] = pull
        else:
            known = {*pull.candidates, *pull.lost_at, *pull.unreached, pull.asked}
            pull.candidates += [node for node in dict.fromkeys(node_ids) if node not in known]
            if pull.candidates and pull.stage is Stage.RESTING:
                self._enqueue(pull)
        pull.waiters[waiter] = None
        self._object_of[waiter] = object_id
        return self._advance()

    def cancel(self, waiter: WaiterId) -> list[Command]:
        """The waiter wants it no more; the last one's leaving stops the pull. Unknown waiters are ignored."""
        object_id = self._object_of.pop(waiter, None)
        if object_id is None:
            return []
        pull = self._pulls[object_id]
        del pull.waiters[waiter]
        if pull.waiters:
            return []
        stop = self._stop(pull)
        self._end(pull, ())
        return stop + self._advance()

    def opened(self, object_id: ObjectId, attempt: int, size: int) -> list[Command]:
        """The node has the object, of this size."""
        pull = self._current(object_id, attempt)
        if pull is None or pull.stage is not Stage.OPENING:
            return []
        pull.size = size
        pull.stage = Stage.WAITING
        return self._advance()

    def missing(self, object_id: ObjectId, attempt: int) -> list[Command]:
        """The node says that it does not have it, or is dead: the next one is asked."""
        pull = self._current(object_id, attempt)
        if pull is None:
            return []
        if pull.asked is not None:
            pull.lost_at.append(pull.asked)
        self._enqueue(pull)
        return self._advance()

    def unreached(self, object_id: ObjectId, attempt: int) -> list[Command]:
        """The node could not be asked, or broke off: the next one is asked, this one later again."""
        pull = self._current(object_id, attempt)
        if pull is None:
            return []
        if pull.asked is not None:
            pull.unreached.append(pull.asked)
        pull.failures += 1
        self._enqueue(pull)
        return self._advance()

    def overdue(self, object_id: ObjectId, attempt: int) -> list[Command]:
        """Nothing was heard of this attempt within its patience: its stream is stopped, and counts as unreached."""
        pull = self._current(object_id, attempt)
        if pull is None or pull.stage is not Stage.OPENING:
            return []
        return [StopStream(object_id, attempt), *self.unreached(object_id, attempt)]

    def rested(self, object_id: ObjectId, attempt: int) -> list[Command]:
        """The nodes that could not be reached are asked again."""
        pull = self._pulls.get(object_id)
        if pull is None or pull.stage is not Stage.RESTING or pull.attempt != attempt:
            return []
        pull.candidates, pull.unreached = pull.unreached, []
        self._enqueue(pull)
        return self._advance()

    def finished(self, object_id: ObjectId, attempt: int) -> list[Command]:
        """All bytes are here and sealed."""
        pull = self._current(object_id, attempt)
        return [] if pull is None else [*self._end(pull, None), *self._advance()]

    def present(self, object_id: ObjectId) -> list[Command]:
        """The object came into being here by other means; stops the pull and tells its waiters."""
        pull = self._pulls.get(object_id)
        if pull is None:
            return []
        stop = self._stop(pull)
        return [*stop, *self._end(pull, None), *self._advance()]

    def refused(self, object_id: ObjectId, attempt: int) -> tuple[WaiterId, ...]:
        """Nothing could be reserved here: the pull ends; returns its waiters, who are to be told why."""
        pull = self._current(object_id, attempt)
        if pull is None:
            return ()
        waiters = tuple(pull.waiters)
        self._end(pull, ())
        return waiters

    def node_died(self, node_id: NodeId) -> list[Command]:
        """Streams from this node are stopped and count as failed; it is no candidate any more."""
        commands: list[Command] = []
        for pull in list(self._pulls.values()):
            for nodes in (pull.candidates, pull.unreached):
                if node_id in nodes:
                    nodes.remove(node_id)
                    pull.lost_at.append(node_id)
            if pull.stage is Stage.RESTING and not pull.unreached:
                self._enqueue(pull)
            elif pull.asked == node_id:
                commands.append(StopStream(pull.object_id, pull.attempt))
                commands += self.missing(pull.object_id, pull.attempt)
        return commands + self._advance()

    def is_current(self, object_id: ObjectId, attempt: int) -> bool:
        """Whether somebody still waits for this attempt."""
        return self._current(object_id, attempt) is not None

    def is_receiving(self, object_id: ObjectId, attempt: int) -> bool:
        """Whether this attempt was told to receive, and still is to."""
        pull = self._current(object_id, attempt)
        return pull is not None and pull.stage is Stage.RECEIVING

    def advance(self) -> list[Command]:
        """What can start now, after something outside ended a pull."""
        return self._advance()

    def _current(self, object_id: ObjectId, attempt: int) -> _Pull | None:
        # A stream that was stopped may still answer; its number tells it from the present one.
        pull = self._pulls.get(object_id)
        return pull if pull is not None and pull.attempt == attempt and pull.stage in _STREAMING else None

    def _stop(self, pull: _Pull) -> list[Command]:
        return [StopStream(pull.object_id, pull.attempt)] if pull.stage in _STREAMING else []

    def _enqueue(self, pull: _Pull) -> None:
        """Ahead of all that have no stream yet, since it is older."""
        self._leave_stage(pull)
        self._queue[pull.object_id] = pull
        self._queue.move_to_end(pull.object_id, last=False)

    def _leave_stage(self, pull: _Pull) -> None:
        if pull.stage is Stage.RECEIVING:
            self._receiving -= pull.size
        self._active.pop(pull.object_id, None)
        pull.asked = None
        pull.stage = Stage.QUEUED

    def _rest(self, pull: _Pull) -> Rest:
        pull.stage = Stage.RESTING
        return Rest(pull.object_id, pull.attempt, min(FIRST_REST_S * 2 ** min(pull.failures, 10), LONGEST_REST_S))

    def _end(self, pull: _Pull, lost_at: tuple[NodeId, ...] | None) -> list[Command]:
        self._leave_stage(pull)
        self._queue.pop(pull.object_id, None)
        del self._pulls[pull.object_id]
        for waiter in pull.waiters:
            del self._object_of[waiter]
        return [Tell(pull.object_id, tuple(pull.waiters), lost_at)]

    def _advance(self) -> list[Command]:
        commands: list[Command] = []
        while self._queue and len(self._active) < self._streams:
            pull = self._queue.popitem(last=False)[1]
            if not pull.candidates:
                commands += [self._rest(pull)] if pull.unreached else self._end(pull, tuple(pull.lost_at))
                continue
            self._attempts += 1
            pull.attempt = self._attempts
            pull.stage = Stage.OPENING
            pull.asked = pull.candidates.pop(0)
            self._active[pull.object_id] = pull
            patience_s = min(FIRST_PATIENCE_S * 2 ** min(pull.failures, 10), LONGEST_PATIENCE_S)
            commands.append(OpenStream(pull.object_id, pull.asked, pull.attempt, patience_s))
        waiting = (pull for pull in self._active.values() if pull.stage is Stage.WAITING)
        for pull in sorted(waiting, key=lambda one: one.arrival):
            if self._receiving and self._receiving + pull.size > self._budget:
                break  # no younger one overtakes it
            self._receiving += pull.size
            pull.stage = Stage.RECEIVING
            commands.append(Receive(pull.object_id, pull.owner, pull.size, pull.attempt))
        return commands
