"""Helpers around the core API: pools, queues, placement groups, strategies, serializers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

# Not lazily: `placement_group` is the name of this module and of its function, and the function must be bound last.
from ray.util.placement_group import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

_HOMES: Final = {
    "ActorPool": "ray.util.actor_pool",
    "inspect_serializability": "ray.util.check_serialize",
}
_SUBMODULES: Final = frozenset(
    {
        "actor_pool",
        "check_serialize",
        "joblib",
        "metrics",
        "multiprocessing",
        "queue",
        "scheduling_strategies",
        "state",
    }
)

__all__ = [
    "ActorPool",
    "deregister_serializer",
    "get_current_placement_group",
    "get_node_instance_id",
    "get_node_ip_address",
    "get_placement_group",
    "inspect_serializability",
    "list_named_actors",
    "placement_group",
    "placement_group_table",
    "register_serializer",
    "remove_placement_group",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None and name not in _SUBMODULES:
        raise AttributeError(f"module 'ray.util' has no attribute {name!r}")
    import importlib

    module = importlib.import_module(home or f"ray.util.{name}")
    value = getattr(module, name) if home else module
    globals()[name] = value
    return value


def list_named_actors(all_namespaces: bool = False) -> list[str] | list[dict[str, str]]:
    """Names of live named actors: of this namespace, or {"name", "namespace"} of all."""
    from ray._runtime import current

    actors = current.runtime().list_named_actors(all_namespaces)
    return actors if all_namespaces else [actor["name"] for actor in actors]


def register_serializer(cls: type, *, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]) -> None:
    """Pickle instances of `cls` by these functions in this process, and unpickle what it sends by `deserializer`."""
    from ray._runtime.values import serialization

    serialization.register_serializer(cls, serializer=serializer, deserializer=deserializer)


def deregister_serializer(cls: type) -> None:
    """Forget what register_serializer said of `cls`; nothing where it said nothing."""
    from ray._runtime.values import serialization

    serialization.deregister_serializer(cls)


def get_node_ip_address(address: str = "8.8.8.8:53") -> str:
    """The address of this process's node, as in its resource `node:<address>`.

    Before ray.init(): that by which this machine reaches `address` (host:port); 127.0.0.1 without a route. It sends
    nothing.
    """
    import socket

    from ray._runtime import current

    connected = current.runtime_or_none()
    if connected is not None:
        return connected.ip_address
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, int(port)))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def get_node_instance_id() -> str:
    """The cloud's id of this machine, from RAY_CLOUD_INSTANCE_ID; "" outside a cloud."""
    import os

    return os.environ.get("RAY_CLOUD_INSTANCE_ID", "")


if TYPE_CHECKING:
    from ray.util.actor_pool import ActorPool
    from ray.util.check_serialize import inspect_serializability
