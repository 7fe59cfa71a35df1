"""The worker processes of this node and their states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from manta_common.ids import ActorId, LeaseId, WorkerId
from manta_proto.common.v1 import common_pb2

from manta_raylet.kernel.lease import WorkerKey


class WorkerState(Enum):
    STARTING = auto()  # asked of the zygote; not yet ready
    IDLE = auto()  # ready, and holds nothing
    LEASED = auto()  # a client sends it tasks
    ACTOR = auto()  # an actor lives or is being made in it
    ENDING = auto()  # told to end; gone when its process is
    RETIRED = auto()  # serves nobody any more; stays until nobody needs the objects that it owns
    DEAD = auto()  # final


S = WorkerState
LEGAL: Final[Mapping[WorkerState, Set[WorkerState]]] = {
    S.STARTING: {S.IDLE, S.ACTOR, S.ENDING, S.DEAD},
    S.IDLE: {S.LEASED, S.ACTOR, S.ENDING, S.DEAD},
    S.LEASED: {S.IDLE, S.ENDING, S.DEAD},
    S.ACTOR: {S.ENDING, S.DEAD},
    # It declined to end, for others need its objects: an IDLE one, or RETIRED after its last lease.
    S.ENDING: {S.IDLE, S.RETIRED, S.DEAD},
    S.RETIRED: {S.ENDING, S.DEAD},
    S.DEAD: set(),
}


_FOR_TASKS: Final = frozenset({S.STARTING, S.IDLE, S.LEASED})


@dataclass(slots=True)
class Worker:
    """One worker process. since: when it took its state; the other fields say what it holds in that state.

    launched_at: when it was asked for. started_at: when it was ready, 0: not yet.
    """

    id: WorkerId
    key: WorkerKey
    since: float
    actor_id: ActorId | None = None
    incarnation: int = 0
    lease_id: LeaseId | None = None
    pid: int = 0
    # Whether a client has leased it: it may own objects then, and keep what its tasks left in it.
    used: bool = False
    # Why it ends, when somebody here or the worker itself decided it; told instead of the bare exit status.
    cause: common_pb2.DeathCause | None = None
    started_at: float = 0.0
    launched_at: float = field(init=False)
    _state: WorkerState = field(default=WorkerState.STARTING)

    def __post_init__(self) -> None:
        self.launched_at = self.since

    @property
    def state(self) -> WorkerState:
        return self._state

    @property
    def connected(self) -> bool:
        return self._state not in (WorkerState.STARTING, WorkerState.DEAD)

    @property
    def for_tasks(self) -> bool:
        """Whether it serves, or may come to serve, leases."""
        return self.actor_id is None and self._state in _FOR_TASKS


class WorkerTable:
    """Workers by id, with the idle ones at hand by key."""

    def __init__(self) -> None:
        self._workers: dict[WorkerId, Worker] = {}
        # The newest idle worker is reused first, so that the others can grow old and be ended.
        self._idle: dict[WorkerKey, dict[WorkerId, Worker]] = {}
        self._counts = dict.fromkeys(WorkerState, 0)
        self._for_tasks: Counter[WorkerKey] = Counter()

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._workers.values()))

    def get(self, worker_id: WorkerId) -> Worker | None:
        return self._workers.get(worker_id)

    def add(self, worker: Worker) -> None:
        self._workers[worker.id] = worker
        self._counts[worker.state] += 1
        self._for_tasks[worker.key] += worker.for_tasks

    def move(self, worker: Worker, state: WorkerState, at: float) -> None:
        """The only way to change a state. raises: ValueError for a move that LEGAL does not have."""
        if state not in LEGAL[worker.state]:
            raise ValueError(f"worker {worker.id.hex()} cannot go from {worker.state.name} to {state.name}")
        if worker.state is S.IDLE:
            line = self._idle[worker.key]
            del line[worker.id]
            if not line:
                del self._idle[worker.key]
        self._counts[worker.state] -= 1
        self._counts[state] += 1
        self._for_tasks[worker.key] -= worker.for_tasks
        worker._state = state
        self._for_tasks[worker.key] += worker.for_tasks
        if not self._for_tasks[worker.key]:
            del self._for_tasks[worker.key]
        worker.since = at
        if state is S.IDLE:
            self._idle.setdefault(worker.key, {})[worker.id] = worker
        elif state is S.DEAD:
            self._counts[S.DEAD] = 0
            del self._workers[worker.id]

    def newest_idle(self, key: WorkerKey) -> Worker | None:
        line = self._idle.get(key)
        return line[next(reversed(line))] if line else None

    def oldest_unused(self, key: WorkerKey) -> Worker | None:
        """An idle worker that no client ever leased. cost: O(idle workers of the key)."""
        return next((worker for worker in self._idle.get(key, {}).values() if not worker.used), None)

    def has_idle(self, key: WorkerKey) -> bool:
        return key in self._idle

    def tasks_workers(self, key: WorkerKey) -> int:
        """How many of that kind start, are idle or leased."""
        return self._for_tasks[key]

    def idle(self) -> list[Worker]:
        """All idle workers, the longest idle first."""
        found = [worker for line in self._idle.values() for worker in line.values()]
        return sorted(found, key=lambda worker: worker.since)

    def count(self, state: WorkerState) -> int:
        return self._counts[state]
