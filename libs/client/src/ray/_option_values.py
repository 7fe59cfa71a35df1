"""Checks of single option values. Each gives the value to go on with.

raises: TypeError, ValueError whose text follows the option's name: "must be ...", "has ...".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ray._runtime.api import DYNAMIC, STREAMING

Check = Callable[[Any], Any]

# Names of resources that have an option of their own.
MEMORY_NAMES: Final = frozenset({"memory", "object_store_memory"})
_SMALLEST_AMOUNT: Final = 0.0001
# Devices that are shared or held whole, as GPUs are.
_WHOLE_DEVICES: Final = frozenset({"TPU", "neuron_cores"})
# What may be a label's key behind an optional "prefix/", and its value.
_LABEL_WORD: Final = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")
_LABEL_PREFIX: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def _type_name(value: Any) -> str:
    return type(value).__name__


def amount(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"must be a number, not {_type_name(value)}: {value!r}")
    # `not >=` also catches NaN.
    if not value >= 0 or value == float("inf"):
        raise ValueError(f"must be a finite number >= 0, not {value!r}")
    if 0 < value < _SMALLEST_AMOUNT:
        raise ValueError(f"must be 0 or at least {_SMALLEST_AMOUNT}, the smallest share of a resource, not {value!r}")
    return value


def device_amount(value: Any) -> float:
    checked = amount(value)
    if checked > 1 and checked != int(checked):
        raise ValueError(f"must be a whole number when it is over 1: a device is shared or held whole, not {value!r}")
    return checked


def custom_resources(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise TypeError(f"must be a dict of name -> amount, not {_type_name(value)}: {value!r}")
    amounts: dict[str, float] = {}
    for name, given in value.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"must have names that are non-empty strings, not {name!r}")
        if name in ("CPU", "GPU"):
            raise ValueError(f"must not contain {name!r}: use num_{name.lower()}s")
        if name in MEMORY_NAMES:
            raise ValueError(f"must not contain {name!r}: use the option {name}")
        try:
            amounts[name] = (device_amount if name in _WHOLE_DEVICES else amount)(given)
        except (TypeError, ValueError) as error:
            raise type(error)(f"has a bad amount of {name!r}: it {error}") from None
    return amounts


def whole(least: int, *, infinite: bool = False) -> Check:
    """An int >= least; infinite: -1 is allowed too, and means no limit."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"must be an int, not {_type_name(value)}: {value!r}")
        if value < least and not (infinite and value == -1):
            wanted = f">= {least}" + (" or -1 for no limit" if infinite else "")
            raise ValueError(f"must be an int {wanted}, not {value!r}")
        return value

    return check


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"must be True or False, not {_type_name(value)}: {value!r}")
    return value


def disabled(value: Any) -> bool:
    """Of what is not there: it can be turned off only."""
    if boolean(value):
        raise ValueError("is not supported; leave it out or pass False")
    return False


def string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"must be a string, not {_type_name(value)}: {value!r}")
    return value


def non_empty(value: Any) -> str:
    if not string(value):
        raise ValueError("must not be an empty string; pass None or leave it out for none")
    return str(value)


def string_map(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError(f"must be a dict of strings, not {_type_name(value)}: {value!r}")
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"must map strings to strings, not {key!r} to {text!r}")
    return dict(value)


def label_selector(value: Any) -> dict[str, str]:
    selector = string_map(value)
    for key, text in selector.items():
        parse_label(key, text)
    return selector


def num_returns(value: Any) -> int:
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


def retry_exceptions(value: Any) -> bool | tuple[type[BaseException], ...]:
    if isinstance(value, bool):
        return value
    if isinstance(value, (list, tuple)):
        for kind in value:
            if not (isinstance(kind, type) and issubclass(kind, Exception)):
                raise ValueError(f"must list exception classes, not {kind!r}")
        return tuple(value)
    raise TypeError(f"must be a bool or a list of exception classes, not {_type_name(value)}: {value!r}")


def lifetime(value: Any) -> str:
    if string(value) not in ("detached", "non_detached"):
        raise ValueError(f"must be None, 'detached' or 'non_detached', not {value!r}")
    return str(value)


def concurrency_groups(value: Any) -> dict[str, int]:
    if value == []:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"must be a dict of group name -> int >= 1, not {_type_name(value)}: {value!r}")
    count = whole(1)
    for name, size in value.items():
        non_empty(name)
        count(size)
    return dict(value)


def runtime_env(value: Any) -> str:
    """The environment as JSON; "" for an empty one."""
    from ray.runtime_env import RuntimeEnv

    if not isinstance(value, Mapping):
        raise TypeError(f"must be a dict or a RuntimeEnv, not {_type_name(value)}: {value!r}")
    env = value if isinstance(value, RuntimeEnv) else RuntimeEnv(**value)
    return env.serialize() if env else ""


def strategy(value: Any) -> Any:
    if isinstance(value, str):
        if value not in ("DEFAULT", "SPREAD"):
            raise ValueError(f"must be 'DEFAULT', 'SPREAD' or a strategy object, not {value!r}")
        return value
    from ray.util import scheduling_strategies

    if not isinstance(value, scheduling_strategies.KINDS):
        names = ", ".join(kind.__name__ for kind in scheduling_strategies.KINDS)
        raise TypeError(f"must be 'DEFAULT', 'SPREAD' or one of {names}, not {_type_name(value)}: {value!r}")
    return value


def placement_group(value: Any) -> Any:
    if value == "default":
        return value
    from ray.util.placement_group import PlacementGroup

    if not isinstance(value, PlacementGroup):
        raise TypeError(f"must be a PlacementGroup, 'default' or None, not {_type_name(value)}: {value!r}")
    return value


def parse_label(key: str, text: str) -> tuple[str, list[str]]:
    """`value`, `!value`, `in(a, b)`, `!in(a, b)` as (operator, values). raises: ValueError."""
    prefix, slash, word = key.rpartition("/")
    if not _LABEL_WORD.fullmatch(word) or (slash and not _LABEL_PREFIX.fullmatch(prefix)):
        raise ValueError(
            f"must have keys of letters, digits, '.', '_' and '-' behind an optional 'prefix/', not {key!r}"
        )
    negated = text.startswith("!")
    body = text[1:] if negated else text
    if body.startswith("in(") and body.endswith(")"):
        values = [value.strip() for value in body[3:-1].split(",")]
    else:
        values = [body.strip()]
    if not all(_LABEL_WORD.fullmatch(value) for value in values):
        raise ValueError(f"must have values like 'a', '!a', 'in(a, b)' or '!in(a, b)', not {text!r} for {key!r}")
    return ("NOT_IN" if negated else "IN"), values
