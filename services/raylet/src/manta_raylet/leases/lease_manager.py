"""Leases of this node: from a request in the queue to a worker, and back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Final

from manta_common.ids import JobId, LeaseId, NodeId
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2

from manta_raylet.kernel.commands import (
    BringArguments,
    Command,
    EndWorker,
    GrantLease,
    KillWorker,
    RefuseLease,
    SpillLease,
    StartWorker,
)
from manta_raylet.kernel.lease import ClientId, Lease, LeaseRequest, WorkerKey
from manta_raylet.leases.claim import Claims
from manta_raylet.leases.lease_placement import Elsewhere, GroupGone, Here, Unschedulable
from manta_raylet.leases.lease_queue import Entry, LeaseQueue, Verdict
from manta_raylet.leases.spillback import Spillback
from manta_raylet.leases.starvation_guard import HoldBack
from manta_raylet.resources.ledger import Allocation
from manta_raylet.resources.node_ledger import NodeLedger
from manta_raylet.workers.worker_pool import WorkerPool
from manta_raylet.workers.worker_table import Worker, WorkerState

# A worker of one kind that dies this often in a row before it is ready will not come up the next time either.
START_ATTEMPTS: Final = 3
RETIRE_GRACE_S: Final = 5.0
RETIRED: Final = "the worker was retired after its lease"


@dataclass(slots=True)
class Seat:
    """A unit that has its resources and awaits a worker."""

    entry: Entry
    allocation: Allocation
    key: WorkerKey


class LeaseManager:
    """Joins queue, ledger, spillback and pool. Each event is followed by one `serve`, which returns the commands."""

    def __init__(
        self, ledger: NodeLedger, pool: WorkerPool, spillback: Spillback, new_lease_id: Callable[[], LeaseId]
    ) -> None:
        self.queue = LeaseQueue()
        self._ledger = ledger
        self._pool = pool
        self._spillback = spillback
        self._new_lease_id = new_lease_id
        self._seats: dict[WorkerKey, deque[Seat]] = {}
        self._leases: dict[LeaseId, Lease] = {}
        self._failures: dict[WorkerKey, int] = {}
        self._commands: list[Command] = []
        # What goes where in this step, counted: (client, request id, node, hops) -> (address, units).
        self._spills: dict[tuple[ClientId, int, NodeId, int], tuple[str, int]] = {}
        self._now = 0.0
        self._hold_back = HoldBack()
        self._with_arguments: list[Entry] = []  # those that came since the last step
        self.claims = Claims()

    @property
    def leases(self) -> int:
        return len(self._leases)

    def task_states(self) -> dict[str, int]:
        """Tasks by state, as far as leases tell: one for each lease and each unit that waits for one.

        What a client holds back or sends ahead on a lease is known to that client alone.
        """
        waiting = sum(self._ledger.has_lent(lease.allocation) for lease in self._leases.values())
        seats = sum(len(line) for line in self._seats.values())
        return {
            "PENDING_NODE_ASSIGNMENT": len(self.queue),
            "SUBMITTED_TO_WORKER": seats,
            "RUNNING": len(self._leases) - waiting,
            "RUNNING_IN_RAY_GET": waiting,
        }

    @property
    def busy(self) -> bool:
        """Whether a lease is held, or has its resources and awaits a worker."""
        return bool(self._leases or self._seats)

    def get(self, lease_id: LeaseId) -> Lease | None:
        return self._leases.get(lease_id)

    def held_by(self, client: ClientId) -> list[Lease]:
        return [lease for lease in self._leases.values() if lease.client == client]

    def all(self) -> Iterator[Lease]:
        return iter(self._leases.values())

    def wanted(self, request: LeaseRequest, backlog: int) -> None:
        """A client wants `backlog` workers in all; those it was granted before do not count."""
        known = self.queue.get(request.id)
        # Another wish under an old number: what was taken for the old one is of no use to it.
        if known is not None and (backlog <= 0 or known.key != request.key):
            self._drop(known)
        if backlog <= 0:
            return
        entry = self.queue.put(request, backlog)
        if request.arguments:
            self._with_arguments.append(entry)
        if entry.placed > backlog:
            self._give_up_seats(entry, entry.placed - backlog)

    def cancelled(self, client: ClientId, request_id: int) -> None:
        """The client wants no more workers under that number, whichever way its units came here."""
        for entry in self.queue.of_client(client):
            if entry.request.request_id == request_id:
                self._drop(entry)

    def _drop(self, entry: Entry) -> None:
        self.queue.remove(entry)
        self._give_up_seats(entry, entry.placed)

    def returned(self, client: ClientId, lease_id: LeaseId, retire: bool, at: float) -> bool:
        """The client is done with the worker. returns: False when it holds no such lease (its worker died before)."""
        lease = self._leases.get(lease_id)
        if lease is None or lease.client != client:
            return False
        worker = self._close(lease)
        if worker is not None and worker.state is WorkerState.LEASED and self._pool.give_back(worker, retire, at):
            worker.cause = common_pb2.DeathCause(kind=common_pb2.DeathCause.INTENDED, message=RETIRED)
            self._commands.append(EndWorker(worker.id, "retired", False, RETIRE_GRACE_S))
        return True

    def blocked(self, worker: Worker) -> None:
        """The worker waits in get or wait; others may use its CPUs."""
        lease = self._leases.get(worker.lease_id) if worker.lease_id is not None else None
        if lease is not None:
            self._ledger.lend(lease.allocation)

    def unblocked(self, worker: Worker) -> None:
        lease = self._leases.get(worker.lease_id) if worker.lease_id is not None else None
        if lease is not None:
            self._ledger.take_back(lease.allocation)

    def client_gone(self, client: ClientId, at: float) -> None:
        """Its requests go, and the workers it leased are killed: they may be in the middle of its tasks."""
        for entry in self.queue.of_client(client):
            self._drop(entry)
        for lease in self.held_by(client):
            worker = self._close(lease)
            if worker is None:
                continue
            worker.lease_id = None
            worker.cause = common_pb2.DeathCause(
                kind=common_pb2.DeathCause.LEASE_HOLDER_DIED,
                message=f"the process {client.hex()} that leased this worker died",
            )
            if self._pool.end(worker, at):
                self._commands.append(KillWorker(worker.id))

    def evict(self, allocations: Set[int], cause: common_pb2.DeathCause, at: float) -> None:
        """What these hold is wanted back: workers are killed, and units without a worker wait again."""
        for key, seats in list(self._seats.items()):
            for seat in [seat for seat in seats if seat.allocation.number in allocations]:
                seats.remove(seat)
                self._ledger.free(seat.allocation.number)
                self.queue.unplace(seat.entry)
            if not seats:
                del self._seats[key]
        for lease in [lease for lease in self._leases.values() if lease.allocation in allocations]:
            worker = self._pool.table.get(lease.worker_id)
            if worker is not None and self._pool.end(worker, at):
                worker.cause = cause
                self._commands.append(KillWorker(worker.id))

    def forget_requests(self, client: ClientId) -> None:
        """Its connection broke: it asks again when it is back; what it leased stays leased."""
        for entry in self.queue.of_client(client):
            self._drop(entry)

    def worker_ready(self, worker: Worker) -> None:
        self._failures.pop(worker.key, None)

    def worker_died(self, worker: Worker) -> Lease | None:
        """Free what it held. returns: the lease that ended with it."""
        lease = self._leases.get(worker.lease_id) if worker.lease_id is not None else None
        if lease is not None:
            self._close(lease)
        return lease

    def start_failed(self, key: WorkerKey, message: str) -> None:
        """A worker of this kind did not come up; after some in a row, those who wait for one are refused."""
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        if failures < START_ATTEMPTS:
            return
        del self._failures[key]
        self._refuse_all(key, f"{failures} workers in a row did not start: {message}")

    def environment_failed(self, key: WorkerKey, message: str) -> None:
        """A worker says that its environment cannot be made: another one would fare no better."""
        self._refuse_all(key, message, raylet_pb2.LeaseRefused.RUNTIME_ENV_FAILED)

    def _refuse_all(self, key: WorkerKey, text: str, reason: int = raylet_pb2.LeaseRefused.WORKER_START_FAILED) -> None:
        for entry in {seat.entry.id: seat.entry for seat in self._seats.get(key, ())}.values():
            self._drop(entry)
            self._refuse(entry, reason, text)

    def one_may_come_free(self, key: WorkerKey) -> bool:
        """Whether a worker of the kind starts, is idle, or runs what does not wait for others. cost: O(leases)."""
        if self._pool.has_spare(key):
            return True
        workers = ((self._pool.table.get(lease.worker_id), lease) for lease in self._leases.values())
        return any(
            worker is not None and worker.key == key and not self._ledger.has_lent(lease.allocation)
            for worker, lease in workers
        )

    def _refuse(self, entry: Entry, reason: int, text: str) -> None:
        self._commands.append(RefuseLease(entry.request.client, entry.request.request_id, reason, text))

    def serve(self, at: float) -> list[Command]:
        """Do all that can be done now. cost: O(units placed + scheduling keys)."""
        self._now = at
        self._hold_back.choose(list(self.queue.waiting()), at)
        self.claims.choose(at)
        self.queue.serve(self._offer)
        for (client, request_id, node_id, hops), (address, count) in self._spills.items():
            self._commands.append(SpillLease(client, request_id, node_id, address, count, hops))
        self._spills.clear()
        for key in list(self._seats):
            self._fill_seats(key, at)
        self._bring_arguments()
        waiting = {key: len(seats) for key, seats in self._seats.items()}
        self._commands += [StartWorker(worker.id, worker.key) for worker in self._pool.starts(waiting, at)]
        commands, self._commands = self._commands, []
        return commands

    def _bring_arguments(self) -> None:
        """What waits here, for room or for a worker, has its arguments brought meanwhile."""
        for entry in self._with_arguments:
            request = entry.request
            stays = self.queue.get(entry.id) is entry and (entry.placed > 0 or entry.feasible)
            if stays and entry.brought_for is not request:
                entry.brought_for = request
                self._commands.append(BringArguments(request.arguments))
        self._with_arguments.clear()

    def short_of(self) -> list[Entry]:
        """Requests that this node could serve if something were given back, and what the GCS claims."""
        return [*(entry for entry in self.queue.waiting() if entry.feasible), *self.claims.entries()]

    def jobs_without_workers(self) -> set[JobId]:
        """Jobs with leases that have their resources and no worker."""
        return {key.job_id for key in self._seats}

    def _offer(self, entry: Entry) -> Verdict:
        verdict = self._place(entry)
        if verdict is Verdict.TAKEN:
            entry.refused_since = None
        elif entry.refused_since is None:
            entry.refused_since = self._now
        return verdict

    def _place(self, entry: Entry) -> Verdict:
        request = entry.request
        if entry.since is None:
            entry.since = self._now
        placement = self._spillback.place(request, self._now - entry.since)
        if isinstance(placement, Here):
            available = self._ledger.available
            if self._hold_back.keeps_from(entry, available) or self.claims.keeps_from(request, available):
                entry.reason, entry.feasible = "waiting: what is free is kept for one that waits for longer", True
                entry.infeasible = False
                return Verdict.WAITS
            allocation = self._ledger.allocate(request.resources, request.group)
            if allocation is None:
                return Verdict.WAITS
            gpu_ids = self._ledger.devices_of(allocation)
            key = WorkerKey(request.job_id, request.runtime_env, request.num_threads, gpu_ids)
            self._seats.setdefault(key, deque()).append(Seat(entry, allocation, key))
            entry.placed += 1
            return Verdict.TAKEN
        if isinstance(placement, Elsewhere):
            spill = (request.client, request.request_id, placement.node_id, request.hops + 1)
            _, count = self._spills.get(spill, ("", 0))
            self._spills[spill] = (placement.address, count + 1)
            entry.backlog -= 1
            return Verdict.TAKEN
        if isinstance(placement, Unschedulable | GroupGone):
            refused = raylet_pb2.LeaseRefused
            gone = isinstance(placement, GroupGone)
            self._give_up_seats(entry, entry.placed)
            self._refuse(entry, refused.PLACEMENT_GROUP_REMOVED if gone else refused.UNSCHEDULABLE, placement.reason)
            return Verdict.REFUSED
        entry.reason, entry.feasible = placement.reason, placement.feasible_here
        entry.infeasible = placement.infeasible
        return Verdict.WAITS

    def _fill_seats(self, key: WorkerKey, at: float) -> None:
        seats = self._seats[key]
        while seats:
            worker = self._pool.claim(key, at)
            if worker is None:
                return
            self._grant(seats.popleft(), worker)
        del self._seats[key]

    def _grant(self, seat: Seat, worker: Worker) -> None:
        request = seat.entry.request
        lease = Lease(
            self._new_lease_id(),
            request.client,
            request.request_id,
            seat.entry.key,
            worker.id,
            seat.allocation.number,
            seat.key.gpu_ids,
        )
        worker.lease_id = lease.id
        self._leases[lease.id] = lease
        self.queue.settle(seat.entry)
        self._commands.append(GrantLease(lease, request.resources.to_proto(), worker.pid))

    def _give_up_seats(self, entry: Entry, count: int) -> None:
        """The client does not want that many any more: the last seats go first, they are furthest from a worker."""
        for key in list(self._seats):
            seats = self._seats[key]
            for seat in [seat for seat in reversed(seats) if seat.entry is entry][:count]:
                seats.remove(seat)
                self._ledger.free(seat.allocation.number)
                entry.placed -= 1
                count -= 1
            if not seats:
                del self._seats[key]

    def _close(self, lease: Lease) -> Worker | None:
        del self._leases[lease.id]
        self._ledger.free(lease.allocation)
        return self._pool.table.get(lease.worker_id)
