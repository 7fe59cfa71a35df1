"""The functions of the public API that work on references, actors and the cluster."""

from __future__ import annotations

import json
import operator
from collections.abc import Sequence
from typing import Any, Final, TypeVar, overload

from ray import _options
from ray._runtime import current
from ray._runtime.generators.object_ref_generator import ObjectRefGenerator
from ray._runtime.values.object_ref import ObjectRef
from ray.actor import ActorHandle

_ID: Final = operator.attrgetter("_id")
W = TypeVar("W", bound=ObjectRef | ObjectRefGenerator)
T = TypeVar("T")


@overload
def get(object_refs: ObjectRef[T], *, timeout: float | None = None, _use_object_store: bool = False) -> T: ...
@overload
def get(
    object_refs: Sequence[ObjectRef[T]], *, timeout: float | None = None, _use_object_store: bool = False
) -> list[T]: ...
@overload
def get(
    object_refs: ObjectRefGenerator, *, timeout: float | None = None, _use_object_store: bool = False
) -> ObjectRefGenerator: ...
def get(object_refs: Any, *, timeout: float | None = None, _use_object_store: bool = False) -> Any:
    """Wait for one object, or a list of them, and return the value or the list of values.

    An ObjectRefGenerator comes back as it is: iterate over it.

    timeout: seconds; None or -1 for ever, 0 for what is there now. raises: the error that the task raised, as an
    instance of RayTaskError and of its own class; GetTimeoutError (a TimeoutError); ObjectLostError and its kin;
    ValueError for what is neither a reference nor a list; TypeError for a list with something else in it.
    """
    if timeout is not None and timeout < 0:
        if timeout != -1:
            raise ValueError(f"timeout must be >= 0 seconds, or None for no limit, not {timeout!r}")
        timeout = None
    connected = current._runtime or current.runtime()
    if isinstance(object_refs, ObjectRef):
        return connected.get((object_refs,), timeout)[0]
    if isinstance(object_refs, list):
        for ref in object_refs:
            if not isinstance(ref, ObjectRef):
                raise TypeError(
                    f"ray.get takes an ObjectRef or a list of them, and the list has {_described(ref)}; values that "
                    "are no references are used as they are"
                )
        return connected.get(object_refs, timeout)
    if isinstance(object_refs, ObjectRefGenerator):
        return object_refs
    raise ValueError(f"ray.get takes an ObjectRef or a list of ObjectRefs, not {_described(object_refs)}")


def put(value: T, *, _owner: Any = None, _tensor_transport: str = "object_store") -> ObjectRef[T]:
    """Put a value into the object store and return a reference to it. Values under 100 KiB stay in this process.

    _owner: the handle of an actor whose life the object shares. raises: TypeError for a reference, or a value that
    cannot be pickled; ObjectStoreFullError.
    """
    # By its type: isinstance also asks the value's own __class__, and runs the user's code by it.
    if issubclass(type(value), ObjectRef):
        raise TypeError(
            "ray.put does not take an ObjectRef: it is a reference already. To store the reference itself, put it in "
            "a list: ray.put([ref])"
        )
    if _owner is not None and not isinstance(_owner, ActorHandle):
        raise TypeError(f"_owner must be an actor handle, not {_described(_owner)}")
    _options.check_tensor_transport(_tensor_transport)
    return (current._runtime or current.runtime()).put(value, _owner)


def wait(
    ray_waitables: list[W],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[W], list[W]]:
    """Wait until `num_returns` of the objects exist, or `timeout` seconds have passed: (ready, not ready).

    Both keep the order given; ready has at most num_returns. An object whose task failed is ready, and
    so is an ObjectRefGenerator whose next() would return, or raise, at once. fetch_local: ready means here, not
    somewhere. raises: TypeError when it is not a list of references; ValueError for duplicates, a
    num_returns that is not in 1..len, or a negative timeout.
    """
    if isinstance(ray_waitables, (ObjectRef, ObjectRefGenerator)):
        raise TypeError("ray.wait takes a list of ObjectRefs, not a single one; write ray.wait([ref])")
    if not isinstance(ray_waitables, list):
        raise TypeError(f"ray.wait takes a list of ObjectRefs, not {_described(ray_waitables)}")
    # Whole-list steps in C: programs call this in a loop over what is left of thousands.
    others = set(map(type, ray_waitables)) - {ObjectRef}
    if others:
        for ref in ray_waitables:
            if not isinstance(ref, (ObjectRef, ObjectRefGenerator)):
                raise TypeError(f"ray.wait takes a list of ObjectRefs, and it has {_described(ref)}")
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout must be >= 0 seconds, or None for no limit, not {timeout!r}")
    if isinstance(num_returns, bool) or not isinstance(num_returns, int):
        raise TypeError(f"num_returns must be an int, not {_described(num_returns)}")
    connected = current._runtime or current.runtime()
    if not ray_waitables:
        return [], []
    if len(set(map(_ID, ray_waitables))) != len(ray_waitables):
        raise ValueError("ray.wait takes a list without duplicates; list(dict.fromkeys(refs)) removes them in order")
    if not 0 < num_returns <= len(ray_waitables):
        raise ValueError(f"num_returns must be in 1..{len(ray_waitables)}, the number of references, not {num_returns}")
    if not others:
        return connected.wait(ray_waitables, num_returns, timeout, fetch_local)  # type: ignore[arg-type,return-value]
    # For a generator its next item is waited for.
    waited = {w._due() if isinstance(w, ObjectRefGenerator) else w: w for w in ray_waitables}
    ready, pending = connected.wait(list(waited), num_returns, timeout, fetch_local)
    return [waited[ref] for ref in ready], [waited[ref] for ref in pending]


def kill(actor: ActorHandle[Any], *, no_restart: bool = True) -> None:
    """End an actor's process at once; its running calls fail with ActorDiedError. no_restart: also for max_restarts.

    raises: ValueError for what is no actor handle.
    """
    if not isinstance(actor, ActorHandle):
        raise ValueError(f"ray.kill takes an actor handle, not {_described(actor)}; ray.cancel(ref) ends a task")
    current.runtime().kill_actor(actor._actor_id, no_restart)


def cancel(ray_waitable: ObjectRef | ObjectRefGenerator, *, force: bool = False, recursive: bool = True) -> None:
    """Cancel the task that makes an object: unqueued if it waits, interrupted if it runs.

    force: end its worker process. recursive: its child tasks too. Getting the object then raises TaskCancelledError.
    raises: TypeError for what is no reference.
    """
    if isinstance(ray_waitable, ObjectRefGenerator):
        ray_waitable = ray_waitable.completed()
    if not isinstance(ray_waitable, ObjectRef):
        raise TypeError(
            f"ray.cancel takes an ObjectRef, not {_described(ray_waitable)}; ray.kill(handle) ends an actor"
        )
    current.runtime().cancel(ray_waitable, force, recursive)


def get_actor(name: str, namespace: str | None = None) -> ActorHandle[Any]:
    """A handle of the actor with this name. namespace: None for this job's.

    raises: ValueError when there is none, or for an empty name; TypeError when it is no string.
    """
    for what, value in (("name", name), ("namespace", namespace)):
        if value is None and what == "namespace":
            continue
        if not isinstance(value, str):
            raise TypeError(f"the {what} of an actor must be a string, not {_described(value)}")
        if not value:
            raise ValueError(f"the {what} of an actor must not be empty")
    handle: ActorHandle[Any] = current.runtime().find_actor(name, namespace)
    return handle


def nodes() -> list[dict[str, Any]]:
    """One dict per node that the cluster has or had: NodeID, Alive, NodeManagerAddress, Resources, Labels, ...

    raises: RaySystemError before ray.init(); it starts no cluster, which would have nothing to tell.
    """
    return current.connected("state API").nodes()


def cluster_resources() -> dict[str, float]:
    """The sum of what all live nodes have: name -> units (memory in bytes). raises: as nodes()."""
    return current.connected("state API").cluster_resources()


def available_resources() -> dict[str, float]:
    """The sum of what is free on all live nodes; may lag behind by the time a node needs to report it.

    raises: as nodes().
    """
    return current.connected("state API").available_resources()


def get_gpu_ids() -> list[int] | list[str]:
    """Ids of the GPUs that the running task or actor holds, numbers where they are numbers."""
    gpus = [str(gpu) for gpu in current.runtime().context().get("gpu_ids") or ()]
    if all(gpu.isdigit() for gpu in gpus):
        return [int(gpu) for gpu in gpus]
    return gpus


def timeline(filename: str | None = None) -> list[dict[str, Any]] | None:
    """The latest tasks as a Chrome trace: returned, or written to the file as JSON.

    raises: RuntimeError before ray.init().
    """
    if current.runtime_or_none() is None:
        raise RuntimeError("Ray has not been started yet. A timeline is of a cluster; call ray.init() first.")
    from ray.util.state.trace import chrome_trace

    trace = chrome_trace()
    if filename is None:
        return trace
    with open(filename, "w") as file:
        json.dump(trace, file)
    return None


def _described(value: Any) -> str:
    from ray._runtime.values.serialization import shown

    text = shown(value)
    return f"{type(value).__name__}: {text if len(text) <= 100 else text[:100] + '...'}"
