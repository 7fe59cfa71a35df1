"""ActorPool: a few actors that share a stream of calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray

Submit = Callable[[Any, Any], Any]


class ActorPool:
    """Hands each value to the next free actor. fn in submit and map: (actor, value) -> ObjectRef.

    Values beyond the number of actors wait here; results are read in the order of submission (get_next) or of
    completion (get_next_unordered).
    """

    def __init__(self, actors: Iterable[Any]) -> None:
        self._idle: list[Any] = list(actors)
        # ref -> (place in the order of submission, actor)
        self._running: dict[ray.ObjectRef, tuple[int, Any]] = {}
        self._by_place: dict[int, ray.ObjectRef] = {}
        self._next_submitted = 0
        self._next_returned = 0
        self._waiting: deque[tuple[Submit, Any]] = deque()

    def map(self, fn: Submit, values: Iterable[Any]) -> Iterator[Any]:
        """Results in the order of `values`. Results submitted before and not read are dropped."""
        self._drop_unread()
        for value in values:
            self.submit(fn, value)
        return self._results(self.get_next)

    def map_unordered(self, fn: Submit, values: Iterable[Any]) -> Iterator[Any]:
        """Results as they come."""
        self._drop_unread()
        for value in values:
            self.submit(fn, value)
        return self._results(self.get_next_unordered)

    def _drop_unread(self) -> None:
        while self.has_next():
            try:
                self.get_next(timeout=0, ignore_if_timedout=True)
            except TimeoutError:
                break

    def _results(self, read: Callable[[], Any]) -> Iterator[Any]:
        while self.has_next():
            yield read()

    def submit(self, fn: Submit, value: Any) -> None:
        """Call fn(actor, value) with a free actor, now or when one is free."""
        if not self._idle:
            self._waiting.append((fn, value))
            return
        actor = self._idle.pop()
        ref = fn(actor, value)
        # A list of refs, of a method with several returns, is known by its first.
        key = ref[0] if isinstance(ref, list) else ref
        self._running[key] = (self._next_submitted, actor)
        self._by_place[self._next_submitted] = ref
        self._next_submitted += 1

    def has_next(self) -> bool:
        """Whether results are to be read."""
        return bool(self._by_place)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The next result in the order of submission; raises what the call raised.

        raises: StopIteration when there is none; TimeoutError after `timeout` seconds. ignore_if_timedout: the result
        that took too long is given up first.
        """
        if not self.has_next():
            raise StopIteration("no more results to get")
        # Places that get_next_unordered took are not there any more.
        while self._next_returned not in self._by_place:
            self._next_returned += 1
        ref = self._by_place[self._next_returned]
        key = ref[0] if isinstance(ref, list) else ref
        late = False
        if timeout is not None:
            ready, _ = ray.wait([key], timeout=timeout)
            late = not ready
            if late and not ignore_if_timedout:
                raise TimeoutError(f"the next result did not come within {timeout} s")
        del self._by_place[self._next_returned]
        self._next_returned += 1
        _, actor = self._running.pop(key)
        self._return(actor)
        if late:
            raise TimeoutError(f"the next result did not come within {timeout} s; it is ignored")
        return ray.get(ref)

    def get_next_unordered(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Any result that is there; raises what the call raised. Otherwise as get_next."""
        if not self.has_next():
            raise StopIteration("no more results to get")
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=timeout)
        if not ready:
            if ignore_if_timedout:
                key = next(iter(self._running))
                place, actor = self._running.pop(key)
                del self._by_place[place]
                self._return(actor)
                raise TimeoutError(f"no result came within {timeout} s; the oldest is ignored")
            raise TimeoutError(f"no result came within {timeout} s")
        place, actor = self._running.pop(ready[0])
        ref = self._by_place.pop(place)
        self._return(actor)
        return ray.get(ref)

    def _return(self, actor: Any) -> None:
        self._idle.append(actor)
        if self._waiting:
            self.submit(*self._waiting.popleft())

    def has_free(self) -> bool:
        """Whether an actor is free and no value waits."""
        return bool(self._idle) and not self._waiting

    def pop_idle(self) -> Any:
        """Take a free actor out of the pool; None when there is none."""
        return self._idle.pop() if self.has_free() else None

    def push(self, actor: Any) -> None:
        """Add an actor. raises: ValueError when it is in the pool."""
        busy = [running for _, running in self._running.values()]
        if actor in self._idle or actor in busy:
            raise ValueError(f"{actor!r} belongs to the pool already")
        self._return(actor)
