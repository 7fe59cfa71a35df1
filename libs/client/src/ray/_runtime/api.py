"""The seam between the public API and the runtime: what is asked of a runtime, in resolved values.

The public modules validate what a user wrote and resolve it into these values once per remote function, class or
`.options()` call; the runtime takes them as they are. Nothing here imports numpy, pyarrow or grpc.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from manta_proto.common.v1 import common_pb2

    from ray._runtime.process.placement_groups import PlacementGroups
    from ray._runtime.tasks.prepared_calls import PreparedCalls
    from ray._runtime.values.object_ref import ObjectRef

STREAMING = -1
DYNAMIC = -2


class TaskOptions:
    """Everything about how a remote function runs, resolved; made once and shared by all its calls.

    resources: name -> units (floats), with CPU resolved to its default. retry_exceptions: True, False or a tuple of
    classes. strategy: None means DEFAULT. runtime_env: serialized JSON or "". `cache` and `followed` belong to the
    runtime.
    """

    __slots__ = (
        "backpressure",
        "cache",
        "capture_child_tasks",
        "enable_task_events",
        "followed",
        "label_selector",
        "max_calls",
        "max_retries",
        "name",
        "num_returns",
        "resources",
        "retry_exceptions",
        "runtime_env",
        "strategy",
    )

    def __init__(
        self,
        *,
        name: str = "",
        num_returns: int = 1,
        resources: Mapping[str, float] | None = None,
        max_retries: int = 3,
        retry_exceptions: bool | tuple[type[BaseException], ...] = False,
        max_calls: int = 0,
        strategy: common_pb2.SchedulingStrategy | None = None,
        runtime_env: str = "",
        label_selector: Mapping[str, str] | None = None,
        enable_task_events: bool = True,
        capture_child_tasks: bool = False,
        backpressure: int = -1,
    ) -> None:
        self.name = name
        self.num_returns = num_returns
        self.resources = dict(resources or {})
        self.max_retries = max_retries
        self.retry_exceptions = retry_exceptions
        self.max_calls = max_calls
        self.strategy = strategy
        self.runtime_env = runtime_env
        self.label_selector = dict(label_selector or {})
        self.enable_task_events = enable_task_events
        self.capture_child_tasks = capture_child_tasks
        self.backpressure = backpressure
        self.cache: PreparedCalls | None = None
        self.followed: TaskOptions | None = None


class FunctionDescriptor:
    """A user's function and, once the runtime has pickled it, its digest. `name` is module-qualified for people."""

    __slots__ = ("cache", "function", "name")

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function = function
        self.name = name
        self.cache: Any = None


@dataclass(slots=True)
class MethodInfo:
    """What a handle knows of one method; `signature_check` raises TypeError for arguments that cannot bind."""

    name: str
    num_returns: int = 1
    max_task_retries: int | None = None
    retry_exceptions: bool | tuple[type[BaseException], ...] = False
    concurrency_group: str = ""
    is_async: bool = False
    is_generator: bool = False
    enable_task_events: bool = True
    backpressure: int = -1

    def of_actor(self, options: ActorOptions) -> Self:
        """This method in an actor with these options."""
        if not self.is_generator or self.backpressure > 0 or options.backpressure <= 0:
            return self
        return replace(self, backpressure=options.backpressure)


@dataclass(slots=True)
class ActorOptions:
    """How an actor is placed and lives, resolved; shared by all that are made with it. Resources as in TaskOptions."""

    name: str = ""
    namespace: str | None = None
    lifetime_resources: Mapping[str, float] = field(default_factory=dict)
    placement_resources: Mapping[str, float] = field(default_factory=dict)
    max_restarts: int = 0
    max_task_retries: int = 0
    max_concurrency: int | None = None
    concurrency_groups: Mapping[str, int] = field(default_factory=dict)
    # None: as the job's actors are by default.
    detached: bool | None = None
    get_if_exists: bool = False
    strategy: common_pb2.SchedulingStrategy | None = None
    runtime_env: str = ""
    label_selector: Mapping[str, str] = field(default_factory=dict)
    max_pending_calls: int = -1
    allow_out_of_order: bool = False
    enable_task_events: bool = True
    capture_child_tasks: bool = False
    # Of the actor's generators, where a method says nothing.
    backpressure: int = -1
    # Belongs to the runtime.
    cache: Any = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class ClassDescriptor:
    """A user's actor class: the plain class, its methods, and whether any is async."""

    cls: type
    name: str
    methods: Mapping[str, MethodInfo]
    is_async: bool
    cache: Any = None


class Runtime(Protocol):
    """A connected process: a driver, or a worker that runs a task or an actor."""

    job_id: bytes
    node_id: bytes
    worker_id: bytes
    namespace: str
    ip_address: str
    is_driver: bool
    gcs_addresses: str
    session_dir: str

    def submit_task(
        self, function: FunctionDescriptor, options: TaskOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Submit; returns None, an ObjectRef, a list of them, or an ObjectRefGenerator, by options.num_returns."""

    def create_actor(
        self, cls: ClassDescriptor, options: ActorOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Create; returns the ray.actor.ActorHandle made by ray.actor._make_handle(...).

        raises: ray.exceptions.ActorAlreadyExistsError (a ValueError) when the name is taken.
        """

    def submit_actor_task(
        self,
        actor_id: bytes,
        method: MethodInfo,
        options: Mapping[str, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Call a method; `options` holds what ActorMethod.options() overrode (num_returns, name, ...)."""

    def put(self, value: Any, owner: Any = None) -> ObjectRef: ...

    def get(self, refs: Sequence[ObjectRef], timeout: float | None) -> list[Any]:
        """Values in order. raises: the task's error, GetTimeoutError, ObjectLostError and its kin."""

    def wait(
        self, refs: Sequence[ObjectRef], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> tuple[list[ObjectRef], list[ObjectRef]]: ...

    def future_of(self, ref: ObjectRef) -> Future[Any]: ...

    def kill_actor(self, actor_id: bytes, no_restart: bool) -> None: ...

    def cancel(self, ref: ObjectRef, force: bool, recursive: bool) -> None: ...

    def find_actor(self, name: str, namespace: str | None) -> Any:
        """The handle of a named actor. raises: ValueError when there is none."""

    def list_named_actors(self, all_namespaces: bool) -> list[dict[str, str]]: ...

    def add_handle(self, actor_id: bytes, weak: bool) -> None:
        """One more ActorHandle instance of this actor in this process; drop_handle is its end. weak: the instance
        does not keep the actor alive."""

    def drop_handle(self, actor_id: bytes, weak: bool) -> None: ...

    def export_handle(self, actor_id: bytes) -> bytes:
        """What goes into a pickled handle; import_handle reads it in another process."""

    def import_handle(self, state: bytes) -> Any: ...

    def nodes(self) -> list[dict[str, Any]]:
        """One dict per node, with upstream's keys (NodeID, Alive, Resources, Labels, ...)."""

    def cluster_resources(self) -> dict[str, float]: ...

    def available_resources(self) -> dict[str, float]: ...

    def context(self) -> Mapping[str, Any]:
        """What runtime_context shows of the running task or actor: task_id, actor_id, task_name, function_name,
        actor_name, resources, gpu_ids, placement_group_id, attempt, reconstructed."""

    def current_actor(self) -> Any:
        """A handle of the actor that lives in this process; None where there is none."""

    def exit_actor(self) -> None:
        """End the running actor after this call. raises: TypeError outside an actor."""

    @property
    def placement_groups(self) -> PlacementGroups: ...

    def shutdown(self) -> None: ...
