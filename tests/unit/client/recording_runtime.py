"""A Runtime that writes down what the public API asks of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ray import actor
from ray._runtime import current
from ray._runtime.api import ActorOptions, ClassDescriptor, FunctionDescriptor, MethodInfo, TaskOptions
from ray._runtime.values.object_ref import ObjectRef


class Task(NamedTuple):
    function: FunctionDescriptor
    options: TaskOptions
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Created(NamedTuple):
    cls: ClassDescriptor
    options: ActorOptions
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Call(NamedTuple):
    actor_id: bytes
    method: MethodInfo
    options: Mapping[str, Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class RecordingRuntime:
    """Only what these tests reach; calls of anything else fail as missing attributes."""

    job_id = b"\x00\x00\x00\x01"
    node_id = b"n" * 28
    worker_id = b"w" * 28
    namespace = "here"
    is_driver = True
    gcs_addresses = "127.0.0.1:6379"
    session_dir = "/tmp/sessions/session_1"

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.created: list[Created] = []
        self.calls: list[Call] = []
        self.handles: dict[bytes, int] = {}
        self.gets: list[tuple[Sequence[ObjectRef], float | None]] = []
        self.waits: list[tuple[Any, ...]] = []
        self.killed: list[tuple[bytes, bool]] = []
        self.state: dict[str, Any] = {}
        self._methods: dict[bytes, tuple[str, Mapping[str, MethodInfo]]] = {}

    def submit_task(self, function: Any, options: Any, args: Any, kwargs: Any) -> ObjectRef:
        self.tasks.append(Task(function, options, args, kwargs))
        return ObjectRef(len(self.tasks).to_bytes(28, "big"))

    def create_actor(self, cls: Any, options: Any, args: Any, kwargs: Any) -> Any:
        self.created.append(Created(cls, options, args, kwargs))
        actor_id = len(self.created).to_bytes(16, "big")
        self._methods[actor_id] = (cls.name, cls.methods)
        return actor._make_handle(self, actor_id, cls.name, cls.methods)

    def submit_actor_task(self, actor_id: Any, method: Any, options: Any, args: Any, kwargs: Any) -> ObjectRef:
        self.calls.append(Call(actor_id, method, options, args, kwargs))
        return ObjectRef((1000 + len(self.calls)).to_bytes(28, "big"))

    def add_handle(self, actor_id: bytes, weak: bool) -> None:
        self.handles[actor_id] = self.handles.get(actor_id, 0) + (not weak)

    def drop_handle(self, actor_id: bytes, weak: bool) -> None:
        self.handles[actor_id] -= not weak

    def export_handle(self, actor_id: bytes) -> bytes:
        return actor_id

    def import_handle(self, state: bytes) -> Any:
        name, methods = self._methods[state]
        return actor._make_handle(self, state, name, methods)

    def get(self, refs: Sequence[ObjectRef], timeout: float | None) -> list[Any]:
        self.gets.append((refs, timeout))
        return [ref.binary() for ref in refs]

    def wait(self, refs: list[ObjectRef], num_returns: int, timeout: Any, fetch_local: bool) -> tuple[Any, Any]:
        self.waits.append((refs, num_returns, timeout, fetch_local))
        return refs[:num_returns], refs[num_returns:]

    def kill_actor(self, actor_id: bytes, no_restart: bool) -> None:
        self.killed.append((actor_id, no_restart))

    def context(self) -> dict[str, Any]:
        return self.state

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": self.node_id.hex(), "NodeManagerAddress": "10.0.0.1", "RayletSocketName": "/n/raylet.sock"}]

    def current_actor(self) -> Any:
        return None

    def exit_actor(self) -> None:
        raise TypeError("outside an actor")

    def shutdown(self) -> None:
        pass


@contextmanager
def recording(kind: type[RecordingRuntime] = RecordingRuntime) -> Iterator[RecordingRuntime]:
    """This process's runtime for as long as the block lasts."""
    made = kind()
    before = current.runtime_or_none()
    current.set_runtime(made)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        current.set_runtime(before)
