"""Functions and classes, pickled once and known by the hash of the bytes.

They travel in-band: ahead of the first task that needs them on a channel. A worker keeps a bounded number of them,
least recently used first out; a miss asks the process that sent the task.
"""

from __future__ import annotations

import collections
import hashlib
import io
import logging
import pickle
from collections.abc import Callable
from typing import Any, Final

from ray._runtime.specs.task_record import Timing
from ray._runtime.values import serialization
from ray._runtime.values.pickler import Pickler

log = logging.getLogger("ray.runtime")

WARN_BYTES: Final = 10 * 1024 * 1024
# As a frame of its own; upstream's FUNCTION_SIZE_ERROR_THRESHOLD is as much.
LIMIT_BYTES: Final = 100 * 1024 * 1024
_KEEP: Final = 1024


class Definition:
    """A pickled function or class. `timing` is what this process saw of its runs."""

    __slots__ = ("digest", "name", "pickled", "timing")

    def __init__(self, digest: bytes, pickled: bytes, name: str) -> None:
        self.digest = digest
        self.pickled = pickled
        self.name = name
        self.timing = Timing()


def define(target: Callable[..., Any] | type, name: str) -> Definition:
    """Pickle a function or class.

    Refs that it captures are pinned for the job by the pickling hook, since nobody can tell when the last worker has
    dropped the definition. raises: TypeError when it cannot be pickled; ValueError when it is larger than 100 MiB.
    """
    file = io.BytesIO()
    try:
        Pickler(file, protocol=5).dump(target)
    except (pickle.PicklingError, AttributeError, TypeError, ValueError) as error:
        raise TypeError(
            f"Could not serialize {name}: {error}. It or something that it captures cannot be pickled; "
            "ray.util.inspect_serializability() shows what."
        ) from error
    pickled = file.getvalue()
    if len(pickled) > LIMIT_BYTES:
        raise ValueError(
            f"{name} is {len(pickled)} bytes when pickled, over the limit of {LIMIT_BYTES}: does it capture a large "
            "object? Put that into the object store with ray.put() and pass the reference."
        )
    if len(pickled) > WARN_BYTES:
        log.warning("%s is very large (%d MiB): pass large captured values by ray.put()", name, len(pickled) >> 20)
    return Definition(hashlib.blake2b(pickled, digest_size=16).digest(), pickled, name)


class DefinitionCache:
    """What a worker has unpickled, by digest."""

    def __init__(self, keep: int = _KEEP) -> None:
        self._keep = keep
        self._loaded: collections.OrderedDict[bytes, Any] = collections.OrderedDict()
        self._pickled: collections.OrderedDict[bytes, bytes] = collections.OrderedDict()

    def add(self, digest: bytes, pickled: bytes) -> None:
        """Keep a definition that arrived; it is unpickled when a task first runs it."""
        if digest not in self._loaded:
            self._pickled[digest] = pickled
            if len(self._pickled) > self._keep:
                self._pickled.popitem(last=False)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._loaded or digest in self._pickled

    def load(self, digest: bytes) -> Any:
        """The function or class. raises: KeyError when it is not here; whatever its unpickling raises."""
        loaded = self._loaded.get(digest)
        if loaded is not None:
            self._loaded.move_to_end(digest)
            return loaded
        # Kept until it has loaded: a failing import must fail again, not turn into a KeyError.
        loaded = serialization.load(serialization.PICKLE, self._pickled[digest], None)
        # The reading thread may have pushed it out meanwhile.
        self._pickled.pop(digest, None)
        self._loaded[digest] = loaded
        if len(self._loaded) > self._keep:
            self._loaded.popitem(last=False)
        return loaded
