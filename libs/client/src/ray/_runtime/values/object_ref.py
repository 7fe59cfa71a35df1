"""ObjectRef: the name of an object that some process of the cluster owns."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic

from ray._ids import BaseID
from ray._runtime.values.ref_pickling import ref_pickled, ref_unpickled, refs_met

if TYPE_CHECKING:
    import asyncio

    # A bare ObjectRef is one of Any; before Python 3.13 only type checkers know defaults.
    from typing_extensions import TypeVar

    from ray._runtime.process.process import Process

    T_co = TypeVar("T_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)

_OBJECT_ID_SIZE = 28


class ObjectRef(BaseID, Generic[T_co]):
    """A reference to an object, which lives as long as any reference to it does, anywhere. T_co is for type checkers.

    Await it, pass it to tasks and actors, or `ray.get` it. A ref counts from its construction to its collection:
    `__del__` only notes the end, since the collector may run it anywhere, also inside the runtime's own lock.
    """

    __slots__ = ("_awaited", "_owner", "_process")

    def __init__(
        self, object_id: bytes, owner: tuple[bytes, bytes] | None = None, process: Process | None = None
    ) -> None:
        """owner: (node id, worker id). Counting is the maker's duty: it calls add_local before it hands this out."""
        if len(object_id) != _OBJECT_ID_SIZE:
            raise ValueError(f"an object id has {_OBJECT_ID_SIZE} bytes, not {len(object_id)}")
        self._id = object_id
        self._owner = owner
        self._process = process
        self._awaited: asyncio.Future[Any] | None = None

    def __del__(self) -> None:
        process = self._process
        if process is not None:
            # As Drops.note does; a value may hold ten thousand refs, and a call costs more than this.
            drops = process.drops
            drops.refs.append(self._id)
            if not drops.asked:
                drops.ask()

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

    def __await__(self) -> Generator[Any, None, T_co]:
        return self.as_future().__await__()

    # What asyncio.wait asks of an awaitable: it does not wrap what it is given, so a ref behaves as a future itself.

    def _future_here(self) -> asyncio.Future[Any]:
        import asyncio

        awaited = self._awaited
        if awaited is None or awaited.get_loop() is not asyncio.get_running_loop():
            awaited = self._awaited = self.as_future()
        return awaited

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Any = None) -> None:
        """Have callback(this ref) run on the running loop when the object is ready."""
        self._future_here().add_done_callback(_WithRef(callback, self), context=context)

    def remove_done_callback(self, callback: Callable[[Any], object]) -> int:
        return self._future_here().remove_done_callback(_WithRef(callback, self))

    def done(self) -> bool:
        """Whether the value is here, for the running loop."""
        return self._future_here().done()

    def cancelled(self) -> bool:
        return self._future_here().cancelled()

    def exception(self) -> BaseException | None:
        return self._future_here().exception()

    def result(self) -> Any:
        return self._future_here().result()

    def __reduce__(self) -> tuple[Any, ...]:
        ref_pickled(self)
        return _rebuild, (self._id, self._owner)


class _WithRef:
    """A callback bound to its ref; equal to another of the same, so that it can be removed."""

    __slots__ = ("_callback", "_ref")

    def __init__(self, callback: Callable[[Any], object], ref: ObjectRef) -> None:
        self._callback = callback
        self._ref = ref

    def __call__(self, _future: asyncio.Future[Any]) -> None:
        self._callback(self._ref)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _WithRef) and self._callback == other._callback and self._ref is other._ref

    def __hash__(self) -> int:
        return hash((self._callback, id(self._ref)))


def _rebuild(object_id: bytes, owner: tuple[bytes, bytes] | None) -> ObjectRef:
    ref = ObjectRef(object_id, owner)
    arrived = refs_met.arrived
    if arrived is not None:
        arrived.append(ref)
    else:
        ref_unpickled(ref)
    return ref
