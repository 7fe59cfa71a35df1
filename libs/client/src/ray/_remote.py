"""ray.remote: the decorator that makes remote functions and actor classes."""

from __future__ import annotations

from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any, Protocol, TypeVar, overload

from ray._language import Language
from ray.actor import ActorClass
from ray.remote_function import P, R, RemoteFunction

T = TypeVar("T")


class RemoteDecorator(Protocol):
    """What @ray.remote(...) with options gives."""

    @overload
    def __call__(self, target: type[T], /) -> ActorClass[T]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, target: Callable[P, R], /) -> RemoteFunction[P, R]: ...
    def __call__(self, target: Any, /) -> Any: ...


@overload
def remote(target: type[T], /) -> ActorClass[T]: ...  # type: ignore[overload-overlap]
@overload
def remote(target: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def remote(**options: Any) -> RemoteDecorator: ...
def remote(*args: Any, **kwargs: Any) -> Any:
    """Make a function or class remote: `@ray.remote`, or `@ray.remote(num_cpus=2, ...)` with options.

    raises: TypeError when it is applied to something else, or called with positional options; ValueError, TypeError
    for bad options.
    """
    if len(args) == 1 and not kwargs:
        return _make(args[0], {})
    if args or not kwargs:
        raise TypeError(
            "@ray.remote is used without parentheses, or with keyword options only, "
            "for example @ray.remote(num_returns=2, num_cpus=0.5)"
        )

    def decorate(target: Any) -> Any:
        return _make(target, kwargs)

    return decorate


def _make(target: Any, options: dict[str, Any]) -> Any:
    if isinstance(target, type):
        return ActorClass._of(target, options)
    if isinstance(target, (FunctionType, BuiltinFunctionType)) or type(target).__name__ == "cython_function_or_method":
        return RemoteFunction(Language.PYTHON, target, None, options)
    raise TypeError(f"@ray.remote must be applied to a function or a class, not to {type(target).__name__}: {target!r}")
