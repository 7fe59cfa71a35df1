"""Calls of the API that a finalizer of the user's makes while its thread is in the middle of the runtime.

The collector runs finalizers wherever something is allocated, also where this thread holds the process's lock and the
tables behind it are half changed. Such a call is taken down and made once the thread has left the lock; the refs that
it returns are valid at once, since their ids are chosen here. What would have to wait for an answer is refused.
"""

from __future__ import annotations

import collections
import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ray._runtime.values import serialization
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.system_errors import error_value

if TYPE_CHECKING:
    from ray._runtime.api import FunctionDescriptor, MethodInfo, TaskOptions
    from ray._runtime.process.process import Process

log = logging.getLogger("ray.runtime")

# Until a thread is asked for again that the system did not have.
_AGAIN_S: Final = 0.2


class FinalizerCalls:
    """Those of one process, made one by one in their order."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._calls: collections.deque[Callable[[], None]] = collections.deque()
        # Reentrant: a finalizer may run, and ask for something, in the middle of a call that is made.
        self._making = threading.RLock()
        # Calls were taken down and are not all made: what they return is not known to the tables yet.
        self.pending = False

    def submit_task(
        self, function: FunctionDescriptor, options: TaskOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """See ray._runtime.api.Runtime.submit_task."""
        process = self._process
        task_id = process.ids.next_task()
        return self._submit(
            function.name,
            task_id,
            options.num_returns,
            lambda: process.submitter.submit(function, options, args, kwargs, task_id),
        )

    def submit_actor_task(
        self,
        actor_id: bytes,
        method: MethodInfo,
        options: Mapping[str, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """See ray._runtime.api.Runtime.submit_actor_task."""
        process = self._process
        task_id = process.ids.next_actor_task(actor_id)
        # The handle may go with the object that is finalized; until the call is made it counts.
        process.actors.add_handle(actor_id, False)

        def make() -> Any:
            try:
                return process.actors.submit(actor_id, method, options, args, kwargs, task_id)
            finally:
                process.drop_handle(actor_id, False)

        return self._submit(method.name, task_id, options.get("num_returns", method.num_returns), make)

    def put(self, value: Any) -> ObjectRef:
        """See ray._runtime.api.Runtime.put. The value is serialized later: it must not be changed any more."""
        process = self._process
        object_id = process.ids.next_put()
        ref = ObjectRef(object_id, process.address, process)
        self._later([ref], lambda: process.put_serialized(serialization.serialize(value), object_id))
        return ref

    def refuse(self, what: str) -> None:
        """raises: RaySystemError, if this thread is in the middle of the runtime."""
        if self._process.inside() or self._process.arena.reading_here():
            from ray.exceptions import RaySystemError

            raise RaySystemError(
                f"{what} was called in a finalizer that the garbage collector ran in the middle of the runtime, which "
                "cannot wait there; hand the work to a thread, or submit a task or an actor call instead"
            )

    def settle(self) -> None:
        """Make what was taken down, now. Not within the process's lock."""
        with self._making:
            while self._calls:
                self._calls.popleft()()
            self.pending = False
            if self._calls:  # taken down since the look
                self.pending = True

    def _submit(self, name: str, task_id: bytes, num_returns: int, make: Callable[[], Any]) -> Any:
        if num_returns < 0:
            self.refuse(f"the generator {name}")
        process = self._process
        refs = [
            ObjectRef(task_id + index.to_bytes(4, "little"), process.address, process)
            for index in range(1, num_returns + 1)
        ]
        self._later(refs, make)
        if num_returns == 1:
            return refs[0]
        return refs or None

    def _later(self, refs: list[ObjectRef], make: Callable[[], Any]) -> None:
        process = self._process

        def call() -> None:
            try:
                made = make()
            except Exception as error:
                # There is nobody to raise it to but who gets the results.
                with process.lock:
                    for ref in refs:
                        process.objects.create(ref._id)
                        process.refs.create(ref._id)
                        process.objects.set_value(ref._id, error_value(error))
                return
            with process.lock:
                # Of each object there are two refs now: the one that was given out, and the one that the call made.
                for ref in refs:
                    process.refs.add_local(ref._id)
            del made

        self._calls.append(call)
        self.pending = True
        # A large put waits for the object manager: not on the thread that reads.
        process.reactor.call_soon(self._start)

    def _start(self) -> None:
        try:
            self._process.helpers.submit(self.settle)
        except RuntimeError as error:
            if not self._process.closing:  # the system has no thread to give
                log.warning("finalizer_calls_wait error=%s again_in_s=%g", error, _AGAIN_S)
                self._process.reactor.call_later(_AGAIN_S, self._start)
