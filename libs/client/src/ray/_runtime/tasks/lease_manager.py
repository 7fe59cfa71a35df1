"""Which task goes to which leased worker: a pure core, changed under the process's lock.

Tasks of one scheduling key queue together. A lease takes more than one task ahead only while its tasks are short (see
Timing). What is to be done comes back as commands; the shell sends them after it has left the lock.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from ray._runtime.specs.task_record import TaskRecord
from ray._runtime.tasks.lease_demand import HOME, Asked, Place

# One request names at most this many workers; more would not be granted at once anyway.
MAX_BACKLOG: Final = 4096


class Push(NamedTuple):
    """Send these tasks to the leased worker, in order."""

    lease: Lease
    tasks: list[TaskRecord]


class AskLeases(NamedTuple):
    """Want that many workers for the key, in all, at that place."""

    key: SchedulingKey
    wanted: int
    place: Place = HOME


class CancelLeases(NamedTuple):
    """Want no more workers for the key from these raylets."""

    key: SchedulingKey
    node_ids: tuple[bytes, ...]


class ReturnLease(NamedTuple):
    """Give the lease back; `retire`: its worker must not be used again."""

    lease: Lease
    retire: bool = False


class EndCancelled(NamedTuple):
    """These came back from a worker, or could not stay there, and are not wanted any more."""

    tasks: list[TaskRecord]


class IdleTimer(NamedTuple):
    """Call `lease_idle(lease, lease.idle_mark)` after the idle time."""

    lease: Lease
    mark: int


class WantTimer(NamedTuple):
    """Call `still_wanted(key)` after a moment: longer than a grant takes when there is room."""

    key: SchedulingKey


Command: TypeAlias = Push | AskLeases | CancelLeases | ReturnLease | EndCancelled | IdleTimer | WantTimer


class Lease:
    """A worker that is ours for a while. `route` is the shell's: how to reach the worker and its raylet."""

    __slots__ = ("draining", "gone", "idle_mark", "in_flight", "key", "lease_id", "route", "timer_set", "window")

    def __init__(self, lease_id: bytes, key: SchedulingKey, route: object) -> None:
        self.lease_id = lease_id
        self.key = key
        self.route = route
        self.in_flight: dict[bytes, TaskRecord] = {}
        self.window = 1
        self.draining = False
        self.gone = False
        self.idle_mark = 0
        self.timer_set = False


class SchedulingKey:
    """Tasks that any worker of the same lease may run: equal resources, strategy, runtime env and group.

    `demand` is the shell's: the message by which leases are asked. one_each: every task wants a decision of its own on
    where to go (SPREAD), so a lease serves one task.
    """

    __slots__ = ("asked", "demand", "leases", "one_each", "queue", "request_id", "timer_set")

    def __init__(self, request_id: int, demand: object, one_each: bool) -> None:
        self.one_each = one_each
        self.request_id = request_id
        self.demand = demand
        self.queue: collections.deque[TaskRecord] = collections.deque()
        self.leases: dict[bytes, Lease] = {}
        self.asked = Asked()
        self.timer_set = False


class LeaseManager:
    """All leases and queues of a process."""

    def __init__(self) -> None:
        self._keys: dict[int, SchedulingKey] = {}
        self._leases: dict[bytes, Lease] = {}
        self._next_request = 1

    def new_key(self, demand: object, *, one_each: bool = False) -> SchedulingKey:
        key = SchedulingKey(self._next_request, demand, one_each)
        self._next_request += 1
        self._keys[key.request_id] = key
        return key

    def forget(self, key: SchedulingKey) -> bool:
        """Drop a key that nothing waits for; whoever holds it may use it again. returns: whether it was idle."""
        if key.queue or key.leases or key.asked.total or key.timer_set:
            return False
        self._keys.pop(key.request_id, None)
        return True

    def key_of(self, request_id: int) -> SchedulingKey | None:
        return self._keys.get(request_id)

    def lease(self, lease_id: bytes) -> Lease | None:
        return self._leases.get(lease_id)

    def leases(self) -> Iterable[Lease]:
        return self._leases.values()

    def keys(self) -> Iterable[SchedulingKey]:
        return self._keys.values()

    def submit(self, key: SchedulingKey, task: TaskRecord) -> tuple[Command, ...] | list[Command] | None:
        """Queue a task whose arguments exist.

        returns: commands when the task can leave at once on an idle lease, or a first worker has to be asked for; None
        when it waits with others, and a later `assign` (by the flusher or a reply) takes it along.
        """
        if not key.queue:
            for lease in key.leases.values():
                if not lease.in_flight and not lease.draining:
                    lease.in_flight[task.task_id] = task
                    lease.window = task.timing.window
                    lease.idle_mark += 1
                    lease.draining = key.one_each
                    return (Push(lease, [task]),)
        key.queue.append(task)
        if not key.leases and not key.asked.total:
            return self.assign(key)
        return None

    def assign(self, key: SchedulingKey) -> list[Command]:
        """Spread what is queued over the leases that have room, and ask for workers for the rest."""
        commands: list[Command] = []
        queue = key.queue
        if queue and key.leases:
            takers = sorted((le for le in key.leases.values() if not le.draining), key=lambda le: len(le.in_flight))
            for position, lease in enumerate(takers):
                if not queue:
                    break
                share = -(-len(queue) // (len(takers) - position))
                tasks = self._fill(lease, queue, share)
                if tasks:
                    commands.append(Push(lease, tasks))
        self._adjust_demand(key, commands)
        return commands

    def _fill(self, lease: Lease, queue: collections.deque[TaskRecord], share: int) -> list[TaskRecord]:
        in_flight = lease.in_flight
        if not in_flight:
            lease.window = 256
        tasks: list[TaskRecord] = []
        while queue and len(tasks) < share:
            task = queue[0]
            window = task.timing.window
            if in_flight and len(in_flight) >= min(window, lease.window):
                break
            queue.popleft()
            if task.cancelled:
                continue
            lease.window = min(lease.window, window)
            in_flight[task.task_id] = task
            tasks.append(task)
            if lease.key.one_each:
                lease.draining = True
                break
        if tasks:
            lease.idle_mark += 1
        return tasks

    def _adjust_demand(self, key: SchedulingKey, commands: list[Command]) -> None:
        wanted = min(len(key.queue), MAX_BACKLOG)
        asked = key.asked
        if wanted == 0:
            if asked.total:
                commands.append(CancelLeases(key, asked.clear()))
        # A message for each change would cost more than it tells: the raylet needs "some", "more" and "none".
        elif asked.total == 0 or wanted > (1 if key.one_each else 2) * asked.total:
            self._keys[key.request_id] = key  # perhaps forgotten meanwhile
            at_home = wanted - (asked.total - asked.at(HOME))
            asked.set(HOME, at_home)
            commands.append(AskLeases(key, at_home))
            if len(self._leases) > len(key.leases) and not key.timer_set:
                key.timer_set = True
                commands.append(WantTimer(key))

    def still_wanted(self, key: SchedulingKey) -> list[Command]:
        """The key may wait for what our own idle leases of other keys hold: they go back, if it waits."""
        key.timer_set = False
        if not (key.queue and key.asked.total):
            return []
        return self._idle_back(lease for lease in self._leases.values() if lease.key is not key)

    def granted(self, key: SchedulingKey, lease_id: bytes, route: object, place: Place = HOME) -> list[Command]:
        """A worker is ours; it is returned at once when nothing waits any more. place: where it was asked for."""
        lease = Lease(lease_id, key, route)
        key.asked.less(place, 1)
        self._leases[lease_id] = lease
        key.leases[lease_id] = lease
        commands = self._refill(lease)
        if not lease.in_flight:
            commands.extend(self._now_idle(lease))
        return commands

    def spilled(self, key: SchedulingKey, place: Place, better: Place, count: int) -> list[Command]:
        """The raylet asked at `place` names another one for `count` of the workers."""
        asked = key.asked
        asked.less(place, count)
        # Asked elsewhere is asked: else the next assign would ask here again for the same tasks.
        count = min(count, len(key.queue) - asked.total)
        if count <= 0:
            return self.assign(key)
        there = asked.at(better) + count
        asked.set(better, there)
        return [AskLeases(key, there, better)]

    def raylet_gone(self, node_id: bytes) -> list[Command]:
        """What was asked of it is asked at home again."""
        return [
            command
            for key in self._keys.values()
            if key.asked.drop_node(node_id) and key.queue
            for command in self.assign(key)
        ]

    def refused(self, key: SchedulingKey) -> tuple[list[TaskRecord], list[Command]]:
        """No worker will come for this key; returns the tasks that fail, and what takes back what was asked."""
        tasks = list(key.queue)
        key.queue.clear()
        return tasks, [CancelLeases(key, key.asked.clear())] if key.asked.total else []

    def finished(self, lease_id: bytes, task_ids: Iterable[bytes], *, leaving: bool = False) -> list[Command]:
        """Replies came in: the lease has room again.

        leaving: the worker ends after the last of them, so what it holds beyond was never started.
        """
        lease = self._leases.get(lease_id)
        if lease is None:
            return []
        for task_id in task_ids:
            lease.in_flight.pop(task_id, None)
        if leaving:
            unstarted = list(lease.in_flight.values())
            lease.in_flight.clear()
            self._remove(lease)
            return [ReturnLease(lease, retire=True), *self.requeue(lease.key, unstarted)]
        return self._after_change(lease, self._refill(lease))

    def handed_back(self, lease_id: bytes, task_ids: Iterable[bytes]) -> list[Command]:
        """The worker will never start these; they go first in the queue, in their old order."""
        lease = self._leases.get(lease_id)
        if lease is None:
            return []
        back = [lease.in_flight.pop(task_id) for task_id in task_ids if task_id in lease.in_flight]
        commands = _first_in_line(lease.key, back)
        # The task that made it hand them back still runs: nothing more for it until that is done.
        lease.window = 1
        return [*commands, *self._after_change(lease, self.assign(lease.key))]

    def _refill(self, lease: Lease) -> list[Command]:
        """One lease has room: give it its share of what is queued. The others are full, or nothing would be queued, so
        that a reply costs the same however many leases there are."""
        commands: list[Command] = []
        key = lease.key
        if key.queue and not lease.draining:
            tasks = self._fill(lease, key.queue, -(-len(key.queue) // max(1, len(key.leases))))
            if tasks:
                commands.append(Push(lease, tasks))
        self._adjust_demand(key, commands)
        return commands

    def _after_change(self, lease: Lease, commands: list[Command]) -> list[Command]:
        if not lease.in_flight and not lease.gone:
            if lease.draining:
                commands.append(self._give_back(lease))
                self._adjust_demand(lease.key, commands)
            else:
                commands.extend(self._now_idle(lease))
        return commands

    def _now_idle(self, lease: Lease) -> list[Command]:
        lease.idle_mark += 1
        if lease.timer_set:
            return []  # when that timer ends, it is set again if the lease was used meanwhile
        lease.timer_set = True
        return [IdleTimer(lease, lease.idle_mark)]

    def lease_idle(self, lease: Lease, mark: int) -> list[Command]:
        """The idle time is over: give the lease back, or wait once more if it was used since."""
        lease.timer_set = False
        if lease.gone or lease.in_flight:
            return []
        if lease.idle_mark != mark:
            lease.timer_set = True
            return [IdleTimer(lease, lease.idle_mark)]
        return [self._give_back(lease)]

    def short(self) -> list[Command]:
        """Others wait: idle leases go back at once, busy ones when they have done what they hold."""
        commands: list[Command] = []
        for lease in list(self._leases.values()):
            if not lease.in_flight:
                commands.append(self._give_back(lease))
            else:
                lease.draining = True
        for key in self._keys.values():
            if key.queue:
                commands.extend(self.assign(key))
        return commands

    def give_back_idle(self, key: SchedulingKey) -> list[Command]:
        """What these leases were for is about to end: those that are idle go back at once."""
        return self._idle_back(key.leases.values())

    def _idle_back(self, leases: Iterable[Lease]) -> list[Command]:
        return [self._give_back(lease) for lease in list(leases) if not lease.in_flight]

    def _give_back(self, lease: Lease) -> ReturnLease:
        self._remove(lease)
        return ReturnLease(lease)

    def _remove(self, lease: Lease) -> None:
        lease.gone = True
        self._leases.pop(lease.lease_id, None)
        lease.key.leases.pop(lease.lease_id, None)

    def worker_gone(self, lease_id: bytes) -> tuple[list[TaskRecord], SchedulingKey | None]:
        """The leased worker died; returns what it held, oldest first. The caller requeues and calls assign."""
        lease = self._leases.get(lease_id)
        if lease is None:
            return [], None
        self._remove(lease)
        tasks = list(lease.in_flight.values())
        lease.in_flight.clear()
        return tasks, lease.key

    def requeue(self, key: SchedulingKey, tasks: Iterable[TaskRecord]) -> list[Command]:
        """Put tasks back at the head of the queue, in the order given."""
        return [*_first_in_line(key, list(tasks)), *self.assign(key)]

    def withdraw(self, key: SchedulingKey, task: TaskRecord) -> list[Command]:
        """A task that was not sent is not wanted any more. cost: O(tasks that wait)."""
        if task not in key.queue:
            return []
        key.queue.remove(task)
        return self.assign(key)


def _first_in_line(key: SchedulingKey, tasks: list[TaskRecord]) -> list[Command]:
    """Put tasks back at the head of the queue, all but those that were cancelled meanwhile."""
    key.queue.extendleft(task for task in reversed(tasks) if not task.cancelled)
    cancelled = [task for task in tasks if task.cancelled]
    return [EndCancelled(cancelled)] if cancelled else []
