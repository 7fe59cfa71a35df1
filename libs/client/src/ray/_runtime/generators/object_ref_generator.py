"""ObjectRefGenerator: the items of a generator that runs elsewhere, one ref after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from ray._runtime.generators.generator_stream import StreamState
from ray._runtime.values.object_ref import ObjectRef

if TYPE_CHECKING:
    from ray._runtime.process.process import Process


class ObjectRefGenerator:
    """Iterate over it, with `for` or `async for`, to get a ref to each item as soon as the generator yielded it.

    An error of the generator is its last item: getting that ref raises it. When this is collected before the end, the
    generator is closed at its next yield and what was not read is freed. `ray.wait` takes it, for its next item, and
    `ray.cancel`. It stays in the process that made the call.
    """

    def __init__(self, generator_ref: ObjectRef, worker: Process) -> None:
        """Made by .remote(). generator_ref: the task's own result. raises: LookupError when it is no generator's."""
        self._call = worker.generators.call_of(generator_ref._id[:24])
        self._generator_ref = generator_ref
        # Its identity among what is waited for.
        self._id = self._call.handle_id
        self.worker = worker

    def __del__(self) -> None:
        # A refused construction has no call.
        call = self.__dict__.get("_call")
        if call is not None:
            call.note_drop(self.worker)

    # -- one after the other

    def __iter__(self) -> ObjectRefGenerator:
        return self

    def __next__(self) -> ObjectRef:
        """Wait for the next item and return its ref. raises: StopIteration at the end."""
        return self._next_sync(None)

    def _next_sync(self, timeout_s: float | None = None) -> ObjectRef:
        """As next(); returns ObjectRef.nil() when no item came in time."""
        from ray.exceptions import GetTimeoutError

        deadline = None if timeout_s is None or timeout_s < 0 else time.monotonic() + timeout_s
        while (ref := self._take()) is None:
            try:
                self.worker.fetcher.await_ready((self._due(),), 1, deadline, stop_at_error=False)
            except GetTimeoutError:
                return ObjectRef.nil()
        return ref

    def _take(self) -> ObjectRef | None:
        ref = self.worker.generators.next_ref(self._call)
        if ref is None and self._call.stream.at_end:
            raise StopIteration
        return ref

    def _due(self) -> ObjectRef:
        """A ref to wait for: it is ready when next() returns or raises at once."""
        return self.worker.generators.due(self._call)

    def __aiter__(self) -> ObjectRefGenerator:
        return self

    async def __anext__(self) -> ObjectRef:
        """As next(), without blocking the event loop. raises: StopAsyncIteration at the end."""
        return await self._next_async(None)

    async def _next_async(self, timeout_s: float | None = None) -> ObjectRef:
        import asyncio

        try:
            async with asyncio.timeout(timeout_s):
                while (ref := self.worker.generators.next_ref(self._call)) is None:
                    if self._call.stream.at_end:
                        raise StopAsyncIteration
                    await self.worker.generators.arrival(self._call)
        except TimeoutError:
            return ObjectRef.nil()
        return ref

    # -- what is known of it

    def completed(self) -> ObjectRef:
        """A ref that is ready when the generator is over. Getting it raises what ended its task before its time."""
        return self._generator_ref

    def next_ready(self) -> bool:
        """Whether an item is here that was not read."""
        stream = self._call.stream
        return stream.read < stream.arrived

    def is_finished(self) -> bool:
        """Whether the generator is over and all its items were read."""
        return self._call.stream.at_end

    # -- what generators can do here and this cannot

    def send(self, value: Any) -> NoReturn:
        """Not for a generator elsewhere. raises: NotImplementedError."""
        raise NotImplementedError("send() is not supported: the generator runs in another process")

    def throw(self, value: Any, *_: Any) -> NoReturn:
        """Not for a generator elsewhere. raises: NotImplementedError."""
        raise NotImplementedError("throw() is not supported: the generator runs in another process")

    def close(self) -> NoReturn:
        """Not for a generator elsewhere. raises: NotImplementedError."""
        raise NotImplementedError("close() is not supported: drop the last reference to it, or use ray.cancel()")

    async def asend(self, value: Any) -> NoReturn:
        """Not for a generator elsewhere. raises: NotImplementedError."""
        raise NotImplementedError("asend() is not supported: the generator runs in another process")

    async def athrow(self, value: Any, *_: Any) -> NoReturn:
        """Not for a generator elsewhere. raises: NotImplementedError."""
        raise NotImplementedError("athrow() is not supported: the generator runs in another process")

    async def aclose(self) -> NoReturn:
        """Not for a generator elsewhere. raises: NotImplementedError."""
        raise NotImplementedError("aclose() is not supported: drop the last reference to it, or use ray.cancel()")

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "An ObjectRefGenerator cannot be pickled, returned or passed to another task: it stays in the process that "
            "made the call. Pass the refs that it gives."
        )

    def __repr__(self) -> str:
        state = self._call.stream.state
        return f"ObjectRefGenerator({self._call.task_id.hex()}, {'running' if state is StreamState.OPEN else 'over'})"


class DynamicObjectRefGenerator:
    """The value of a call with num_returns="dynamic": iterate over it to get a ref to each item. Each is given once."""

    def __init__(self, refs: list[ObjectRef]) -> None:
        self._refs = refs

    def __iter__(self) -> Iterator[ObjectRef]:
        while self._refs:
            yield self._refs.pop(0)

    def __len__(self) -> int:
        return len(self._refs)
