"""Queue: a first-in first-out queue that tasks and actors share, kept by an actor of its own."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray


class Empty(queue.Empty):
    """get() found no item in time."""


class Full(queue.Full):
    """put() found no room in time."""


class Queue:
    """Like queue.Queue, and passed to tasks and actors by reference. maxsize: items; 0 for no limit.

    actor_options: options of the actor that keeps the items.
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        self.maxsize = maxsize
        self.actor: Any = ray.remote(_QueueActor).options(**(actor_options or {})).remote(maxsize)

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """Items in the queue now."""
        return int(ray.get(self.actor.qsize.remote()))

    def qsize(self) -> int:
        return self.size()

    def empty(self) -> bool:
        return bool(ray.get(self.actor.empty.remote()))

    def full(self) -> bool:
        return bool(ray.get(self.actor.full.remote()))

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item; wait up to `timeout` seconds for room. raises: Full; ValueError for a negative timeout."""
        with _as_they_are():
            ray.get(self._put(item, block, timeout))

    def _put(self, item: Any, block: bool, timeout: float | None) -> ray.ObjectRef:
        ref: ray.ObjectRef
        ref = self.actor.put.remote(item, _checked(timeout)) if block else self.actor.put_nowait.remote(item)
        return ref

    async def put_async(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """As put, without blocking the event loop."""
        with _as_they_are():
            await self._put(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item; wait up to `timeout` seconds for one. raises: Empty; ValueError as put."""
        with _as_they_are():
            return ray.get(self._get(block, timeout))

    def _get(self, block: bool, timeout: float | None) -> ray.ObjectRef:
        ref: ray.ObjectRef = self.actor.get.remote(_checked(timeout)) if block else self.actor.get_nowait.remote()
        return ref

    async def get_async(self, block: bool = True, timeout: float | None = None) -> Any:
        """As get, without blocking the event loop."""
        with _as_they_are():
            return await self._get(block, timeout)

    def put_nowait(self, item: Any) -> None:
        self.put(item, block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Add all items or none. raises: Full; TypeError when `items` is not iterable."""
        if not isinstance(items, Iterable):
            raise TypeError(f"items must be iterable, not {type(items).__name__}")
        with _as_they_are():
            ray.get(self.actor.put_nowait_batch.remote(list(items)))

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Take `num_items` items or none. raises: Empty; TypeError, ValueError for a bad number."""
        if isinstance(num_items, bool) or not isinstance(num_items, int):
            raise TypeError(f"num_items must be an int, not {num_items!r}")
        if num_items < 0:
            raise ValueError(f"num_items must be >= 0, not {num_items}")
        with _as_they_are():
            items: list[Any] = ray.get(self.actor.get_nowait_batch.remote(num_items))
        return items

    def shutdown(self, force: bool = False, grace_period_s: int = 5) -> None:
        """End the actor; items are lost. force: at once, else after its calls or `grace_period_s` seconds."""
        actor, self.actor = self.actor, None
        if actor is None:
            return
        if not force:
            done = actor.__ray_terminate__.remote()
            ready, _ = ray.wait([done], timeout=grace_period_s)
            if ready:
                return
        ray.kill(actor, no_restart=True)


@contextmanager
def _as_they_are() -> Iterator[None]:
    """Raise Empty and Full as such, not as errors of a task: they are answers."""
    try:
        yield
    except (Empty, Full) as error:
        kind = Empty if isinstance(error, Empty) else Full
        raise kind(*getattr(error, "cause", error).args) from None


def _checked(timeout: float | None) -> float | None:
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout must be >= 0 seconds, not {timeout!r}")
    return timeout


class _QueueActor:
    """Keeps the items; async, so that waiting calls do not block others."""

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self.queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    async def qsize(self) -> int:
        return self.queue.qsize()

    async def empty(self) -> bool:
        return self.queue.empty()

    async def full(self) -> bool:
        return self.queue.full()

    async def put(self, item: Any, timeout: float | None = None) -> None:
        try:
            await asyncio.wait_for(self.queue.put(item), timeout)
        except TimeoutError:
            raise Full from None

    async def get(self, timeout: float | None = None) -> Any:
        try:
            return await asyncio.wait_for(self.queue.get(), timeout)
        except TimeoutError:
            raise Empty from None

    async def put_nowait(self, item: Any) -> None:
        try:
            self.queue.put_nowait(item)
        except asyncio.QueueFull:
            raise Full from None

    async def put_nowait_batch(self, items: list[Any]) -> None:
        if self.maxsize > 0 and len(items) + self.queue.qsize() > self.maxsize:
            raise Full(f"{len(items)} items do not fit: {self.queue.qsize()} of {self.maxsize} places are taken")
        for item in items:
            self.queue.put_nowait(item)

    async def get_nowait(self) -> Any:
        try:
            return self.queue.get_nowait()
        except asyncio.QueueEmpty:
            raise Empty from None

    async def get_nowait_batch(self, num_items: int) -> list[Any]:
        if num_items > self.queue.qsize():
            raise Empty(f"{num_items} items were asked for and {self.queue.qsize()} are there")
        return [self.queue.get_nowait() for _ in range(num_items)]
