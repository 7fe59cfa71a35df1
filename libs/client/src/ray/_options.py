"""What a user may write in @ray.remote(...), .options(...) and @ray.method(...): checked, then resolved."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ray._runtime.api import DYNAMIC, STREAMING, ActorOptions, TaskOptions

if TYPE_CHECKING:
    from manta.proto.common.v1 import common_pb2

Options = Mapping[str, Any]
# Checks a value that is not None and gives what to go on with. raises: TypeError, ValueError without the option's name.
Check = Callable[[Any], Any]

DEFAULT_MAX_RETRIES: Final = 3
# So many units of "accelerator_type:X" are asked for, and held by each node that has the accelerator.
_ACCELERATOR_SHARE: Final = 0.001
_SMALLEST_AMOUNT: Final = 0.0001
_UNCOUNTED_BY_ACTORS: Final = frozenset({"memory", "object_store_memory"})


def _type_name(value: Any) -> str:
    return type(value).__name__


def _amount(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"must be a number, not {_type_name(value)}: {value!r}")
    # `not >=` also catches NaN.
    if not value >= 0 or value == float("inf"):
        raise ValueError(f"must be a finite number >= 0, not {value!r}")
    if 0 < value < _SMALLEST_AMOUNT:
        raise ValueError(f"must be 0 or at least {_SMALLEST_AMOUNT}, the smallest share of a resource, not {value!r}")
    return value


def _gpu_amount(value: Any) -> float:
    amount = _amount(value)
    if amount > 1 and amount != int(amount):
        raise ValueError(f"must be a whole number when it is over 1: a GPU is shared or held whole, not {value!r}")
    return amount


def _custom_resources(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise TypeError(f"must be a dict of name -> amount, not {_type_name(value)}: {value!r}")
    amounts: dict[str, float] = {}
    for name, amount in value.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"must have names that are non-empty strings, not {name!r}")
        if name in ("CPU", "GPU"):
            raise ValueError(f"must not contain {name!r}: use num_{name.lower()}s")
        if name in _UNCOUNTED_BY_ACTORS:
            raise ValueError(f"must not contain {name!r}: use the option {name}")
        try:
            amounts[name] = _amount(amount)
        except (TypeError, ValueError) as error:
            raise type(error)(f"has a bad amount of {name!r}: it {error}") from None
    return amounts


def _whole(least: int, *, infinite: bool = False, zero: bool = True) -> Check:
    """An int >= least; infinite: -1 is allowed too, and means no limit."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"must be an int, not {_type_name(value)}: {value!r}")
        allowed = (infinite and value == -1) or (value >= least and (zero or value != 0))
        if not allowed:
            wanted = f">= {least}" + (" or -1 for no limit" if infinite else "")
            raise ValueError(f"must be an int {wanted}, not {value!r}")
        return value

    return check


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"must be True or False, not {_type_name(value)}: {value!r}")
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"must be a string, not {_type_name(value)}: {value!r}")
    return value


def _non_empty(value: Any) -> str:
    if not _string(value):
        raise ValueError("must not be an empty string; pass None or leave it out for none")
    return str(value)


def _string_map(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError(f"must be a dict of strings, not {_type_name(value)}: {value!r}")
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"must map strings to strings, not {key!r} to {text!r}")
    return dict(value)


def _label_selector(value: Any) -> dict[str, str]:
    selector = _string_map(value)
    for key, text in selector.items():
        _parse_label(key, text)
    return selector


def _num_returns(value: Any) -> int:
    if value == "dynamic":
        return DYNAMIC
    if value == "streaming":
        return STREAMING
    if isinstance(value, bool) or not isinstance(value, int):
        kind = ValueError if isinstance(value, str) else TypeError
        raise kind(f"must be an int >= 0, 'dynamic' or 'streaming', not {value!r}")
    if value < 0:
        raise ValueError(f"must be an int >= 0, 'dynamic' or 'streaming', not {value!r}")
    return value


def _retry_exceptions(value: Any) -> bool | tuple[type[BaseException], ...]:
    if isinstance(value, bool):
        return value
    if isinstance(value, (list, tuple)):
        for kind in value:
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise TypeError(f"must list exception classes, not {kind!r}")
        return tuple(value)
    raise TypeError(f"must be a bool or a list of exception classes, not {_type_name(value)}: {value!r}")


def _lifetime(value: Any) -> str:
    if value not in ("detached", "non_detached"):
        raise ValueError(f"must be None, 'detached' or 'non_detached', not {value!r}")
    return str(value)


def _concurrency_groups(value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise TypeError(f"must be a dict of group name -> int >= 1, not {_type_name(value)}: {value!r}")
    count = _whole(1)
    for name, size in value.items():
        _non_empty(name)
        count(size)
    return dict(value)


def _runtime_env(value: Any) -> str:
    """The environment as JSON; "" for an empty one."""
    from ray.runtime_env import RuntimeEnv

    if isinstance(value, str):
        return RuntimeEnv.deserialize(value).serialize()
    if not isinstance(value, Mapping):
        raise TypeError(f"must be a dict or a RuntimeEnv, not {_type_name(value)}: {value!r}")
    env = value if isinstance(value, RuntimeEnv) else RuntimeEnv(**value)
    return env.serialize() if env else ""


def _strategy(value: Any) -> Any:
    if isinstance(value, str):
        if value not in ("DEFAULT", "SPREAD"):
            raise ValueError(f"must be 'DEFAULT', 'SPREAD' or a strategy object, not {value!r}")
        return value
    from ray.util import scheduling_strategies

    if not isinstance(value, scheduling_strategies.KINDS):
        names = ", ".join(kind.__name__ for kind in scheduling_strategies.KINDS)
        raise TypeError(f"must be 'DEFAULT', 'SPREAD' or one of {names}, not {_type_name(value)}: {value!r}")
    return value


def _placement_group(value: Any) -> Any:
    if value == "default":
        return value
    from ray.util.placement_group import PlacementGroup

    if not isinstance(value, PlacementGroup):
        raise TypeError(f"must be a PlacementGroup, 'default' or None, not {_type_name(value)}: {value!r}")
    return value


_COMMON: Final[dict[str, Check]] = {
    "_labels": _string_map,
    "accelerator_type": _non_empty,
    "enable_task_events": _boolean,
    "label_selector": _label_selector,
    "memory": _amount,
    "num_cpus": _amount,
    "num_gpus": _gpu_amount,
    "object_store_memory": _amount,
    "placement_group": _placement_group,
    "placement_group_bundle_index": _whole(-1),
    "placement_group_capture_child_tasks": _boolean,
    "resources": _custom_resources,
    "runtime_env": _runtime_env,
    "scheduling_strategy": _strategy,
}

TASK_OPTIONS: Final[Mapping[str, Check]] = {
    **_COMMON,
    "_generator_backpressure_num_objects": _whole(1, infinite=True),
    "_num_objects_per_yield": _whole(1),
    "max_calls": _whole(0),
    "max_retries": _whole(0, infinite=True),
    "name": _string,
    "num_returns": _num_returns,
    "retry_exceptions": _retry_exceptions,
}

ACTOR_OPTIONS: Final[Mapping[str, Check]] = {
    **_COMMON,
    "_actor_generator_backpressure_num_objects": _whole(1, infinite=True),
    "allow_out_of_order_execution": _boolean,
    "concurrency_groups": _concurrency_groups,
    "get_if_exists": _boolean,
    "lifetime": _lifetime,
    "max_concurrency": _whole(1),
    "max_pending_calls": _whole(1, infinite=True),
    "max_restarts": _whole(0, infinite=True),
    "max_task_retries": _whole(0, infinite=True),
    "name": _non_empty,
    "namespace": _non_empty,
}

METHOD_OPTIONS: Final[Mapping[str, Check]] = {
    "_generator_backpressure_num_objects": _whole(1, infinite=True),
    "concurrency_group": _string,
    "enable_task_events": _boolean,
    "max_task_retries": _whole(0, infinite=True),
    "name": _string,
    "num_returns": _num_returns,
    "retry_exceptions": _retry_exceptions,
}

# Options of a method whose name in MethodInfo differs.
_METHOD_FIELDS: Final = {"_generator_backpressure_num_objects": "backpressure"}


def check_task(options: Options, *, in_options: bool = False) -> dict[str, Any]:
    """The options given, each checked and None left out.

    raises: ValueError for an unknown option, a bad value or options that exclude each other; TypeError for a bad type.
    """
    if in_options and options.get("max_calls") is not None:
        raise ValueError("max_calls cannot be set by .options(), only by @ray.remote(max_calls=...)")
    checked = _checked(options, TASK_OPTIONS, "remote functions")
    if checked.get("_num_objects_per_yield", 1) != 1:
        raise ValueError("_num_objects_per_yield other than 1 is not supported yet")
    return checked


def check_actor(options: Options) -> dict[str, Any]:
    """As check_task, for actor classes."""
    return _checked(options, ACTOR_OPTIONS, "actors")


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
            raise type(error)(f"The option {name!r} {error}") from None
    if checked.get("placement_group", "default") != "default" and "scheduling_strategy" in checked:
        raise ValueError(
            "placement_group and scheduling_strategy exclude each other; give "
            "scheduling_strategy=PlacementGroupSchedulingStrategy(...) alone"
        )
    return checked


def resolve_task(checked: Options, *, is_generator: bool = False) -> TaskOptions:
    """What the runtime takes, from the result of check_task. is_generator: the function yields."""
    resources = _resources(checked)
    resources["CPU"] = checked.get("num_cpus", 1)
    max_calls = checked.get("max_calls")
    if max_calls is None:
        # A worker that used a GPU keeps its memory; a new process is the only sure way to give it back.
        max_calls = 1 if resources.get("GPU") else 0
    strategy, capture = _scheduling(checked)
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
    elif set(lifetime) - _UNCOUNTED_BY_ACTORS:
        lifetime["CPU"] = 1
    placement = {**lifetime, "CPU": lifetime["CPU"]} if "CPU" in lifetime else {**lifetime, "CPU": 1}
    strategy, capture = _scheduling(checked)
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
        max_pending_calls=checked.get("max_pending_calls", -1),
        allow_out_of_order=checked.get("allow_out_of_order_execution", False),
        enable_task_events=checked.get("enable_task_events", True),
        capture_child_tasks=capture,
    )


def _detached(checked: Options) -> bool:
    return bool(checked.get("lifetime") == "detached")


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
        return int(_whole(0, infinite=True)(int(text)))
    except ValueError:
        raise ValueError(f"RAY_TASK_MAX_RETRIES must be an int >= 0 or -1 for no limit, not {text!r}") from None


def _scheduling(checked: Options) -> tuple[common_pb2.SchedulingStrategy | None, bool]:
    """The strategy for the wire, and whether child tasks go to the same placement group.

    None: nothing was said, so that the task may follow its parent into its placement group. An explicit 'DEFAULT', or
    a placement group of None, is the simple strategy and does not follow.
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
    selector = checked.get("label_selector")
    if strategy is None and not selector:
        return None, capture

    from manta.proto.common.v1 import common_pb2

    message = common_pb2.SchedulingStrategy()
    if strategy == "DEFAULT":
        message.simple = common_pb2.SchedulingStrategy.DEFAULT
    elif strategy == "SPREAD":
        message.simple = common_pb2.SchedulingStrategy.SPREAD
    elif strategy is not None:
        capture = strategy.fill(message) or capture
    for key, text in (selector or {}).items():
        operator, values = _parse_label(key, text)
        message.label_selector.add(key=key, operator=common_pb2.LabelConstraint.Operator.Value(operator), values=values)
    return message, capture


def _parse_label(key: str, text: str) -> tuple[str, list[str]]:
    """`value`, `!value`, `in(a, b)`, `!in(a, b)` as (operator, values). raises: ValueError."""
    if not key:
        raise ValueError("must have keys that are not empty")
    negated = text.startswith("!")
    body = text[1:] if negated else text
    if body.startswith("in(") and body.endswith(")"):
        values = [value.strip() for value in body[3:-1].split(",")]
    else:
        values = [body.strip()]
    if any(not value or set(value) & set("()!,") for value in values):
        raise ValueError(f"must have values like 'a', '!a', 'in(a, b)' or '!in(a, b)', not {text!r} for {key!r}")
    return ("NOT_IN" if negated else "IN"), values
