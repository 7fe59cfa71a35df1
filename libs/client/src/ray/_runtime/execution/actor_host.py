"""The actor that lives in a worker process: its construction and its methods."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from manta_common.ids import NO_ACTOR
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2
from manta_proto.worker.v1 import worker_pb2

from ray._runtime.execution.concurrency import ConcurrencyGroups
from ray._runtime.execution.execution import Execution, Failure, run
from ray._runtime.execution.loop_lane import LoopLane
from ray._runtime.execution.return_values import pack_error
from ray._runtime.execution.threaded_lane import ThreadedLane
from ray.exceptions.actor import INIT_FAILED

if TYPE_CHECKING:
    from ray._runtime.execution.call_scheduler import Lane
    from ray._runtime.execution.executor import Executor
    from ray._runtime.execution.incoming import Incoming
    from ray._runtime.process.process import Process

log = logging.getLogger("ray.runtime")


class ActorHost:
    """One actor; its lane runs the constructor and then the calls."""

    def __init__(self, process: Process, message: raylet_pb2.StartActor) -> None:
        self._process = process
        self.spec = message.spec
        self.incarnation = message.incarnation
        self.gpu_ids = list(message.gpu_ids)
        group = message.spec.strategy.placement_group
        process.group_context.enter(group.placement_group_id, group.capture_child_tasks)
        self.instance: Any = None
        # By name, as they were found first.
        self._methods: dict[str, Callable[..., Any]] = {}
        self.repr_name = message.spec.class_name
        self._names: dict[str, str] = {}

    @property
    def actor_id(self) -> bytes:
        return self.spec.actor_id

    def name_of(self, method: str) -> str:
        """How calls of the method are shown."""
        name = self._names.get(method)
        if name is None:
            name = self._names[method] = f"{self.spec.class_name}.{method}"
        return name

    def make_lane(self, executor: Executor) -> Lane:
        """Where its calls run. Any async method makes it an async actor, whatever its limits."""
        spec = self.spec
        limits = {group.name: group.max_concurrency for group in spec.concurrency_groups}
        if not spec.is_async and not limits and spec.max_concurrency <= 1:
            return executor.serial
        groups: ConcurrencyGroups[Incoming] = ConcurrencyGroups(max(spec.max_concurrency, 1), limits)
        if spec.is_async:
            return LoopLane(self._process, executor, groups)
        return ThreadedLane(self._process, executor, groups)

    # -- the constructor

    def execution(self) -> Execution:
        """The run of the constructor."""
        process, spec = self._process, self.spec
        task = worker_pb2.Task(
            task_id=NO_ACTOR[:8] + spec.actor_id,
            args=spec.args,
            arguments=spec.arguments,
            num_returns=0,
            name=f"{spec.class_name}.__init__",
        )
        batch = worker_pb2.Tasks(
            caller=spec.owner, job_id=spec.job_id, resources=spec.lifetime_resources, gpu_ids=self.gpu_ids
        )
        # The owner counts the arguments until the actor is dead, so nothing is reported when the constructor ends.
        return Execution(process, process.peers.get(spec.owner.worker_id, spec.owner.node_id), batch, task)

    def prepare(self, execution: Execution) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """The class and the constructor's arguments. raises: Failure."""
        definition = self.spec.definition
        self._process.executor.calls.definitions.add(definition.digest, definition.pickled)
        cls = self._load_class(execution)
        args, kwargs = execution.arguments()
        return cls, args, kwargs

    def construct(self, execution: Execution) -> None:
        """Run the constructor on this thread and tell the raylet how it went."""
        try:
            cls, args, kwargs = self.prepare(execution)
            instance = run(execution, cls, args, kwargs)
        except Failure as failure:
            self.failed(execution, failure.value)
        else:
            self.constructed(instance)
        finally:
            self._process.executor.over(execution)

    def constructed(self, instance: Any) -> None:
        self.instance = instance
        self.repr_name = self._repr()
        self._tell_started(repr_name=self.repr_name)

    def failed(self, execution: Execution, error: BaseException) -> None:
        """The constructor raised: the worker ends."""
        executor = self._process.executor
        if execution.exits:
            executor.exit(execution.exits, execution.exit_code)
            return
        # Also to the log, which the job's driver shows: perhaps nobody calls the actor.
        log.error("Exception raised in creation task: %s %s", INIT_FAILED, error)
        packed = pack_error(execution, error).to_proto().SerializeToString()
        kind = common_pb2.DeathCause.INIT_FAILED
        self._tell_started(failure=common_pb2.DeathCause(kind=kind, message=str(error), error=packed))
        executor.exit("the actor's constructor raised")

    def _tell_started(self, **how: Any) -> None:
        started = raylet_pb2.ActorStarted(actor_id=self.spec.actor_id, incarnation=self.incarnation, **how)
        self._process.raylet.send(raylet_pb2.ACTOR_STARTED, started.SerializeToString())

    def _load_class(self, execution: Execution) -> Any:
        try:
            return self._process.executor.calls.definitions.load(self.spec.definition.digest)
        except BaseException as error:
            raise execution.failure(error) from None

    def _repr(self) -> str:
        """The name in log prefixes: the class's own __repr__, if it has one."""
        of_class: Any = type(self.instance).__repr__
        if of_class is object.__repr__:
            return self.spec.class_name
        try:
            # As messages can carry it, whatever it holds.
            return repr(self.instance).encode(errors="backslashreplace").decode()
        except BaseException as error:  # whatever the user's code raises: the actor runs without it
            log.warning("actor_repr_failed class=%s error=%s", self.spec.class_name, type(error).__name__)
            return self.spec.class_name

    def refusal(self, task: worker_pb2.Task) -> str:
        """Why this call cannot be for this process; empty when it is."""
        if task.actor_id != self.spec.actor_id:
            return f"actor {task.actor_id.hex()} does not live here, {self.spec.actor_id.hex()} does"
        if task.incarnation != self.incarnation:
            return f"incarnation {task.incarnation} is meant, this is {self.incarnation}"
        return ""

    def method(self, name: str) -> Callable[..., Any]:
        """raises: AttributeError."""
        method = self._methods.get(name)
        if method is None:
            method = self._methods[name] = self._find(name)
        return method

    def _find(self, name: str) -> Callable[..., Any]:
        """The class's function, as handles show it: an attribute of the instance with its name does not hide it."""
        instance = self.instance
        found = _bound(instance, name)
        if found is None and name.startswith("__ray_"):
            from ray.actor import SYSTEM_METHODS

            system = SYSTEM_METHODS.get(name)
            found = None if system is None else functools.partial(system, instance)
        if found is None:
            # What __new__ made is no instance of the class, a proxy say.
            found = getattr(instance, name)
        method: Callable[..., Any] = found
        return method

    # -- the end

    def shut_down(self) -> None:
        """It ends on purpose: run its class's __ray_shutdown__, if it has one."""
        try:
            shutdown = _bound(self.instance, "__ray_shutdown__")
            if shutdown is not None:
                shutdown()
        except BaseException:
            # Whatever it is: the process ends here anyway.
            log.exception("actor_shutdown_failed class=%s", self.spec.class_name)

    def let_go(self) -> None:
        """Drop the instance; nobody else may hold it, and then its __del__ runs."""
        self._methods.clear()
        self.instance = None


def _bound(instance: Any, name: str) -> Any:
    """What a class has under a name, bound to its instance; None if nothing. None of the class's own hooks is asked."""
    cls = type(instance)
    for base in cls.__mro__:
        if name in vars(base):
            found = vars(base)[name]
            bind = getattr(type(found), "__get__", None)
            return found if bind is None else bind(found, instance, cls)
    return None
