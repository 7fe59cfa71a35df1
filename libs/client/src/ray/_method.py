"""@ray.method: options of one method of an actor class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

from ray import _options

F = TypeVar("F", bound=Callable[..., Any])

# Where it leaves a method's options.
METADATA: Final = "__ray_method_options__"


@overload
def method(function: F, /) -> F: ...


@overload
def method(**options: Any) -> Callable[[F], F]: ...


def method(*args: Any, **kwargs: Any) -> Any:
    """Set options of an actor's method: @ray.method(num_returns=2, concurrency_group="io").

    Options: num_returns, concurrency_group, max_task_retries, retry_exceptions, enable_task_events,
    _generator_backpressure_num_objects; without any it changes nothing. raises: ValueError, TypeError for bad ones.
    """
    if len(args) == 1 and callable(args[0]) and not kwargs:
        return method()(args[0])
    if args:
        raise TypeError(
            "@ray.method takes keyword options only, for example @ray.method(num_returns=2); "
            f"valid ones are: {', '.join(sorted(_options.METHOD_OPTIONS))}"
        )
    if "name" in kwargs:
        raise ValueError("@ray.method does not name calls; handle.method.options(name=...) names one")
    _options.check_tensor_transport(kwargs.pop("tensor_transport", None))
    checked = _options.check_method(kwargs)

    def annotate(function: F) -> F:
        setattr(function, METADATA, checked)
        return function

    return annotate
