"""The Ray Core API on Manta: remote functions (tasks), actors, and objects that they share.

Importing this package loads next to nothing; each public name loads its module when it is first used.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

# Before anybody imports grpc: its own fork handlers, met by a fork while calls run, crash the child.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

from ray import _distribution
from ray._runtime.current import set_auto_init

__version__: Final = _distribution.VERSION

if (_upstream := _distribution.find_upstream()) is not None:
    raise ImportError(_distribution.conflict_message(_upstream))

SCRIPT_MODE: Final = 0
WORKER_MODE: Final = 1
LOCAL_MODE: Final = 2

# Public name -> the module that defines it.
_HOMES: Final = {
    "ActorClassID": "ray._ids",
    "ActorID": "ray._ids",
    "BaseID": "ray._ids",
    "ClusterID": "ray._ids",
    "DynamicObjectRefGenerator": "ray._runtime.generators.object_ref_generator",
    "FunctionID": "ray._ids",
    "JobID": "ray._ids",
    "Language": "ray._language",
    "LoggingConfig": "ray.job_config",
    "NodeID": "ray._ids",
    "ObjectID": "ray._runtime.values.object_ref",
    "ObjectRef": "ray._runtime.values.object_ref",
    "ObjectRefGenerator": "ray._runtime.generators.object_ref_generator",
    "PlacementGroupID": "ray._ids",
    "TaskID": "ray._ids",
    "UniqueID": "ray._ids",
    "WorkerID": "ray._ids",
    "available_resources": "ray._api",
    "cancel": "ray._api",
    "cluster_resources": "ray._api",
    "get": "ray._api",
    "get_actor": "ray._api",
    "get_gpu_ids": "ray._api",
    "get_runtime_context": "ray.runtime_context",
    "init": "ray._init",
    "is_initialized": "ray._init",
    "kill": "ray._api",
    "method": "ray.actor",
    "nodes": "ray._api",
    "put": "ray._api",
    "remote": "ray._remote",
    "shutdown": "ray._init",
    "timeline": "ray._api",
    "wait": "ray._api",
}
_SUBMODULES: Final = frozenset(
    {
        "actor",
        "cluster_utils",
        "exceptions",
        "job_config",
        "remote_function",
        "runtime_context",
        "runtime_env",
        "util",
    }
)
# Names whose object is defined under another name.
_ALIASES: Final = {"ObjectID": "ObjectRef"}

# As a literal, for type checkers; a test compares it with the table above.
__all__ = [
    "LOCAL_MODE",
    "SCRIPT_MODE",
    "WORKER_MODE",
    "ActorClassID",
    "ActorID",
    "BaseID",
    "ClusterID",
    "DynamicObjectRefGenerator",
    "FunctionID",
    "JobID",
    "Language",
    "LoggingConfig",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "PlacementGroupID",
    "TaskID",
    "UniqueID",
    "WorkerID",
    "__version__",
    "actor",
    "available_resources",
    "cancel",
    "cluster_resources",
    "exceptions",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "job_config",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "remote_function",
    "runtime_context",
    "runtime_env",
    "shutdown",
    "timeline",
    "util",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name == "__commit__":
        return _distribution.commit()
    home = _HOMES.get(name)
    if home is None and name not in _SUBMODULES:
        raise AttributeError(f"module 'ray' has no attribute {name!r}")
    import importlib

    try:
        module = importlib.import_module(home or f"ray.{name}")
    except ImportError as error:
        message = _distribution.explain_import_failure(error)
        if message is None:
            raise
        raise ImportError(message, name=error.name) from error
    value = getattr(module, _ALIASES.get(name, name)) if home else module
    # Later look-ups do not come here.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _connect_with_defaults() -> None:
    """What the first .remote(), put or get does where the program did not call ray.init()."""
    from ray import _init

    _init.init()


set_auto_init(_connect_with_defaults)

if TYPE_CHECKING:
    from ray import (
        actor,
        exceptions,
        job_config,
        remote_function,
        runtime_context,
        runtime_env,
        util,
    )
    from ray import cluster_utils as cluster_utils
    from ray._api import (
        available_resources,
        cancel,
        cluster_resources,
        get,
        get_actor,
        get_gpu_ids,
        kill,
        nodes,
        put,
        timeline,
        wait,
    )
    from ray._ids import (
        ActorClassID,
        ActorID,
        BaseID,
        ClusterID,
        FunctionID,
        JobID,
        NodeID,
        PlacementGroupID,
        TaskID,
        UniqueID,
        WorkerID,
    )
    from ray._init import init, is_initialized, shutdown
    from ray._language import Language
    from ray._remote import remote
    from ray._runtime.generators.object_ref_generator import DynamicObjectRefGenerator, ObjectRefGenerator
    from ray._runtime.values.object_ref import ObjectRef
    from ray._runtime.values.object_ref import ObjectRef as ObjectID
    from ray.actor import method
    from ray.job_config import LoggingConfig
    from ray.runtime_context import get_runtime_context

    __commit__: str
