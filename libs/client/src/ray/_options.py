"""What a user may write in @ray.remote(...), .options(...) and @ray.method(...): checked, then resolved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ray import _option_values as values
from ray._option_values import MEMORY_NAMES, Check
from ray._runtime.api import DYNAMIC, STREAMING, ActorOptions, TaskOptions

if TYPE_CHECKING:
    from manta_proto.common.v1 import common_pb2

Options = Mapping[str, Any]

DEFAULT_MAX_RETRIES: Final = 3
# So many units of "accelerator_type:X" are asked for, and held by each node that has the accelerator.
_ACCELERATOR_SHARE: Final = 0.001


_COMMON: Final[dict[str, Check]] = {
    "_labels": values.string_map,
    "accelerator_type": values.non_empty,
    "enable_task_events": values.boolean,
    "label_selector": values.label_selector,
    "memory": values.amount,
    "num_cpus": values.amount,
    "num_gpus": values.device_amount,
    "object_store_memory": values.amount,
    "placement_group": values.placement_group,
    "placement_group_bundle_index": values.whole(-1),
    "placement_group_capture_child_tasks": values.boolean,
    "resources": values.custom_resources,
    "runtime_env": values.runtime_env,
    "scheduling_strategy": values.strategy,
}

TASK_OPTIONS: Final[Mapping[str, Check]] = {
    **_COMMON,
    "_generator_backpressure_num_objects": values.whole(1, infinite=True),
    "_num_objects_per_yield": values.whole(1),
    "max_calls": values.whole(0),
    "max_retries": values.whole(0, infinite=True),
    "name": values.string,
    "num_returns": values.num_returns,
    "retry_exceptions": values.retry_exceptions,
}

ACTOR_OPTIONS: Final[Mapping[str, Check]] = {
    **_COMMON,
    "_actor_generator_backpressure_num_objects": values.whole(1, infinite=True),
    "allow_out_of_order_execution": values.boolean,
    "enable_tensor_transport": values.disabled,
    "concurrency_groups": values.concurrency_groups,
    "get_if_exists": values.boolean,
    "lifetime": values.lifetime,
    "max_concurrency": values.whole(1),
    "max_pending_calls": values.whole(0, infinite=True),
    "max_restarts": values.whole(0, infinite=True),
    "max_task_retries": values.whole(0, infinite=True),
    "name": values.non_empty,
    "object_store_memory": values.whole(0),
    "namespace": values.non_empty,
}

METHOD_OPTIONS: Final[Mapping[str, Check]] = {
    "_generator_backpressure_num_objects": values.whole(1, infinite=True),
    "concurrency_group": values.string,
    "enable_task_events": values.boolean,
    "max_task_retries": values.whole(0, infinite=True),
    "name": values.string,
    "num_returns": values.num_returns,
    "retry_exceptions": values.retry_exceptions,
}

# Options of a method whose name in MethodInfo differs.
_METHOD_FIELDS: Final = {"_generator_backpressure_num_objects": "backpressure"}


def check_task(options: Options, *, in_options: bool = False) -> dict[str, Any]:
    """The options given, each checked and None left out.

    raises: ValueError for an unknown option, a bad value or options that exclude each other; TypeError for a bad type.
    """
    if in_options and options.get("max_calls") is not None:
        raise ValueError("max_calls cannot be set by .options(), only by @ray.remote(max_calls=...)")
    if options.get("object_store_memory") is not None:
        raise ValueError("object_store_memory cannot be reserved for tasks; give memory, or leave it out")
    checked = _checked(options, TASK_OPTIONS, "remote functions")
    if checked.get("_num_objects_per_yield", 1) != 1:
        raise ValueError("_num_objects_per_yield other than 1 is not supported yet")
    return checked


def check_actor(options: Options, *, in_options: bool = False) -> dict[str, Any]:
    """As check_task, for actor classes."""
    if in_options and "concurrency_groups" in options:
        raise ValueError("concurrency_groups cannot be set by .options(), only by @ray.remote(concurrency_groups=...)")
    return _checked(options, ACTOR_OPTIONS, "actors")


def check_tensor_transport(value: Any) -> None:
    """raises: ValueError for a way of moving tensors that is not there, TypeError for what is none."""
    if value is not None and values.string(value).lower() != "object_store":
        raise ValueError(f"the tensor transport {value!r} is not supported; only 'object_store' is")


def check_method(options: Options) -> dict[str, Any]:
    """As check_task, for actor methods; the names given back are those of MethodInfo, and `name`."""
    checked = _checked(options, METHOD_OPTIONS, "actor methods")
    return {_METHOD_FIELDS.get(name, name): value for name, value in checked.items()}


def _checked(options: Options, table: Mapping[str, Check], what: str) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for name, value in options.items():
        check = table.get(name)
        if check is None:
            raise ValueError(f"Invalid option {name!r} for {what}. Valid ones are: {', '.join(sorted(table))}.")
        if value is None:
            continue
        try:
            checked[name] = check(value)
        except (TypeError, ValueError) as error:
            # Not of its own class: a subclass may be made of other things than a text.
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"The option {name!r} {error}") from None
    if checked.get("placement_group", "default") != "default" and "scheduling_strategy" in checked:
        raise ValueError(
            "placement_group and scheduling_strategy exclude each other; give "
            "scheduling_strategy=PlacementGroupSchedulingStrategy(...) alone"
        )
    return checked


def resolve_task(checked: Options, *, is_generator: bool = False) -> TaskOptions:
    """What the runtime takes, from the result of check_task. is_generator: the function yields.

    raises: ValueError for an option that only generators have.
    """
    check_generator(checked, is_generator=is_generator)
    resources = _resources(checked)
    resources["CPU"] = checked.get("num_cpus", 1)
    max_calls = checked.get("max_calls")
    if max_calls is None:
        # A worker that used a GPU keeps its memory; a new process is the only sure way to give it back.
        max_calls = 1 if resources.get("GPU") else 0
    strategy, capture = _scheduling(checked, resources)
    return TaskOptions(
        name=checked.get("name", ""),
        num_returns=checked.get("num_returns", STREAMING if is_generator else 1),
        resources=_without_zeros(resources),
        max_retries=checked.get("max_retries", _default_max_retries()),
        retry_exceptions=checked.get("retry_exceptions", False),
        max_calls=max_calls,
        strategy=strategy,
        runtime_env=checked.get("runtime_env", ""),
        label_selector=checked.get("label_selector"),
        enable_task_events=checked.get("enable_task_events", True),
        capture_child_tasks=capture,
        backpressure=checked.get("_generator_backpressure_num_objects", -1),
    )


def check_generator(checked: Options, *, is_generator: bool) -> None:
    """raises: ValueError when a function that does not yield is to stream its results."""
    wanted = checked.get("num_returns")
    if wanted in (STREAMING, DYNAMIC) and not is_generator:
        word = "streaming" if wanted == STREAMING else "dynamic"
        raise ValueError(
            f"The option 'num_returns' can be {word!r} only for a generator function, and this one has no 'yield'; "
            "yield the results, or give their number"
        )


def resolve_actor(checked: Options) -> ActorOptions:
    """What the runtime takes, from the result of check_actor.

    With no resource given an actor needs 1 CPU to be placed and none to live. With any given (memory aside), it holds
    what was given while it lives, and 1 CPU unless num_cpus says otherwise.
    """
    if checked.get("get_if_exists") and "name" not in checked:
        raise ValueError("The option 'get_if_exists' needs 'name': which actor to look for")
    lifetime = _resources(checked)
    if "num_cpus" in checked:
        lifetime["CPU"] = checked["num_cpus"]
    elif set(lifetime) - MEMORY_NAMES:
        lifetime["CPU"] = 1
    placement = {**lifetime, "CPU": lifetime["CPU"]} if "CPU" in lifetime else {**lifetime, "CPU": 1}
    strategy, capture = _scheduling(checked, placement)
    return ActorOptions(
        name=checked.get("name", ""),
        namespace=checked.get("namespace"),
        lifetime_resources=_without_zeros(lifetime),
        placement_resources=_without_zeros(placement),
        max_restarts=checked.get("max_restarts", 0),
        max_task_retries=checked.get("max_task_retries", 0),
        max_concurrency=checked.get("max_concurrency"),
        concurrency_groups=checked.get("concurrency_groups", {}),
        detached=_detached(checked),
        get_if_exists=checked.get("get_if_exists", False),
        strategy=strategy,
        runtime_env=checked.get("runtime_env", ""),
        label_selector=checked.get("label_selector", {}),
        # 0 is no limit, as -1.
        max_pending_calls=checked.get("max_pending_calls") or -1,
        allow_out_of_order=checked.get("allow_out_of_order_execution", False),
        enable_task_events=checked.get("enable_task_events", True),
        capture_child_tasks=capture,
        backpressure=checked.get("_actor_generator_backpressure_num_objects", -1),
    )


def _detached(checked: Options) -> bool | None:
    lifetime = checked.get("lifetime")
    return None if lifetime is None else lifetime == "detached"


def _resources(checked: Options) -> dict[str, float]:
    """What was asked for, without CPUs: their default differs between tasks and actors."""
    resources = dict(checked.get("resources", {}))
    for option, name in (("num_gpus", "GPU"), ("memory", "memory"), ("object_store_memory", "object_store_memory")):
        if option in checked:
            resources[name] = checked[option]
    if "accelerator_type" in checked:
        resources[f"accelerator_type:{checked['accelerator_type']}"] = _ACCELERATOR_SHARE
    return resources


def _without_zeros(resources: Mapping[str, float]) -> dict[str, float]:
    return {name: amount for name, amount in resources.items() if amount}


def _default_max_retries() -> int:
    text = os.environ.get("RAY_TASK_MAX_RETRIES", "")
    if not text:
        return DEFAULT_MAX_RETRIES
    try:
        return int(values.whole(0, infinite=True)(int(text)))
    except ValueError:
        raise ValueError(f"RAY_TASK_MAX_RETRIES must be an int >= 0 or -1 for no limit, not {text!r}") from None


def _scheduling(checked: Options, resources: Mapping[str, float]) -> tuple[common_pb2.SchedulingStrategy | None, bool]:
    """The strategy for the wire, and whether child tasks go to the same placement group.

    None: nothing was said, so that the task may follow its parent into its placement group. An explicit 'DEFAULT', or
    a placement group of None, is the simple strategy and does not follow. resources: what a bundle must hold.
    """
    strategy = checked.get("scheduling_strategy")
    group = checked.get("placement_group", "default")
    index = checked.get("placement_group_bundle_index", -1)
    capture = bool(checked.get("placement_group_capture_child_tasks", False))
    if strategy is None and group != "default":
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        strategy = PlacementGroupSchedulingStrategy(group, index, capture)
    elif index != -1 and strategy is None:
        raise ValueError("The option 'placement_group_bundle_index' needs 'placement_group'")
    elif strategy is not None and getattr(strategy, "placement_group", None) == "default":
        capture = strategy.captures_by_default() or capture
        strategy = None
    selector = checked.get("label_selector")
    if strategy is None and not selector:
        return None, capture

    from manta_proto.common.v1 import common_pb2

    message = common_pb2.SchedulingStrategy()
    if strategy == "DEFAULT":
        message.simple = common_pb2.SchedulingStrategy.DEFAULT
    elif strategy == "SPREAD":
        message.simple = common_pb2.SchedulingStrategy.SPREAD
    elif strategy is not None:
        capture = strategy.fill(message) or capture
        if message.HasField("placement_group"):
            strategy.check_fits(resources)
    for key, text in (selector or {}).items():
        operator, names = values.parse_label(key, text)
        message.label_selector.add(key=key, operator=common_pb2.LabelConstraint.Operator.Value(operator), values=names)
    return message, capture
