"""From refs to values: get, wait and futures, and the answers to peers that ask an owner for an object."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from ray._runtime.arena.arena_errors import ObjectNotFound
from ray._runtime.loop.latch import Gate
from ray._runtime.loop.reading import TAKE_OVER_S
from ray._runtime.objects.local_wait import LocalWait, is_elsewhere
from ray._runtime.objects.object_table import ObjectState
from ray._runtime.objects.stored_values import load_stored
from ray._runtime.values import serialization
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.ref_pickling import count_arrived, receiving
from ray._runtime.values.system_errors import as_raised

if TYPE_CHECKING:
    from ray._runtime.objects.object_table import ObjectEntry
    from ray._runtime.process.process import Process

log = logging.getLogger("ray.runtime")

# A wait that lasts longer says what it waits for.
SLOW_WAIT_S: Final = 30.0


class Fetcher:
    """Brings values of owned and borrowed objects to this process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    # -- get

    def get(self, refs: Sequence[ObjectRef], timeout: float | None) -> list[Any]:
        """The values. raises: what the objects' tasks raised; GetTimeoutError; the ObjectLostError family."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if len(refs) == 1:
            self._await_one(refs[0], deadline)
        elif self.await_ready(refs, len(refs), deadline, stop_at_error=True):
            self._raise_error_among(refs, deadline)
        return [self._load(ref, deadline) for ref in refs]

    def _raise_error_among(self, refs: Sequence[ObjectRef], deadline: float | None) -> None:
        """One of them is an error, which counts now, whatever becomes of the others."""
        for ref in refs:
            entry = self._process.objects.get(ref._id)
            if entry is not None and entry.value is not None and entry.value.kind == serialization.ERROR:
                self._load(ref, deadline)

    def _await_one(self, ref: ObjectRef, deadline: float | None) -> None:
        """await_ready of a single ref, the commonest of all, without what lists need."""
        process = self._process
        entry = process.objects.get(ref._id)
        if entry is None:
            entry = self._counted_now(ref)
        if entry.state is not ObjectState.PENDING:
            return
        gate = Gate(1)
        with process.lock:
            if process.objects.when_ready(ref._id, gate.one_ready):
                return
        if entry.owner is not None:
            self._process.inquiries.want(ref)
        try:
            if process.is_driver:
                self._wait(gate, (ref,), deadline)
            else:
                # Of another owner it may be there already, here even, and the answer is only on its way.
                if entry.owner is not None and process.reading.wait(gate, self._brief(deadline)):
                    return
                with process.lending(gate):
                    self._wait(gate, (ref,), deadline)
        finally:
            if entry.state is ObjectState.PENDING:
                with process.lock:
                    process.objects.forget_waiter(ref._id, gate.one_ready)

    def await_ready(self, refs: Sequence[ObjectRef], needed: int, deadline: float | None, stop_at_error: bool) -> bool:
        """Wait until `needed` of the refs are ready. returns: whether one is an error, if that was to end the wait.

        raises: GetTimeoutError at the deadline.
        """
        process = self._process
        objects = process.objects
        pending: list[tuple[ObjectRef, ObjectEntry]] = []
        ready = 0
        for ref in refs:
            entry = objects.get(ref._id)
            if entry is None:
                entry = self._counted_now(ref)
            if entry.state is not ObjectState.PENDING:
                ready += 1
                if stop_at_error and entry.value is not None and entry.value.kind == serialization.ERROR:
                    return True
            else:
                pending.append((ref, entry))
        if ready >= needed:
            return False
        gate = Gate(needed - ready)
        errors: list[bytes] = []
        waiter = self._error_aware(gate, errors) if stop_at_error else gate.one_ready
        with process.lock:
            already = [ref._id for ref, entry in pending if objects.when_ready(ref._id, waiter)]
        for object_id in already:
            waiter(object_id)
        try:
            for ref, entry in pending:
                if entry.owner is not None:
                    process.inquiries.want(ref)
            if process.is_driver or any(entry.owner is None for _, entry in pending):
                brief = 0.0
            else:
                brief = self._brief(deadline)
            if not (brief and process.reading.wait(gate, brief)):
                with process.lending(gate):
                    self._wait(gate, [ref for ref, _ in pending], deadline)
        finally:
            with process.lock:
                for ref, entry in pending:
                    if entry.state is ObjectState.PENDING:
                        objects.forget_waiter(ref._id, waiter)
        return bool(errors)

    def _brief(self, deadline: float | None) -> float:
        """How long a worker waits before it lends its CPUs, seconds."""
        return TAKE_OVER_S if deadline is None else max(0.0, min(TAKE_OVER_S, deadline - time.monotonic()))

    def _error_aware(self, gate: Gate, errors: list[bytes]) -> Callable[[bytes], None]:
        entry_of, one_ready = self._process.objects.get, gate.one_ready

        def waiter(object_id: bytes) -> None:
            entry = entry_of(object_id)
            if entry is not None and entry.value is not None and entry.value.kind == serialization.ERROR:
                errors.append(object_id)
                gate.open()
            else:
                one_ready()

        return waiter

    def _wait(self, gate: Gate, refs: Sequence[ObjectRef], deadline: float | None) -> None:
        started = time.monotonic()
        while True:
            left = SLOW_WAIT_S if deadline is None else min(SLOW_WAIT_S, deadline - time.monotonic())
            if self._process.reading.wait(gate, max(left, 0.0)):
                return
            if deadline is not None and time.monotonic() >= deadline:
                from ray.exceptions import GetTimeoutError

                waiting = [ref for ref in refs if not self.is_ready(ref)]
                raise GetTimeoutError(
                    f"Get timed out: some object(s) not ready. {len(waiting)} of them, the first {waiting[:1]}"
                )
            self._say_what_is_awaited(refs, time.monotonic() - started)

    def _say_what_is_awaited(self, refs: Sequence[ObjectRef], waited_s: float) -> None:
        submitter = self._process.submitter
        for ref in refs:
            if not self.is_ready(ref):
                record = submitter.pending.get(ref._id[:24])
                where = "another process" if record is None else record.name
                state = "unknown here" if record is None else ("queued" if record.lease_id is None else "on a worker")
                log.warning("still_waiting object=%s of=%s task_is=%s waited_s=%.0f", ref.hex(), where, state, waited_s)
                return

    def is_ready(self, ref: ObjectRef) -> bool:
        return (entry := self._process.objects.get(ref._id)) is not None and entry.state is not ObjectState.PENDING

    def _counted_now(self, ref: ObjectRef) -> ObjectEntry:
        """The entry of a ref that had none. raises: ReferenceCountingAssertionError when it is not of this cluster."""
        from ray.exceptions import ReferenceCountingAssertionError

        count_arrived()
        entry = self._process.objects.get(ref._id)
        if entry is None:
            raise ReferenceCountingAssertionError(ref.hex())
        return entry

    def _load(self, ref: ObjectRef, deadline: float | None) -> Any:
        process = self._process
        entry = process.objects.get(ref._id)
        if entry is None:
            entry = self._counted_now(ref)
        # Looked at once: on another thread its last copy may be found lost at any moment.
        while (state := entry.state) is ObjectState.PENDING:
            # Another object of the list is an error, and it comes later in the list.
            self.await_ready([ref], 1, deadline, stop_at_error=False)
        if state is ObjectState.STORED:
            return self._load_stored(ref, entry, deadline)
        value = entry.value
        assert value is not None
        if value.kind == serialization.ERROR:
            process.unread.read(ref._id)
            raise as_raised(self._unpickle(ref._id, value))
        return self._unpickle(ref._id, value)

    def _unpickle(self, object_id: bytes, value: Any) -> Any:
        if not value.contained:
            return serialization.load_proto(value)
        with receiving(self._receiver(object_id)):
            return serialization.load_proto(value)

    def _receiver(self, outer: bytes) -> Callable[[list[ObjectRef]], None]:
        process = self._process
        return lambda refs: process.receive_refs(refs, lambda counter, items: counter.received_in_object(items, outer))

    def _load_stored(self, ref: ObjectRef, entry: ObjectEntry, deadline: float | None) -> Any:
        process = self._process
        object_id = ref._id
        owner = ref._owner or process.address
        lost: list[bytes] = []
        generation = entry.generation
        while True:
            if entry.generation != generation:
                lost.clear()
                generation = entry.generation
            # After the generation: what is reported lost has to be of it, or older.
            nodes = entry.nodes
            # What is here needs but a round trip to the object manager, which no timeout is meant to cut short.
            here = process.node_id in nodes
            timeout = None if deadline is None or here else max(0.0, deadline - time.monotonic())
            try:
                value = load_stored(process, object_id, list(nodes), owner, timeout, self._receiver(object_id))
            except ObjectNotFound as error:
                if process.closing:
                    raise _shut_down() from None
                lost.extend(node for node in error.lost_at or nodes if node not in lost)
                log.debug("copies_not_found object_id=%s reason=%s", object_id.hex(), error)
                self._report_lost(ref, entry, lost, generation)
                # It is made again, or its owner named other nodes meanwhile.
                self.await_ready([ref], 1, deadline, stop_at_error=False)
                if entry.state is ObjectState.INLINE:
                    return self._load(ref, deadline)
            else:
                if entry.owner is None and process.node_id not in entry.nodes:
                    with process.lock:
                        process.objects.add_node(object_id, process.node_id)
                if entry.owner is None:
                    process.read_ahead.after(object_id)
                return value

    def _report_lost(self, ref: ObjectRef, entry: ObjectEntry, lost: Sequence[bytes], generation: int) -> None:
        """No copy at these nodes: the owner may know others, or has to make it again."""
        process = self._process
        if entry.owner is None:
            with process.lock:
                process.recovery.copies_lost(ref._id, lost, generation)
            process.after_lock()
            return
        with process.lock:
            if entry.state is ObjectState.STORED and entry.generation == generation:
                entry.state = ObjectState.PENDING
        process.inquiries.want(ref, lost)

    # -- wait and futures

    def wait(
        self, refs: Sequence[ObjectRef], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> tuple[list[ObjectRef], list[ObjectRef]]:
        from ray.exceptions import GetTimeoutError

        deadline = None if timeout is None else time.monotonic() + timeout
        if fetch_local:
            places = self._first_here(refs, num_returns, deadline)
        else:
            places = self._first_ready(refs, num_returns)
            if len(places) < num_returns:
                with contextlib.suppress(GetTimeoutError):  # what is there by then is the answer
                    self.await_ready(refs, num_returns, deadline, stop_at_error=False)
                places = self._first_ready(refs, num_returns)
        if self._process.unread.errors:
            # Whoever waits for a task sees that it has ended, and may ask no more.
            self._process.unread.read_all([refs[place] for place in places])
        if len(places) == 1:
            others = [*refs[: places[0]], *refs[places[0] + 1 :]]
        else:
            taken = set(places)
            others = [ref for place, ref in enumerate(refs) if place not in taken]
        return [refs[place] for place in places], others

    def _first_ready(self, refs: Sequence[ObjectRef], needed: int) -> list[int]:
        """Where the first `needed` objects that are ready stand in the list, or as many as there are."""
        entry_of = self._process.objects.get
        places: list[int] = []
        for place, ref in enumerate(refs):
            entry = entry_of(ref._id)
            if entry is not None and entry.state is not ObjectState.PENDING:
                places.append(place)
                if len(places) == needed:
                    break
        return places

    def _first_here(self, refs: Sequence[ObjectRef], needed: int, deadline: float | None) -> list[int]:
        """As _first_ready, of objects that are on this node by the deadline; others are brought."""
        process, entry_of = self._process, self._process.objects.get
        places: list[int] = []
        for place, ref in enumerate(refs):
            entry = entry_of(ref._id) or self._counted_now(ref)
            if (
                entry is not None
                and entry.state is not ObjectState.PENDING
                and not is_elsewhere(entry, process.node_id)
            ):
                places.append(place)
                if len(places) == needed:
                    return places
        waiting = LocalWait(process, refs, needed)

        def wait(gate: Gate, makes: bool) -> None:
            from ray.exceptions import GetTimeoutError

            brief = 0.0 if process.is_driver or makes else self._brief(deadline)
            if brief and process.reading.wait(gate, brief):
                return
            with contextlib.suppress(GetTimeoutError), process.lending(gate):
                self._wait(gate, refs, deadline)

        while True:
            waiting.run(wait)
            if len(waiting.here) >= needed or not waiting.lost:
                break
            # They are looked for elsewhere, or made again.
            for lost in waiting.lost:
                self._report_lost(lost.ref, lost.entry, lost.nodes, lost.generation)
        return [place for place, ref in enumerate(refs) if ref._id in waiting.here][:needed]

    def future_of(self, ref: ObjectRef) -> Future[Any]:
        """A future that loads the value on the thread that brings it, or here if it is ready and on this node."""
        process = self._process
        future: Future[Any] = Future()

        def settle(_object_id: bytes = b"") -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(self._load(ref, None))
            except BaseException as error:  # the user's error, whatever it is, belongs to the future
                future.set_exception(error)

        def settle_elsewhere() -> None:
            try:
                process.helpers.submit(settle).add_done_callback(given_up)
            except RuntimeError as error:
                give_up(None if process.closing else error)

        def given_up(done: Future[None]) -> None:
            if done.cancelled():
                give_up()

        def give_up(error: Exception | None = None) -> None:
            """error: there was no thread; None: the helpers have ended."""
            if future.set_running_or_notify_cancel():
                future.set_exception(error or _shut_down())

        def when_ready(_object_id: bytes) -> None:
            entry = process.objects.get(ref._id)
            if entry is not None and entry.state is ObjectState.STORED:
                # Bringing a large object waits for channels: not on the thread that reads them.
                settle_elsewhere()
            else:
                settle()

        # Counting sends messages, which is not done under the lock.
        entry = process.objects.get(ref._id) or self._counted_now(ref)
        with process.lock:
            ready = process.objects.when_ready(ref._id, when_ready)
        if not ready:
            self._process.inquiries.want(ref)
        elif entry.state is ObjectState.STORED and process.node_id not in entry.nodes:
            # Whoever asks for a future, an event loop for instance, must not be held up until the bytes are here.
            settle_elsewhere()
        else:
            settle()
        return future


def _shut_down() -> Exception:
    from ray.exceptions import RaySystemError

    return RaySystemError("ray.shutdown() was called before this was there")
