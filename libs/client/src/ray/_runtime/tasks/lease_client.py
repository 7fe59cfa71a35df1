"""Leases as messages: the shell around LeaseManager, which decides. Asks raylets for workers, sends tasks to them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from time import time
from typing import TYPE_CHECKING, Any, Final

from manta_common.resources import ResourceSet
from manta_proto.raylet.v1 import raylet_pb2
from manta_proto.worker.v1 import worker_pb2

from ray._runtime.objects.object_table import ObjectState
from ray._runtime.tasks import lease_manager
from ray._runtime.tasks.lease_arguments import large_arguments
from ray._runtime.tasks.lease_demand import Place
from ray._runtime.values.system_errors import task_cancelled
from ray._runtime.values.wire import frames, repeated_field

if TYPE_CHECKING:
    from ray._runtime.api import TaskOptions
    from ray._runtime.process.process import Process
    from ray._runtime.specs.definitions import Definition
    from ray._runtime.specs.task_record import TaskRecord
    from ray._runtime.tasks.lease_manager import Lease, SchedulingKey
    from ray._runtime.transport.carrier import Peer
    from ray._runtime.transport.raylets import RayletLink
    from ray._runtime.values.object_ref import ObjectRef

# A grant comes within half of it where there is room and a worker.
_WANT_S: Final = 0.001
# Beyond so many kinds of tasks those that nothing waits for are forgotten; they may come back.
KEYS_KEPT: Final = 1_000
_TASKS_FIELD: Final = worker_pb2.Tasks.DESCRIPTOR.fields_by_name["tasks"].number


class Route:
    """How a leased worker is reached; `header` is the part of each Tasks message that never changes."""

    __slots__ = ("header", "peer", "raylet")

    def __init__(self, peer: Peer, raylet: RayletLink, header: bytes) -> None:
        self.peer = peer
        self.raylet = raylet
        self.header = header


class Demand:
    """A scheduling key, as raylets are asked for it.

    by_locality: its tasks may go where their large arguments are. near: node -> the key of those whose arguments are
    there; bounded by the nodes. takes_large: some of its tasks had large arguments.
    """

    __slots__ = ("by_locality", "message", "near", "takes_large")

    def __init__(self, message: raylet_pb2.LeasesWanted) -> None:
        self.message = message
        strategy = message.strategy
        kind = strategy.WhichOneof("kind")
        self.by_locality = kind is None or (kind == "simple" and strategy.simple == strategy.DEFAULT)
        self.near: dict[bytes, SchedulingKey] = {}
        self.takes_large = False


class Leasing:
    """The leases of `process`. `manager` is changed under the process's lock only."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.manager = lease_manager.LeaseManager()
        self._keys: dict[tuple[Any, ...], SchedulingKey] = {}
        self._forget_at = KEYS_KEPT
        self._to_assign: set[SchedulingKey] = set()

    def key_for(self, options: TaskOptions, name: str) -> SchedulingKey:
        process = self._process
        resources = ResourceSet.from_floats(options.resources)
        strategy = options.strategy.SerializeToString(deterministic=True) if options.strategy is not None else b""
        labels = tuple(sorted(options.label_selector.items()))
        runtime_env = process.task_runtime_env(options.runtime_env)
        shape = (resources, strategy, runtime_env, labels, bool(options.max_calls))
        with process.lock:
            key = self._keys.get(shape)
            if key is None:
                if len(self._keys) >= self._forget_at:
                    self._forget_idle()
                demand = raylet_pb2.LeasesWanted(
                    job_id=process.job_id,
                    resources=resources.to_proto(),
                    strategy=options.strategy,
                    runtime_env=runtime_env,
                    name=name,
                )
                spread = demand.strategy.simple == demand.strategy.SPREAD
                key = self._keys[shape] = self.manager.new_key(Demand(demand), one_each=spread)
                demand.request_id = key.request_id
        return key

    def _forget_idle(self) -> None:
        """Drop the keys that nothing waits for, such as those of placement groups that are gone; the lock is held."""
        for shape, key in list(self._keys.items()):
            demand: Demand = key.demand  # type: ignore[assignment]
            for node_id, near in list(demand.near.items()):
                if self.manager.forget(near):
                    del demand.near[node_id]
            if not demand.near and self.manager.forget(key):
                del self._keys[shape]
        # Where many are in use, looking through them has to stay rare.
        self._forget_at = max(KEYS_KEPT, 2 * len(self._keys))

    def key_near(self, key: SchedulingKey, refs: Iterable[ObjectRef]) -> SchedulingKey:
        """The key of tasks like those of `key` that take these arguments; another one when some are large.

        Tasks wait apart by the node that has most of their arguments, so that each lease is asked for with the place
        where its tasks want to be. The lock is held.
        """
        demand: Demand = key.demand  # type: ignore[assignment]
        process = self._process
        sizes: dict[bytes, int] = {}
        for ref in refs:
            entry = process.objects.get(ref._id)
            if entry is not None and entry.state is ObjectState.STORED:
                for node_id in entry.nodes:
                    sizes[node_id] = sizes.get(node_id, 0) + entry.size
        if not sizes:
            return key
        demand.takes_large = True
        if not demand.by_locality:
            return key
        most = max(sizes.values())
        holders = [node_id for node_id, size in sizes.items() if size == most]
        home = process.raylet.node_id
        nearest = home if home in holders else min(holders)
        near = demand.near.get(nearest)
        if near is None:
            message = raylet_pb2.LeasesWanted()
            message.CopyFrom(demand.message)
            near = demand.near[nearest] = self.manager.new_key(Demand(message))
            near.demand.takes_large = True  # type: ignore[attr-defined]
            message.request_id = near.request_id
        if not near.queue:  # they are those of the oldest task that waits
            wanted: Demand = near.demand  # type: ignore[assignment]
            wanted.message.argument_bytes.clear()
            wanted.message.argument_bytes.update({node_id.hex(): size for node_id, size in sizes.items()})
        return near

    def enqueue(self, record: TaskRecord, key: SchedulingKey) -> None:
        """Send a task that is ready, or have it wait for a lease; the lock is held."""
        record.key = key
        commands = self.manager.submit(key, record)
        if commands:
            self.queue(commands)
            return
        if not self._to_assign:
            # The reading thread sends what piles up until it gets to it, in one frame per worker.
            self._process.reactor.call_soon(self._assign_waiting)
        self._to_assign.add(key)

    def _assign_waiting(self) -> None:
        process = self._process
        with process.lock:
            keys, self._to_assign = self._to_assign, set()
            for key in keys:
                self.queue(self.manager.assign(key))
        process.after_lock()

    # -- commands; the lock is held

    def queue(self, commands: Iterable[lease_manager.Command]) -> None:
        process = self._process
        for command in commands:
            if type(command) is lease_manager.Push:
                self._push(command.lease, command.tasks)
            elif type(command) is lease_manager.AskLeases:
                self._ask(command.key, command.wanted, command.place)
            elif type(command) is lease_manager.CancelLeases:
                self._cancel(command.key, command.node_ids)
            elif type(command) is lease_manager.ReturnLease:
                route: Route = command.lease.route  # type: ignore[assignment]
                message = raylet_pb2.LeaseReturned(lease_id=command.lease.lease_id, retire_worker=command.retire)
                route.raylet.give_back(command.lease.lease_id, message)
                process.dirty.add(route.raylet)
            elif type(command) is lease_manager.EndCancelled:
                for task in command.tasks:
                    process.submitter.end_locked(task, task_cancelled(task.task_id))
            elif type(command) is lease_manager.IdleTimer:
                idle = functools.partial(self._idle, command.lease, command.mark)
                process.reactor.call_later(process.tuning.lease_idle_s, idle)
            elif type(command) is lease_manager.WantTimer:
                process.reactor.call_later(_WANT_S, functools.partial(self._still_wanted, command.key))

    def _ask(self, key: SchedulingKey, count: int, place: Place) -> None:
        process = self._process
        link = process.raylets.get(place.node_id, place.address) if place.node_id else process.raylet
        demand: Demand = key.demand  # type: ignore[assignment]
        demand.message.backlog = count
        demand.message.hops = place.hops
        if demand.takes_large:
            del demand.message.arguments[:]
            demand.message.arguments.extend(large_arguments(key.queue))
        link.queue(raylet_pb2.LEASES_WANTED, demand.message.SerializeToString())
        process.dirty.add(link)

    def _cancel(self, key: SchedulingKey, node_ids: Iterable[bytes]) -> None:
        process = self._process
        payload = raylet_pb2.LeaseCancelled(request_id=key.request_id).SerializeToString()
        for node_id in node_ids:
            link = process.raylets.known(node_id) if node_id else process.raylet
            if link is not None:
                link.queue(raylet_pb2.LEASE_CANCELLED, payload)
                process.dirty.add(link)

    def _place(self, node_id: bytes, hops: int, address: str = "") -> Place:
        return Place(b"" if node_id == self._process.raylet.node_id else node_id, hops, address)

    def _push(self, lease: Lease, tasks: list[TaskRecord]) -> None:
        route: Route = lease.route  # type: ignore[assignment]
        peer = route.peer
        parts: list[bytes] = []
        now = time()
        for task in tasks:
            task.lease_id = lease.lease_id
            task.sent_to, task.sent_at = peer, now
            definition = task.definition
            if definition is not None and definition.digest not in peer.known_definitions:
                peer.known_definitions.add(definition.digest)
                parts.append(self._definition_part(definition))
        parts.extend([repeated_field(_TASKS_FIELD, task.message) for task in tasks])
        for frame in frames(route.header, parts):
            peer.queue(worker_pb2.TASKS, frame)
        self._process.dirty.add(peer)

    def _definition_part(self, definition: Definition) -> bytes:
        message = worker_pb2.Definition(
            digest=definition.digest, pickled=definition.pickled, job_id=self._process.job_id
        )
        return worker_pb2.Tasks(definitions=[message]).SerializeToString()

    def is_at(self, lease_id: bytes, peer: Peer) -> bool:
        """Whether the lease is on this worker, and has not ended."""
        lease = self.manager.lease(lease_id)
        return lease is not None and self.peer_of(lease) is peer

    def peer_of(self, lease: Lease) -> Peer:
        route: Route = lease.route  # type: ignore[assignment]
        return route.peer

    def _still_wanted(self, key: SchedulingKey) -> None:
        with self._process.lock:
            self.queue(self.manager.still_wanted(key))
        self._process.after_lock()

    def _idle(self, lease: Lease, mark: int) -> None:
        with self._process.lock:
            self.queue(self.manager.lease_idle(lease, mark))
        self._process.after_lock()

    def retry(self, key: SchedulingKey, again: list[TaskRecord], unstarted: list[TaskRecord]) -> None:
        """Queue tasks of a dead worker, those that it had started after the delay; the lock is held."""
        delay_s = self._process.tuning.retry_delay_s
        if again and delay_s:
            self._process.reactor.call_later(delay_s, functools.partial(self._retry_late, key, again))
            again = []
        self.queue(self.manager.requeue(key, again + unstarted))

    def _retry_late(self, key: SchedulingKey, tasks: list[TaskRecord]) -> None:
        process = self._process
        with process.lock:
            pending = process.submitter.pending
            self.queue(self.manager.requeue(key, [task for task in tasks if pending.get(task.task_id) is task]))
        process.after_lock()

    # -- from raylets

    def on_granted(self, link: RayletLink, message: raylet_pb2.LeaseGranted) -> None:
        process = self._process
        with process.lock:
            key = self.manager.key_of(message.request_id)
            if key is None:
                # Of a key that was forgotten since: it was granted while it was taken back.
                link.give_back(message.lease_id, raylet_pb2.LeaseReturned(lease_id=message.lease_id))
                process.dirty.add(link)
                return
            # On a new stream a raylet names the leases that it believes we hold.
            if self.manager.lease(message.lease_id) is not None or link.give_back_again(message.lease_id):
                return
            peer = process.peers.get(message.worker.worker_id, message.worker.node_id)
            peer.pid = message.pid
            header = worker_pb2.Tasks(
                lease_id=message.lease_id,
                caller=process.identity.address(),
                job_id=process.job_id,
                resources=message.resources,
                gpu_ids=message.gpu_ids,
            )
            demand: Demand = key.demand  # type: ignore[assignment]
            if demand.message.strategy.HasField("placement_group"):
                use = demand.message.strategy.placement_group
                header.placement_group_id, header.capture_child_tasks = use.placement_group_id, use.capture_child_tasks
            route = Route(peer, link, header.SerializeToString())
            self.queue(self.manager.granted(key, message.lease_id, route, self._place(link.node_id, message.hops)))
        process.after_lock()

    def on_spilled(self, link: RayletLink, message: raylet_pb2.LeaseSpilled) -> None:
        with self._process.lock:
            key = self.manager.key_of(message.request_id)
            if key is not None:
                asked = self._place(link.node_id, message.hops - 1)
                better = self._place(message.node_id, message.hops, message.raylet_address)
                self.queue(self.manager.spilled(key, asked, better, message.count))
        self._process.after_lock()

    def refused(self, request_id: int) -> list[TaskRecord]:
        """The tasks that fail because their request was refused; the lock is held."""
        key = self.manager.key_of(request_id)
        if key is None:
            return []
        tasks, commands = self.manager.refused(key)
        self.queue(commands)
        return tasks

    def on_short(self) -> None:
        with self._process.lock:
            self.queue(self.manager.short())
        self._process.after_lock()

    def on_group_leaving(self, group_id: bytes) -> None:
        """A placement group is about to be removed, and with it the workers leased in it: save the idle ones.

        Never waits: a finalizer may remove a group, under any lock. Then, or when somebody is busy here, none is saved.
        """
        process = self._process
        if process.inside() or not process.lock.acquire(blocking=False):
            return
        try:
            for key in self._keys.values():
                assert isinstance(key.demand, Demand)
                strategy = key.demand.message.strategy
                if strategy.HasField("placement_group") and strategy.placement_group.placement_group_id == group_id:
                    self.queue(self.manager.give_back_idle(key))
        finally:
            process.lock.release()
        process.after_lock()

    def on_raylet_gone(self, link: RayletLink) -> None:
        """A remote raylet cannot be reached: ask at home for what it was asked for."""
        with self._process.lock:
            self.queue(self.manager.raylet_gone(link.node_id))
        self._process.after_lock()

    def on_worker(self, worker_id: bytes) -> list[Lease]:
        found = []
        for lease in self.manager.leases():
            route: Route = lease.route  # type: ignore[assignment]
            if route.peer.worker_id == worker_id:
                found.append(lease)
        return found
