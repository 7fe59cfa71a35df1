"""One process of a Pool: the actor that runs its batches, and what the Pool knows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import ray
from ray.remote_function import RemoteFunction

# Arguments of one call: positional and by keyword.
Arguments: TypeAlias = tuple[Sequence[Any], dict[str, Any]]


class PoolTaskError(Exception):
    """What stands in the place of the result of a call that raised. underlying: what it raised."""

    def __init__(self, underlying: BaseException) -> None:
        super().__init__(underlying)
        self.underlying = underlying


class PoolActor:
    """Runs batches of calls, one after the other."""

    def __init__(self, initializer: Callable[..., Any] | None, initargs: Iterable[Any]) -> None:
        if initializer is not None:
            initializer(*initargs)

    def run_batch(self, function: Callable[..., Any], batch: Sequence[Arguments]) -> list[Any]:
        """One result for each call; a PoolTaskError where it raised."""
        if isinstance(function, RemoteFunction):
            # All of them at once: they are tasks, which run wherever there is room.
            return [_result(ray.get, ((ref,), {})) for ref in [function.remote(*args, **kw) for args, kw in batch]]
        return [_result(function, arguments) for arguments in batch]


def _result(function: Callable[..., Any], arguments: Arguments) -> Any:
    args, kwargs = arguments
    try:
        return function(*args, **kwargs)
    except Exception as error:  # whatever the user's function raises belongs to its caller
        return PoolTaskError(error)


class PoolWorker:
    """An actor of a Pool, replaced by a new one after `most_batches`; None for never."""

    def __init__(self, make: Callable[[], Any], most_batches: int | None) -> None:
        self._make = make
        self._most_batches = most_batches
        self._batches = 0
        self._actor: Any = make()
        # Actors that end once they have done what they have, by the refs that are ready then.
        self._leaving: dict[ray.ObjectRef, Any] = {}

    def run(self, function: Any, batch: Sequence[Arguments]) -> ray.ObjectRef:
        """Have a batch run; returns the ref of the list of its results. function: it, or a ref to it."""
        if self._actor is None:
            self._actor = self._make()
        ref: ray.ObjectRef = self._actor.run_batch.remote(function, batch)
        self._batches += 1
        if self._most_batches and self._batches >= self._most_batches:
            self.close()
        return ref

    def close(self) -> None:
        """Have the actor end after the batches that it has."""
        if self._leaving:
            ended, _ = ray.wait(list(self._leaving), num_returns=len(self._leaving), timeout=0)
            for end in ended:
                del self._leaving[end]
        if self._actor is not None:
            self._leaving[self._actor.__ray_terminate__.remote()] = self._actor
            self._actor = None
            self._batches = 0

    def kill(self) -> None:
        """End the actor at once, and those that it replaced."""
        self.close()
        for actor in self._leaving.values():
            ray.kill(actor)

    def ends(self) -> list[ray.ObjectRef]:
        """What is ready when the actors that were closed or killed have ended."""
        return list(self._leaving)
