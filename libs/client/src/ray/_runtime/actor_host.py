"""The actor that lives in a worker process: its construction and its methods."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from manta.common.ids import NO_ACTOR
from manta.proto.common.v1 import common_pb2
from manta.proto.raylet.v1 import raylet_pb2
from manta.proto.worker.v1 import worker_pb2
from ray._runtime.execution import Execution, Failure, pack_error, run

if TYPE_CHECKING:
    from ray._runtime.process import Process

log = logging.getLogger("ray.runtime")


class ActorHost:
    """One actor. `to_start` is set until the main thread has run its constructor."""

    def __init__(self, process: Process, message: raylet_pb2.StartActor) -> None:
        self._process = process
        self.spec = message.spec
        self.incarnation = message.incarnation
        self.gpu_ids = list(message.gpu_ids)
        self.to_start: raylet_pb2.StartActor | None = message
        self.instance: Any = None
        self.repr_name = message.spec.class_name

    @property
    def actor_id(self) -> bytes:
        return self.spec.actor_id

    def start(self) -> None:
        """Run the constructor and tell the raylet how it went; the worker ends if it raised."""
        process, spec = self._process, self.spec
        self.to_start = None
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
        execution = Execution(process, process.peers.get(spec.owner.worker_id, spec.owner.node_id), batch, task)
        process.executor.current = execution
        started = raylet_pb2.ActorStarted(actor_id=spec.actor_id, incarnation=self.incarnation)
        try:
            process.executor.definitions.add(spec.definition.digest, spec.definition.pickled)
            cls = self._load_class(execution)
            args, kwargs = execution.arguments()
            self.instance = run(execution, cls, args, kwargs)
            self.repr_name = started.repr_name = self._repr()
        except Failure as failure:
            error = pack_error(execution, failure.value).to_proto().SerializeToString()
            kind = common_pb2.DeathCause.INIT_FAILED
            started.failure.CopyFrom(common_pb2.DeathCause(kind=kind, message=str(failure.value), error=error))
            process.executor.exit("the actor's constructor raised")
        process.executor.current = None
        process.raylet.send(raylet_pb2.ACTOR_STARTED, started.SerializeToString())

    def _load_class(self, execution: Execution) -> Any:
        try:
            return self._process.executor.definitions.load(self.spec.definition.digest)
        except BaseException as error:
            raise execution.failure(error) from None

    def _repr(self) -> str:
        """The name in log prefixes: the class's own __repr__, if it has one."""
        cls = type(self.instance)
        if "__repr__" not in {name for base in cls.__mro__[:-1] for name in vars(base)}:
            return self.spec.class_name
        try:
            return repr(self.instance)
        except Exception as error:
            log.warning("actor_repr_failed class=%s error=%r", self.spec.class_name, error)
            return self.spec.class_name

    def refusal(self, task: worker_pb2.Task) -> str:
        """Why this call cannot be for this process; empty when it is."""
        if task.actor_id != self.spec.actor_id:
            return f"actor {task.actor_id.hex()} does not live here, {self.spec.actor_id.hex()} does"
        if task.incarnation != self.incarnation:
            return f"incarnation {task.incarnation} is meant, this is {self.incarnation}"
        return ""

    def method(self, name: str) -> Callable[..., Any]:
        from ray.actor import SYSTEM_METHODS

        system = SYSTEM_METHODS.get(name)
        if system is not None and not hasattr(type(self.instance), name):
            return functools.partial(system, self.instance)
        method: Callable[..., Any] = getattr(self.instance, name)
        return method
