"""ObjectRef: the name of an object that some process of the cluster owns."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ray._ids import BaseID

if TYPE_CHECKING:
    import asyncio

    from ray._runtime.process import Process

_OBJECT_ID_SIZE = 28


class ObjectRef(BaseID):
    """A reference to an object; the object lives as long as any reference to it does, anywhere.

    Await it, pass it to tasks and actors, or `ray.get` it. A ref counts from its construction to its collection:
    `__del__` only notes the end, since the collector may run it anywhere, also inside the runtime's own lock.
    """

    __slots__ = ("_owner", "_process")

    def __init__(
        self, object_id: bytes, owner: tuple[bytes, bytes] | None = None, process: Process | None = None
    ) -> None:
        """owner: (node id, worker id). Counting is the maker's duty: it calls add_local before it hands this out."""
        if len(object_id) != _OBJECT_ID_SIZE:
            raise ValueError(f"an object id has {_OBJECT_ID_SIZE} bytes, not {len(object_id)}")
        self._id = object_id
        self._owner = owner
        self._process = process

    def __del__(self) -> None:
        process = self._process
        if process is not None:
            process.note_drop(self._id)

    @classmethod
    def size(cls) -> int:
        return _OBJECT_ID_SIZE

    @classmethod
    def nil(cls) -> ObjectRef:
        return cls(b"\xff" * _OBJECT_ID_SIZE)

    @classmethod
    def from_random(cls) -> ObjectRef:
        import os

        return cls(os.urandom(_OBJECT_ID_SIZE))

    def task_id(self) -> Any:
        from ray._ids import TaskID

        return TaskID(self._id[:24])

    def job_id(self) -> Any:
        from ray._ids import JobID

        return JobID(self._id[20:24])

    def owner_address(self) -> bytes:
        """The owner's node id and worker id, one after the other; empty for a ref without an owner."""
        return b"".join(self._owner) if self._owner else b""

    def call_site(self) -> str:
        return ""

    def future(self) -> Future[Any]:
        """A concurrent.futures.Future of the value; its exception is what ray.get would raise."""
        from ray._runtime.current import runtime

        return runtime().future_of(self)

    def as_future(self, _internal: bool = False) -> asyncio.Future[Any]:
        """An asyncio.Future of the running loop. raises: RuntimeError outside a running loop."""
        import asyncio

        return asyncio.wrap_future(self.future())

    def __await__(self) -> Generator[Any, None, Any]:
        return self.as_future().__await__()

    def __reduce__(self) -> tuple[Any, ...]:
        from ray._runtime.serialization import ref_pickled

        ref_pickled(self)
        return _rebuild, (self._id, self._owner)


def _rebuild(object_id: bytes, owner: tuple[bytes, bytes] | None) -> ObjectRef:
    from ray._runtime.serialization import ref_unpickled

    return ref_unpickled(object_id, owner)
