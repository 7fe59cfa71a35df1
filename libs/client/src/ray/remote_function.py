"""RemoteFunction: what @ray.remote makes of a function."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, overload

from ray import _options
from ray._argument_check import ArgumentCheck
from ray._runtime import current
from ray._runtime.api import FunctionDescriptor

if TYPE_CHECKING:
    from ray._runtime.api import TaskOptions
    from ray._runtime.generators.object_ref_generator import ObjectRefGenerator
    from ray._runtime.values.object_ref import ObjectRef

P = ParamSpec("P")
R = TypeVar("R")

_COROUTINE = 0x80
_GENERATORS = 0x20 | 0x200


class RemoteFunction(Generic[P, R]):
    """A function whose calls run elsewhere: `f.remote(...)` submits one and gives a reference to its result.

    language: kept for programs that pass it; only Python is there. function_descriptor: shared by all that .options()
    makes of one function, so that the function is pickled once. task_options: as written by the user.
    """

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __init__(
        self,
        language: Any,
        function: Callable[P, R],
        function_descriptor: FunctionDescriptor | None,
        task_options: _options.Options,
    ) -> None:
        code = getattr(function, "__code__", None)
        if code is not None and code.co_flags & _COROUTINE:
            raise ValueError(
                f"'async def' should not be used for remote tasks: {function.__qualname__} is a coroutine function. "
                "Wrap it in a plain function that calls asyncio.run(), or make it a method of an async actor."
            )
        self._function = function
        self._descriptor = function_descriptor or FunctionDescriptor(function, _full_name(function))
        self._options = _options.check_task(task_options)
        self._resolved = self._resolve()
        self._copy_names()

    def _resolve(self) -> TaskOptions:
        code = getattr(self._function, "__code__", None)
        is_generator = code is not None and bool(code.co_flags & _GENERATORS)
        return _options.resolve_task(self._options, is_generator=is_generator)

    def _copy_names(self) -> None:
        function = self._function
        for name in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
            if hasattr(function, name):
                setattr(self, name, getattr(function, name))
        # inspect.signature follows this.
        self.__wrapped__ = function

    def __call__(self, /, *args: Any, **kwargs: Any) -> NoReturn:
        name = getattr(self._function, "__name__", "f")
        raise TypeError(f"Remote functions cannot be called directly. Instead of {name}(...), use {name}.remote(...).")

    @overload
    def remote(
        self: RemoteFunction[P, Generator[Any, Any, Any]], /, *args: Any, **kwargs: Any
    ) -> ObjectRefGenerator: ...
    @overload
    def remote(self, /, *args: Any, **kwargs: Any) -> ObjectRef[R]: ...
    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Submit a call; never waits. raises: TypeError for arguments that do not fit the function.

        returns: an ObjectRef; None, a list of ObjectRefs or an ObjectRefGenerator by num_returns.
        """
        # The first call makes the function that serves the next ones: at construction, or while a pickled function
        # that refers to itself is being rebuilt, the function may be unfinished.
        self.__dict__["remote"] = submit = self._make_submit()
        return submit(*args, **kwargs)

    def _make_submit(self) -> Callable[..., Any]:
        check = ArgumentCheck.of(self._function)
        least, most = check.least, check.most
        descriptor, options = self._descriptor, self._resolved

        def remote(*args: Any, **kwargs: Any) -> Any:
            if kwargs or not least <= len(args) <= most:
                check(args, kwargs)
            return (current._runtime or current.runtime()).submit_task(descriptor, options, args, kwargs)

        return remote

    def options(self, **task_options: Any) -> RemoteFunction[P, R]:
        """The same function with other options; what is not given stays as it was.

        raises: ValueError for an unknown or bad option, TypeError for one of a wrong type.
        """
        changed = _options.check_task(task_options, in_options=True)
        other: RemoteFunction[P, R] = RemoteFunction.__new__(RemoteFunction)
        other._function = self._function
        other._descriptor = self._descriptor
        # None, as written by the user, takes an option back to its default.
        kept = {name: value for name, value in self._options.items() if name not in task_options}
        if kept.get("placement_group") is not None and "scheduling_strategy" in changed:
            del kept["placement_group"]
        if "placement_group" in changed:
            kept.pop("scheduling_strategy", None)
        other._options = {**kept, **changed}
        other._resolved = other._resolve()
        other._copy_names()
        return other

    def bind(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Lazy graphs are not there yet."""
        raise NotImplementedError("bind() and task graphs are not supported yet; call .remote() with references")

    def __getstate__(self) -> dict[str, Any]:
        return {"function": self._function, "options": self._options, "name": self._descriptor.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._function = state["function"]
        self._options = state["options"]
        self._descriptor = FunctionDescriptor(self._function, state["name"])
        self._resolved = self._resolve()
        self._copy_names()

    def __repr__(self) -> str:
        return f"RemoteFunction({self._descriptor.name})"


def _full_name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or repr(function)
    return f"{getattr(function, '__module__', '')}.{name}"
