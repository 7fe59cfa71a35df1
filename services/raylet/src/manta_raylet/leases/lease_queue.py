"""The lease requests that wait: fair between jobs, first come first served within a scheduling key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from manta_common.ids import JobId

from manta_raylet.kernel.lease import ClientId, LeaseRequest, SchedulingKey

# A client, the number of its request, and how often it was sent on: units that came by other ways are counted apart.
EntryId = tuple[ClientId, int, int]


class Verdict(Enum):
    """What became of one unit that was offered."""

    TAKEN = auto()  # the unit is gone from the queue: placed here, or sent on
    WAITS = auto()  # nothing can be done now for the whole key
    REFUSED = auto()  # the entry is gone


@dataclass(slots=True)
class Entry:
    """One request with its counts. backlog: what the client still waits for; placed: of these, awaiting a worker.

    feasible: this node could serve it; infeasible: no node could. since: when it was first offered, None before.
    refused_since: since when none of its units was taken, None while they are.
    """

    request: LeaseRequest
    key: SchedulingKey
    backlog: int
    placed: int = 0
    reason: str = ""
    feasible: bool = True
    infeasible: bool = False
    since: float | None = None
    refused_since: float | None = None
    # The arguments that were asked for are those of this request.
    brought_for: LeaseRequest | None = None

    @property
    def open(self) -> int:
        return self.backlog - self.placed

    @property
    def id(self) -> EntryId:
        return self.request.client, self.request.request_id, self.request.hops


@dataclass(frozen=True, slots=True)
class Demand:
    """Open units of one shape, for the GCS and for people."""

    key: SchedulingKey
    count: int
    reason: str
    in_group: bool = False


class LeaseQueue:
    """Bounded by the clients: one entry per scheduling key of each and count of hops."""

    def __init__(self) -> None:
        self._clients: dict[ClientId, dict[EntryId, Entry]] = {}
        # job -> key -> entries in the order of their arrival. The order of jobs is the rotation.
        self._jobs: OrderedDict[JobId, OrderedDict[SchedulingKey, OrderedDict[EntryId, Entry]]] = OrderedDict()

    def __len__(self) -> int:
        """Open units."""
        return sum(entry.open for entry in self.entries() if entry.open > 0)

    def get(self, entry_id: EntryId) -> Entry | None:
        return self._clients.get(entry_id[0], {}).get(entry_id)

    def put(self, request: LeaseRequest, backlog: int) -> Entry:
        """Create an entry or replace its count; its place in line stays.

        raises: ValueError when the entry is there with another key; remove it first.
        """
        entry = self.get(request.id)
        key = request.key
        if entry is not None:
            if entry.key != key:
                raise ValueError(f"request {request.request_id} is there with another key; remove it first")
            entry.request = request
            entry.backlog = backlog
        else:
            entry = Entry(request, key, backlog)
            self._clients.setdefault(request.client, {})[entry.id] = entry
        if entry.open > 0:
            self._jobs.setdefault(request.job_id, OrderedDict()).setdefault(key, OrderedDict()).setdefault(
                entry.id, entry
            )
        return entry

    def remove(self, entry: Entry) -> None:
        """Forget it, if it is there."""
        self._forget(entry)
        self._unlink(entry)

    def entries(self) -> list[Entry]:
        """All, with and without open units."""
        return [entry for entries in self._clients.values() for entry in entries.values()]

    def of_client(self, client: ClientId) -> list[Entry]:
        return list(self._clients.get(client, {}).values())

    def settle(self, entry: Entry) -> None:
        """A placed unit was granted: the client waits for one less."""
        entry.placed -= 1
        entry.backlog -= 1
        self._drop_if_done(entry)

    def unplace(self, entry: Entry) -> None:
        """A placed unit lost its place; it waits again."""
        entry.placed -= 1
        if entry.open > 0 and self.get(entry.id) is entry:
            keys = self._jobs.setdefault(entry.request.job_id, OrderedDict())
            keys.setdefault(entry.key, OrderedDict()).setdefault(entry.id, entry)

    def serve(self, offer: Callable[[Entry], Verdict]) -> None:
        """Offer one unit at a time, a job after the other, until every key waits.

        offer: for TAKEN it has changed the counts of the entry itself. cost: O(units taken + jobs x keys).
        """
        waiting: set[SchedulingKey] = set()
        idle_jobs = 0
        while self._jobs and idle_jobs < len(self._jobs):
            job_id = next(iter(self._jobs))
            served = self._serve_job(job_id, offer, waiting)
            if job_id in self._jobs:
                self._jobs.move_to_end(job_id)
            idle_jobs = 0 if served else idle_jobs + 1

    def _serve_job(self, job_id: JobId, offer: Callable[[Entry], Verdict], waiting: set[SchedulingKey]) -> bool:
        """Offer until one unit of the job is taken. returns: whether one was."""
        for key in list(self._jobs[job_id]):
            while key not in waiting:
                line = self._line(job_id, key)
                if not line:
                    break
                entry = next(iter(line.values()))
                if entry.open <= 0:
                    self._unlink(entry)
                    continue
                verdict = offer(entry)
                if verdict is Verdict.WAITS:
                    waiting.add(key)
                elif verdict is Verdict.REFUSED:
                    self.remove(entry)
                else:
                    # The next unit of this key comes from the next client in line.
                    if entry.id in line:
                        line.move_to_end(entry.id)
                    self._drop_if_done(entry)
                    keys = self._jobs.get(job_id)
                    if keys is not None and key in keys:
                        keys.move_to_end(key)
                    return True
        return False

    def waiting(self) -> Iterator[Entry]:
        """Entries with open units, in the order of service."""
        for keys in self._jobs.values():
            for line in keys.values():
                yield from (entry for entry in line.values() if entry.open > 0)

    def demands(self) -> list[Demand]:
        """Open units, one item a scheduling key. cost: O(entries)."""
        counts: dict[SchedulingKey, tuple[int, str, bool]] = {}
        for entry in self.waiting():
            count, reason, _ = counts.get(entry.key, (0, "", False))
            counts[entry.key] = (count + entry.open, entry.reason or reason, entry.request.group is not None)
        return [Demand(key, *found) for key, found in counts.items()]

    def _line(self, job_id: JobId, key: SchedulingKey) -> OrderedDict[EntryId, Entry] | None:
        keys = self._jobs.get(job_id)
        return keys.get(key) if keys is not None else None

    def _drop_if_done(self, entry: Entry) -> None:
        if entry.open <= 0:
            self._unlink(entry)
        if entry.backlog <= 0:
            self._forget(entry)

    def _forget(self, entry: Entry) -> None:
        entries = self._clients.get(entry.request.client)
        if entries is not None and entries.get(entry.id) is entry:
            del entries[entry.id]
            if not entries:
                del self._clients[entry.request.client]

    def _unlink(self, entry: Entry) -> None:
        keys = self._jobs.get(entry.request.job_id)
        line = keys.get(entry.key) if keys is not None else None
        if keys is None or line is None or line.pop(entry.id, None) is None:
            return
        if not line:
            del keys[entry.key]
        if not keys:
            del self._jobs[entry.request.job_id]
