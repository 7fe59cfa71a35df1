"""A connected process, driver or worker: joins the parts of the runtime and is what the public API talks to.

One lock, `lock`, guards the cores (references, objects, leases, actors). It is never held during I/O: messages are
queued under it, and `after_lock` sends them. Whoever changes the cores does `with process.lock: ...` and then
`after_lock()`.
"""

from __future__ import annotations

import itertools
import json
import operator
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

from manta_common.threads import Threads
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2

from ray._runtime import current
from ray._runtime.actors.actors import Actors
from ray._runtime.execution.executor import Executor
from ray._runtime.execution.forked_child import end_forked_child
from ray._runtime.execution.item_sender import ItemSenders
from ray._runtime.generators.generators import Generators
from ray._runtime.generators.read_ahead import ReadAhead
from ray._runtime.loop.io_thread import IoThread
from ray._runtime.loop.latch import Gate
from ray._runtime.loop.reactor import Reactor
from ray._runtime.loop.reading import Reading, start_bare_thread, start_thread
from ray._runtime.objects import stored_values as stored
from ray._runtime.objects.dropped_refs import Drops
from ray._runtime.objects.fetching import Fetcher
from ray._runtime.objects.object_frees import Frees
from ray._runtime.objects.object_table import ObjectTable, Waiter
from ray._runtime.objects.owner_queries import Inquiries
from ray._runtime.objects.reads import Reads
from ray._runtime.objects.reference_messages import HoldMessenger
from ray._runtime.objects.unread_errors import UnreadErrors
from ray._runtime.objects.waking import wake
from ray._runtime.process import cluster_view
from ray._runtime.process import system_config as tuning
from ray._runtime.process.failures import Losses
from ray._runtime.process.finalizer_calls import FinalizerCalls
from ray._runtime.process.peer_frames import PeerFrames
from ray._runtime.process.placement_groups import PlacementGroups
from ray._runtime.process.process_arena import arena_of
from ray._runtime.references.reference import ReferenceCounter
from ray._runtime.specs.task_ids import TaskIds
from ray._runtime.tasks.cancelling import Canceller
from ray._runtime.tasks.group_context import GroupContext
from ray._runtime.tasks.recovery import Recovery
from ray._runtime.tasks.retry_notices import RetryNotices
from ray._runtime.tasks.task_events import TaskEvents
from ray._runtime.tasks.task_submitter import TaskSubmitter
from ray._runtime.transport.carrier import Identity, Peer
from ray._runtime.transport.gcs_client import GcsClient
from ray._runtime.transport.peers import PeerTable
from ray._runtime.transport.raylets import RayletLink, Raylets, raylet_socket
from ray._runtime.transport.remote import Remote
from ray._runtime.values import ref_pickling, serialization
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.system_errors import actor_not_found

if TYPE_CHECKING:
    from ray._runtime.api import ActorOptions, ClassDescriptor, FunctionDescriptor, MethodInfo, TaskOptions
    from ray._runtime.process.retirement import Retirement
    from ray._runtime.references.reference_command import Command

# Puts of this size, bytes, tell at once of what was freed: the next one that is as large needs the room.
_FREED_AT_ONCE: Final = 8 * 1024 * 1024
_owner_of = operator.attrgetter("_owner")
# Counts (object id, owner's worker id) of refs that arrived.
Receive = Callable[[ReferenceCounter, "Sequence[tuple[bytes, bytes]]"], "Sequence[Command]"]


class Process:
    """See ray._runtime.api.Runtime for the methods that the public API uses."""

    def __init__(self, *, is_driver: bool) -> None:
        """No descriptor is opened and nothing random drawn here: a zygote makes one ahead for all its workers."""
        self.is_driver = is_driver
        # Reentrant, for finalizers that run under it; they have to ask `inside` before they change anything.
        self.lock = threading.RLock()
        self.inside: Callable[[], bool] = self.lock._is_owned  # type: ignore[attr-defined]
        self.finalizer_calls = FinalizerCalls(self)
        self.reactor = Reactor()
        self.objects = ObjectTable()

        self.drops = Drops(self)
        # Filled under the lock, emptied by after_lock.
        self.dirty: set[Peer | RayletLink] = set()
        self.woken: list[tuple[Waiter, bytes]] = []
        self.to_free: list[tuple[bytes, list[bytes]]] = []
        self.frees = Frees(self)

        self.holds = HoldMessenger(self)
        self.peers = PeerTable(self, PeerFrames(self).dispatch)
        self.raylets = Raylets(self)
        self.remote = Remote(self)
        self.task_events = TaskEvents(self)
        self.group_context = GroupContext()
        self.placement_groups = PlacementGroups(self)
        self.unread = UnreadErrors(self)
        self.retry_notices = RetryNotices(self)
        self.submitter = TaskSubmitter(self)
        self.canceller = Canceller(self)
        self.generators = Generators(self)
        self.read_ahead = ReadAhead(self)
        self.item_senders = ItemSenders()
        self.fetcher = Fetcher(self)
        self.inquiries = Inquiries(self)
        self.recovery = Recovery(self)
        self.losses = Losses(self)
        self.executor = Executor(self)
        start = start_thread if is_driver else start_bare_thread
        self.reading = Reading(self.reactor, self.executor.taken_over, start)
        self.actors = Actors(self)
        self.reads = Reads(self)
        self._helpers: Threads | None = None
        # A worker waits for no welcome.
        self._welcomed: Future[common_pb2.Welcome] | None = Future() if is_driver else None
        self.on_log_lines: Callable[[raylet_pb2.LogLines], None] | None = None
        self.on_worker_message: Callable[[int, bytes], None] | None = None
        self.output_name: Callable[[Any, str], None] = lambda _actor, _name: None
        self.on_raylet_lost: Callable[[str], None] = lambda reason: None
        self.closing = False
        # User code forked this process from a worker or driver.
        self.is_fork = False
        self.tuning = tuning.DEFAULT
        self.tuned_by: bytes | None = None
        # While this worker has served its time.
        self.retirement: Retirement | None = None

    def prepare(
        self,
        identity: Identity,
        *,
        socket_dir: str,
        object_manager_socket: str,
        session_dir: str,
        gcs: GcsClient,
        io: IoThread,
        gcs_addresses: str,
        namespace: str,
        ip_address: str,
        runtime_env: str,
        job_config: str,
        tls: Any = None,
    ) -> None:
        """Take over where it is to live; for workers of a zygote this comes before the fork, like the constructor."""
        self.identity = identity
        self.job_id = identity.job_id
        self.node_id = identity.node_id
        self.socket_dir = socket_dir
        self.session_dir = session_dir
        self.gcs_addresses = gcs_addresses
        self.namespace = namespace
        self.ip_address = ip_address
        self.job_runtime_env = runtime_env
        # Whether actors that say nothing of their lifetime are detached.
        self.actors_detached = _default_lifetime(job_config) == "detached"
        self.tls = tls
        self.io = io
        self.gcs = gcs
        gcs.on_statuses = self.actors.on_statuses
        self.refs = ReferenceCounter(b"")
        self.arena = arena_of(self, object_manager_socket)
        self.raylet: RayletLink = RayletLink(identity.node_id, self)

    def become(self, worker_id: bytes) -> None:
        """Be this process from now on; once, before anything else is called. raises: OSError without descriptors."""
        self.identity.worker_id = self.worker_id = worker_id
        self.address = (self.node_id, worker_id)
        self.refs.become(worker_id)
        self.ids = TaskIds(self.job_id)
        self.reactor.open()

    # -- connecting

    def connect(self) -> None:
        """Listen for peers and say hello to the raylet. raises: OSError."""
        self.peers.listen()
        self.raylets.connect_local(self.raylet, raylet_socket(self.socket_dir))
        ref_pickling.set_outside_hooks(self._pickled_outside, self._unpickled_outside)

    def tune(self, details: bytes) -> None:
        """Do as the raylet's welcome says; workers know before they are forked what it will be."""
        tuning.apply(self, raylet_pb2.RayletWelcome.FromString(details))
        self.tuned_by = details

    def await_welcome(self, timeout_s: float) -> common_pb2.Welcome:
        """The raylet's answer to a driver; somebody must read. raises: TimeoutError, or what a refusal says."""
        assert self._welcomed is not None
        return self._welcomed.result(timeout_s)

    def raylet_welcomed(self, link: RayletLink, welcome: common_pb2.Welcome) -> None:
        if link is self.raylet:
            if welcome.details != self.tuned_by:
                self.tune(welcome.details)
            if self._welcomed is not None and not self._welcomed.done():
                self._welcomed.set_result(welcome)

    def raylet_refused(self, reason: str) -> None:
        from ray.exceptions import AuthenticationError, RaySystemError

        if self._welcomed is not None and not self._welcomed.done():
            kind = AuthenticationError if "token" in reason else RaySystemError
            self._welcomed.set_exception(kind(f"the raylet refused the connection: {reason}"))

    def local_raylet_lost(self, reason: str) -> None:
        if not self.closing:
            self.on_raylet_lost(reason)

    # -- the lock's other half

    def after_lock(self) -> None:
        """Do what was queued under the lock. Never called with the lock held."""
        while self.dirty or self.woken or self.to_free:
            with self.lock:
                dirty, self.dirty = self.dirty, set()
                woken, self.woken = self.woken, []
            for target in dirty:
                if isinstance(target, Peer):
                    self.peers.flush(target)
                else:
                    target.flush()
            if woken:
                wake(self, woken)
            if self.to_free:
                if self.frees.sending():
                    self.drops.ask()
                    return
                self.frees.send()
        if self.retirement is not None:
            self.retirement.look()

    def drop_handle(self, actor_id: bytes, weak: bool) -> None:
        self.drops.note_handle(actor_id, weak)

    # -- references

    def receive_refs(self, refs: Sequence[ObjectRef], receive: Receive) -> None:
        """Begin to use refs that arrived; `receive` counts them, under the lock, with what protects them."""
        ours = self.worker_id
        with self.lock:
            if self.drops.refs:
                # Of the read before this one, mostly: the reader would share the interpreter with us for it.
                self.drops.count()
            items = []
            # Neighbours of one value mostly have one owner, and share its address.
            for owner, neighbours in itertools.groupby(refs, _owner_of):
                if owner is None:
                    for ref in neighbours:
                        ref._owner = self.address
                        items.append((ref._id, ours))
                    continue
                node_id, worker_id = owner
                object_ids = [ref._id for ref in neighbours]
                items += zip(object_ids, itertools.repeat(worker_id))
                if worker_id != ours:
                    self.peers.get(worker_id, node_id)
                    self.objects.borrow_all(object_ids, owner)
            commands = receive(self.refs, items)
            for ref in refs:
                # From here on the end of a ref is counted.
                ref._process = self
            if commands:
                self.holds.apply(commands)
        self.after_lock()

    def _pickled_outside(self, ref: ObjectRef) -> None:
        with self.lock:
            self.refs.pin_for_job(ref._id)

    def _unpickled_outside(self, ref: ObjectRef) -> None:
        self.receive_refs((ref,), lambda counter, items: counter.received_elsewhere(items))

    # -- deaths

    def watch(self, peer: Peer) -> None:
        """Have the raylet tell when this process dies."""
        message = raylet_pb2.Watch(workers=[common_pb2.WorkerAddress(node_id=peer.node_id, worker_id=peer.worker_id)])
        if not peer.watched and peer.worker_id != self.worker_id:
            peer.watched = True
            self.raylet.queue(raylet_pb2.WATCH, message.SerializeToString())
            self.dirty.add(self.raylet)

    def watch_worker(self, worker_id: bytes) -> None:
        self.watch(self.peers.get(worker_id))

    def on_raylet_message(self, kind: int, payload: bytes) -> None:
        """A message of our own raylet that is not about leases."""
        if kind == raylet_pb2.LOG_LINES and self.on_log_lines is not None:
            self.on_log_lines(raylet_pb2.LogLines.FromString(payload))
        elif self.on_worker_message is not None:
            self.on_worker_message(kind, payload)
        else:
            raise ValueError(f"unknown frame kind {kind}")

    # -- what the public API asks

    def submit_task(
        self, function: FunctionDescriptor, options: TaskOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self.inside():
            return self.finalizer_calls.submit_task(function, options, args, kwargs)
        if self.finalizer_calls.pending:
            self.finalizer_calls.settle()
        return self.submitter.submit(function, options, args, kwargs)

    def create_actor(
        self, cls: ClassDescriptor, options: ActorOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self.finalizer_calls.refuse("the creation of an actor")
        return self.actors.create(cls, options, args, kwargs)

    def submit_actor_task(
        self,
        actor_id: bytes,
        method: MethodInfo,
        options: Mapping[str, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if self.inside():
            return self.finalizer_calls.submit_actor_task(actor_id, method, options, args, kwargs)
        if self.finalizer_calls.pending:
            self.finalizer_calls.settle()
        return self.actors.submit(actor_id, method, options, args, kwargs)

    def put(self, value: Any, owner: Any = None) -> ObjectRef:
        if owner is not None:
            raise NotImplementedError("ray.put(_owner=...) is not supported yet: the caller owns what it puts")
        if self.inside() or self.arena.reading_here():
            return self.finalizer_calls.put(value)
        return self.put_serialized(serialization.serialize(value))

    def put_serialized(self, serialized: serialization.Serialized, object_id: bytes = b"") -> ObjectRef:
        """Begin to own a value, under an id that was chosen before if one is given.

        raises: ObjectStoreFullError when it is large and finds no room.
        """
        object_id = object_id or self.ids.next_put()
        large = serialized.size > serialization.inline.limit
        pin = None
        if large:
            if self.drops.refs:
                # What was dropped before it was told of leaves its range, still warm, to this one.
                with self.lock:
                    self.drops.count()
                if self.dirty:
                    # To owners, say, whose objects take the room for which this put may have to wait.
                    self.after_lock()
            pin = stored.store_put(self, object_id, serialized)
        with self.lock:
            if self.drops.refs:
                self.drops.count()
            self.objects.create(object_id)
            self.refs.create(object_id)
            if serialized.contained:
                self.refs.put_contains(object_id, [ref._id for ref in serialized.contained])
            if large:
                self.objects.set_stored(object_id, serialized.stored_size(), (self.node_id,))
            else:
                self.objects.set_value(object_id, serialized.to_proto())
        if pin is not None:
            self.reads.keep(object_id, pin)
        if self.dirty or (self.to_free and serialized.size > _FREED_AT_ONCE):
            self.after_lock()
        if large or self.to_free:
            self.drops.ask()
        return ObjectRef(object_id, self.address, self)

    def get(self, refs: Sequence[ObjectRef], timeout: float | None) -> list[Any]:
        self._may_wait("ray.get")
        return self.fetcher.get(refs, timeout)

    def wait(
        self, refs: Sequence[ObjectRef], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> tuple[list[ObjectRef], list[ObjectRef]]:
        self._may_wait("ray.wait")
        return self.fetcher.wait(refs, num_returns, timeout, fetch_local)

    def _may_wait(self, what: str) -> None:
        self.finalizer_calls.refuse(what)
        if self.finalizer_calls.pending:
            self.finalizer_calls.settle()

    def future_of(self, ref: ObjectRef) -> Future[Any]:
        self._may_wait("ObjectRef.future")
        return self.fetcher.future_of(ref)

    def kill_actor(self, actor_id: bytes, no_restart: bool) -> None:
        self._may_wait("ray.kill")
        self.actors.kill(actor_id, no_restart)

    def cancel(self, ref: ObjectRef, force: bool, recursive: bool) -> None:
        self._may_wait("ray.cancel")
        self.canceller.cancel_ref(ref, force, recursive)

    def find_actor(self, name: str, namespace: str | None) -> Any:
        self._may_wait("ray.get_actor")
        return self.actors.find(name, namespace)

    def list_named_actors(self, all_namespaces: bool) -> list[dict[str, str]]:
        return cluster_view.list_named_actors(self, all_namespaces)

    def add_handle(self, actor_id: bytes, weak: bool) -> None:
        self.actors.add_handle(actor_id, weak)

    def export_handle(self, actor_id: bytes) -> Any:
        return self.actors.export(actor_id)

    def import_handle(self, state: Any) -> Any:
        return self.actors.import_(state)

    def _left_behind(self, actor_id: bytes, *_call: Any) -> NoReturn:
        raise actor_not_found(actor_id)

    def nodes(self) -> list[dict[str, Any]]:
        return cluster_view.nodes(self)

    def cluster_resources(self) -> dict[str, float]:
        return cluster_view.resources(self, available=False)

    def available_resources(self) -> dict[str, float]:
        return cluster_view.resources(self, available=True)

    def context(self) -> Mapping[str, Any]:
        return cluster_view.context(self)

    def current_actor(self) -> Any:
        host = self.executor.actor
        return self.actors.own_handle(host) if host is not None else None

    def exit_actor(self) -> None:
        self.executor.exit_actor()

    # -- for the parts

    @contextmanager
    def lending(self, gate: Gate | None = None) -> Iterator[None]:
        """This thread is about to wait for other processes, and reads its channels by itself.

        gate: where it waits, if it may be interrupted there. raises: KeyboardInterrupt at the end, if it was.
        """
        if self.is_driver:
            yield
            return
        with self.executor.lending(gate):
            yield

    @contextmanager
    def blocking(self) -> Iterator[None]:
        """This thread is about to wait for other processes without reading: somebody else has to."""
        with self.lending():
            self.reading.block()
            try:
                yield
            finally:
                self.reading.unblock()

    def task_runtime_env(self, own: str) -> str:
        """The runtime env of a task or actor: its own, over the job's. raises: RuntimeEnvSetupError."""
        return cluster_view.task_runtime_env(self.job_runtime_env, own)

    @property
    def helpers(self) -> Threads:
        """Threads for what may block and nobody waits for: futures of large objects."""
        if self._helpers is None:
            with self.lock:  # two threads may need them first; shutdown ends those that it knows
                self._helpers = self._helpers or Threads(4, thread_name_prefix="manta-helper")
        return self._helpers

    def drop_in_child(self) -> None:
        """In a process that user code forked: have nothing more to do with the cluster, and tell nobody."""
        self.closing = self.is_fork = True
        self.executor.lane.drop_in_child()
        self.reactor.drop_in_child(end_forked_child)
        self.reading.drop_in_child()
        self.arena.drop_in_child()
        current.set_forked()

    def shutdown(self) -> None:
        """Leave the cluster: close all connections and end all threads. Views that were got stay valid."""
        self.placement_groups.leave()
        self.closing = True
        # For handles that outlive the connection; not a look at `closing`, which every call would take.
        self.submit_actor_task = self.export_handle = self._left_behind  # type: ignore[method-assign,assignment]
        ref_pickling.set_outside_hooks(None, None)
        self.gcs.close()
        self.remote.close()
        self.reads.recent.clear()
        self.arena.close()
        # Not before the arena is closed: they may wait for an object that cannot be brought.
        if self._helpers is not None:
            self._helpers.shutdown(wait=True, cancel_futures=True)
        self.peers.close()
        self.raylets.close()
        self.io.stop()


def _default_lifetime(job_config: str) -> Any:
    """Of the job's actors. job_config: ray.job_config.JobConfig as JSON, or empty."""
    return json.loads(job_config).get("default_actor_lifetime") if job_config else None
