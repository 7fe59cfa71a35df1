"""RuntimeContext: where the running code is, and as what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ray._ids import ActorID, JobID, NodeID, PlacementGroupID, TaskID, WorkerID
from ray._runtime import current

if TYPE_CHECKING:
    from ray._runtime.api import Runtime


# The kinds of devices that programs may look for.
_ACCELERATORS: Final = ("GPU", "TPU", "TTNPU", "NPU", "FURIOSA", "neuron_cores", "RBLN", "MBLT", "HPU")


class RuntimeContext:
    """What the process knows of itself; ids as hex digits. Values are read when asked for: they differ by task."""

    def __init__(self, worker: Runtime) -> None:
        self.worker = worker

    @property
    def _state(self) -> Mapping[str, Any]:
        return self.worker.context()

    def get(self) -> dict[str, Any]:
        """job_id, node_id, namespace, and in a worker task_id and actor_id, as id objects."""
        found: dict[str, Any] = {"job_id": self.job_id, "node_id": self.node_id, "namespace": self.namespace}
        if not self.worker.is_driver:
            state = self._state
            if state.get("task_id"):
                found["task_id"] = TaskID(state["task_id"])
            if state.get("actor_id"):
                found["actor_id"] = ActorID(state["actor_id"])
        return found

    def get_job_id(self) -> str:
        return self.worker.job_id.hex()

    def get_node_id(self) -> str:
        return self.worker.node_id.hex()

    def get_worker_id(self) -> str:
        return self.worker.worker_id.hex()

    def get_task_id(self) -> str | None:
        """The running task's; None outside one."""
        return _hex(self._in_worker("task_id"))

    def get_task_name(self) -> str | None:
        return self._in_worker("task_name") or None

    def get_task_function_name(self) -> str | None:
        return self._in_worker("function_name") or None

    def get_actor_id(self) -> str | None:
        return _hex(self._in_worker("actor_id"))

    def get_actor_name(self) -> str | None:
        """The name given to this actor, "" for none; None outside an actor."""
        return None if self.get_actor_id() is None else str(self._in_worker("actor_name") or "")

    def _in_worker(self, key: str) -> Any:
        return None if self.worker.is_driver else self._state.get(key)

    @property
    def namespace(self) -> str:
        return self.worker.namespace

    @property
    def job_id(self) -> JobID:
        return JobID(self.worker.job_id)

    @property
    def node_id(self) -> NodeID:
        return NodeID(self.worker.node_id)

    @property
    def worker_id(self) -> WorkerID:
        return WorkerID(self.worker.worker_id)

    @property
    def task_id(self) -> TaskID:
        """raises: AssertionError in a driver."""
        task = self._in_worker("task_id")
        assert task, "task_id is there only while a task or an actor's method runs"
        return TaskID(task)

    @property
    def actor_id(self) -> ActorID | None:
        """None in a task. raises: AssertionError in a driver."""
        assert not self.worker.is_driver, "actor_id is for tasks and actors, not for drivers"
        actor = self._in_worker("actor_id")
        return ActorID(actor) if actor else None

    @property
    def current_actor(self) -> Any:
        """A handle of the running actor. raises: RuntimeError outside one."""
        handle = self.worker.current_actor()
        if handle is None:
            raise RuntimeError("current_actor is there only in an actor's method")
        return handle

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether this actor runs after a restart. raises: AssertionError outside an actor."""
        assert self._in_worker("actor_id"), "was_current_actor_reconstructed is there only in an actor"
        return bool(self._state.get("reconstructed"))

    @property
    def current_placement_group_id(self) -> PlacementGroupID | None:
        group = self._in_worker("placement_group_id")
        return PlacementGroupID(group) if group else None

    def get_placement_group_id(self) -> str | None:
        return _hex(self._in_worker("placement_group_id"))

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        return bool(self._in_worker("capture_child_tasks"))

    def get_assigned_resources(self) -> dict[str, float]:
        """What the running task or actor holds: name -> units. raises: AssertionError in a driver."""
        assert not self.worker.is_driver, "get_assigned_resources() is for tasks and actors, not for drivers"
        return dict(self._state.get("resources") or {})

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """Kind of device -> ids of those that the running task or actor holds. Of all but GPUs none are handed out."""
        held: dict[str, list[str]] = {kind: [] for kind in _ACCELERATORS}
        held["GPU"] = [str(gpu) for gpu in self._state.get("gpu_ids") or ()]
        return held

    def get_resource_ids(self) -> dict[str, list[str]]:
        return self.get_accelerator_ids()

    @property
    def runtime_env(self) -> Any:
        from ray.runtime_env import RuntimeEnv

        return RuntimeEnv.deserialize(self.get_runtime_env_string())

    def get_runtime_env_string(self) -> str:
        """The running environment as JSON."""
        return str(self._state.get("runtime_env") or "{}")

    @property
    def gcs_address(self) -> str:
        return self.worker.gcs_addresses

    def get_session_name(self) -> str:
        return self.worker.session_dir.rstrip("/").rpartition("/")[2]

    def get_temp_dir(self) -> str:
        return self.worker.session_dir.rstrip("/").rpartition("/")[0]

    def get_node_labels(self) -> dict[str, str]:
        """The labels of this process's node."""
        own = self.get_node_id()
        for node in self.worker.nodes():
            if node.get("NodeID") == own:
                return dict(node.get("Labels") or {})
        return {}

    def is_canceled(self) -> bool:
        """Whether ray.cancel has reached the running task or call; for code that ends by itself.

        raises: RuntimeError in a driver.
        """
        if self.worker.is_driver:
            raise RuntimeError("is_canceled() is for tasks and actors, not for drivers: nothing cancels a driver")
        return bool(self._in_worker("canceled"))


def _hex(identity: bytes | None) -> str | None:
    return identity.hex() if identity else None


def get_runtime_context() -> RuntimeContext:
    """The context of this process; connects first where ray.init() was not called."""
    return RuntimeContext(current.runtime())
