"""Actors as users see them: ActorClass, which @ray.remote makes of a class, ActorHandle, and ActorMethod."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar

from ray import _options
from ray._argument_check import ArgumentCheck
from ray._method import METADATA
from ray._method import method as method
from ray._runtime import current
from ray._runtime.api import STREAMING, ClassDescriptor, MethodInfo

if TYPE_CHECKING:
    from ray._runtime.api import ActorOptions, Runtime

T = TypeVar("T")

_COROUTINE = 0x80
_GENERATOR = 0x20
_ASYNC_GENERATOR = 0x200


@dataclass(slots=True)
class CheckedMethod(MethodInfo):
    """A method together with its parameters; travels with handles, so that every caller's arguments are checked."""

    check: ArgumentCheck | None = None


def _ready(instance: Any) -> bool:
    """__ray_ready__: its result is there once the constructor has run."""
    return True


def _call(instance: Any, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """__ray_call__: run function(instance, *args, **kwargs) in the actor."""
    return function(instance, *args, **kwargs)


def _terminate(instance: Any) -> None:
    """__ray_terminate__: end the actor after the calls before this one."""
    exit_actor()


# Methods that every actor has; a worker looks here for a name that the user's class lacks.
SYSTEM_METHODS: Final[Mapping[str, Callable[..., Any]]] = {
    "__ray_call__": _call,
    "__ray_ready__": _ready,
    "__ray_terminate__": _terminate,
}
_SYSTEM_INFO: Final[Mapping[str, MethodInfo]] = {
    name: CheckedMethod(name, check=ArgumentCheck.of(function, skip_first=True))
    for name, function in SYSTEM_METHODS.items()
}


def exit_actor() -> None:
    """End the actor that runs this, after its current call; its exit counts as intended, so it is not restarted.

    raises: TypeError outside an actor.
    """
    connected = current.runtime_or_none()
    if connected is None:
        raise TypeError("exit_actor() can only be called in an actor's method, and this process runs no actor")
    connected.exit_actor()


class ActorMethod:
    """One method of one actor: `handle.method.remote(...)`. It keeps its handle alive."""

    __slots__ = ("_actor", "_changed", "_info")

    def __init__(self, actor: ActorHandle[Any], info: MethodInfo, changed: Mapping[str, Any] = {}) -> None:
        self._actor = actor
        self._info = info
        self._changed = changed

    def __call__(self, /, *args: Any, **kwargs: Any) -> NoReturn:
        name = self._info.name
        raise TypeError(
            f"Actor methods cannot be called directly. Instead of actor.{name}(), use actor.{name}.remote()."
        )

    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Submit a call; never waits. Calls of one caller run in their order.

        returns: as RemoteFunction.remote. raises: TypeError for arguments that do not fit the method.
        """
        info = self._info
        check = info.check if type(info) is CheckedMethod else None
        if check is not None and (kwargs or not check.least <= len(args) <= check.most):
            check(args, kwargs)
        actor = self._actor
        return actor._runtime.submit_actor_task(actor._actor_id, info, self._changed, args, kwargs)

    def options(self, **options: Any) -> ActorMethod:
        """The same method with other options. raises: ValueError, TypeError for bad ones."""
        checked = _options.check_method(options)
        _options.check_generator(checked, is_generator=self._info.is_generator)
        return ActorMethod(self._actor, self._info, {**self._changed, **checked})

    def bind(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Lazy graphs are not there yet."""
        raise NotImplementedError("bind() and task graphs are not supported yet; call .remote() with references")

    def __repr__(self) -> str:
        return f"ActorMethod({self._actor!r}.{self._info.name})"


class ActorHandle(Generic[T]):
    """A reference to an actor; its attributes are the actor's methods. The actor lives while any handle does, but for
    handles that were found by name.

    Handles go into arguments, results and objects, and come out as handles of the same actor.
    """

    __slots__ = ("__weakref__", "_actor_id", "_class_name", "_detached", "_methods", "_runtime", "_weak")

    _actor_id: bytes
    _class_name: str
    _detached: bool
    _methods: Mapping[str, MethodInfo]
    _runtime: Runtime
    _weak: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError("Actor handles are made by Class.remote(...), ray.get_actor(name) and unpickling, not by hand")

    def __getattr__(self, name: str) -> ActorMethod:
        # Slots that were never filled come here too.
        if name in ActorHandle.__slots__:
            raise AttributeError(name)
        info = self._methods.get(name) or _SYSTEM_INFO.get(name)
        if info is None:
            raise AttributeError(f"The actor class {self._class_name!r} has no method {name!r}")
        return ActorMethod(self, info)

    def __dir__(self) -> list[str]:
        return sorted({*self._methods, *SYSTEM_METHODS})

    @property
    def _ray_actor_id(self) -> Any:
        """The ActorID; programs read it under this name."""
        from ray._ids import ActorID

        return ActorID(self._actor_id)

    @property
    def _actor_id_hex(self) -> str:
        return self._actor_id.hex()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and self._actor_id == other._actor_id

    def __hash__(self) -> int:
        return hash(self._actor_id)

    def __repr__(self) -> str:
        return f"Actor({self._class_name}, {self._actor_id.hex()})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _import_handle, (self._runtime.export_handle(self._actor_id),)

    def __copy__(self) -> ActorHandle[T]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ActorHandle[T]:
        return self

    def __del__(self) -> None:
        # At interpreter exit the runtime is shut down by atexit, and with it all handles go.
        if sys is None or sys.is_finalizing():
            return
        try:
            weak, runtime, actor_id = self._weak, self._runtime, self._actor_id
        except AttributeError:  # never finished
            return
        runtime.drop_handle(actor_id, weak)


def _make_handle(
    runtime: Runtime,
    actor_id: bytes,
    class_name: str,
    methods: Mapping[str, MethodInfo],
    is_detached: bool = False,
    *,
    weak: bool = False,
) -> ActorHandle[Any]:
    """The runtime makes handles by this, in create_actor, find_actor and import_handle.

    methods: as in ClassDescriptor.methods, or what another process pickled of it. weak: the handle does not keep the
    actor alive: found by name, or the actor's own. add_handle is called here, drop_handle at the handle's end.
    """
    handle: ActorHandle[Any] = ActorHandle.__new__(ActorHandle)
    handle._runtime = runtime
    handle._actor_id = actor_id
    handle._class_name = class_name
    handle._methods = methods
    handle._detached = is_detached
    runtime.add_handle(actor_id, weak)
    handle._weak = weak
    return handle


def _import_handle(state: bytes) -> Any:
    return current.runtime().import_handle(state)


class ActorClassInheritanceException(TypeError):
    """A class was derived from an actor class."""


class ActorClass(Generic[T]):
    """A class whose instances live in processes of their own: `Class.remote(...)` makes one and gives its handle."""

    __name__: str
    __qualname__: str

    def __init__(self, name: Any, bases: Any, attr: Any) -> None:
        """What `class B(A)` comes to when A is an actor class. Use @ray.remote to make one.

        raises: ActorClassInheritanceException for such a B, TypeError otherwise.
        """
        parents = [base for base in bases if isinstance(base, ActorClass)] if isinstance(bases, tuple) else []
        if parents:
            parent = parents[0].__name__
            raise ActorClassInheritanceException(
                f"class {name!r} cannot inherit from {parent!r}, which is an actor class already: let both inherit "
                f"from a plain class, or from {parent}.__ray_actor_class__, and put @ray.remote on each"
            )
        raise TypeError("Actor classes are made by @ray.remote on a class, not by calling ActorClass")

    @classmethod
    def _of(cls, plain: type[T], actor_options: _options.Options) -> ActorClass[T]:
        return cls._new(_describe(plain), _options.check_actor(actor_options))

    @classmethod
    def _new(cls, descriptor: ClassDescriptor, checked: dict[str, Any]) -> ActorClass[T]:
        made: ActorClass[T] = cls.__new__(cls)
        made._fill(descriptor, checked)
        return made

    def _fill(self, descriptor: ClassDescriptor, checked: dict[str, Any]) -> None:
        plain = descriptor.cls
        self._descriptor = descriptor
        self._options = checked
        self._resolved: ActorOptions = _options.resolve_actor(checked)
        self._check: ArgumentCheck | None = None
        self.__module__ = plain.__module__
        self.__name__ = plain.__name__
        self.__qualname__ = plain.__qualname__
        self.__doc__ = plain.__doc__

    @property
    def __wrapped__(self) -> type[T]:
        return self._descriptor.cls

    @property
    def __ray_actor_class__(self) -> type[T]:
        """The plain class; others may inherit from it."""
        return self._descriptor.cls

    def __call__(self, /, *args: Any, **kwargs: Any) -> NoReturn:
        name = self._descriptor.cls.__name__
        raise TypeError(f"Actors cannot be instantiated directly. Instead of {name}(...), use {name}.remote(...).")

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._descriptor.cls)

    def remote(self, /, *args: Any, **kwargs: Any) -> ActorHandle[T]:
        """Make an actor; never waits for it. raises: TypeError for arguments that do not fit __init__."""
        check = self._check
        if check is None:
            check = self._check = _constructor_check(self._descriptor.cls)
        if kwargs or not check.least <= len(args) <= check.most:
            check(args, kwargs)
        handle: ActorHandle[T] = current.runtime().create_actor(self._descriptor, self._resolved, args, kwargs)
        return handle

    def options(self, **actor_options: Any) -> ActorClass[T]:
        """The same class with other options; what is not given stays as it was.

        raises: ValueError for an unknown or bad option, TypeError for one of a wrong type.
        """
        changed = _options.check_actor(actor_options, in_options=True)
        kept = {name: value for name, value in self._options.items() if name not in actor_options}
        if "scheduling_strategy" in changed:
            kept.pop("placement_group", None)
        if "placement_group" in changed:
            kept.pop("scheduling_strategy", None)
        return type(self)._new(self._descriptor, {**kept, **changed})

    def bind(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Lazy graphs are not there yet."""
        raise NotImplementedError("bind() and task graphs are not supported yet; call .remote() with references")

    def __getattr__(self, name: str) -> Any:
        """Class attributes and static methods of the plain class."""
        state = self.__dict__.pop("_unread", None)
        if state is not None:
            self._fill(_describe(state["cls"]), state["options"])
            return getattr(self, name)
        # Dunders and private names of ours must not be taken from the user's class.
        if name.startswith("_") or "_descriptor" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._descriptor.cls, name)

    def __getstate__(self) -> dict[str, Any]:
        return {"cls": self._descriptor.cls, "options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # The class is unfinished here when its own methods refer to the actor class: it is described at first use.
        self.__dict__["_unread"] = state

    def __repr__(self) -> str:
        return f"ActorClass({self._descriptor.cls.__name__})"


def _describe(plain: type) -> ClassDescriptor:
    methods: dict[str, MethodInfo] = {}
    for base in reversed(plain.__mro__):
        if base is object or base is Generic:
            continue
        for name, attribute in vars(base).items():
            info = _method_info(name, attribute)
            if info is None:
                # A subclass may hide a method by another kind of attribute.
                methods.pop(name, None)
                continue
            methods[name] = info
    is_async = any(info.is_async for info in methods.values())
    return ClassDescriptor(plain, plain.__name__, methods, is_async)


def _method_info(name: str, attribute: Any) -> CheckedMethod | None:
    """What a handle shows of a class attribute; None when it is no method."""
    # By types, here and below: isinstance also asks an attribute's own __class__, and runs the user's code by it.
    kind = type(attribute)
    skip_first = not issubclass(kind, staticmethod)
    function = attribute.__func__ if issubclass(kind, (staticmethod, classmethod)) else attribute
    if not _is_function(function):
        return None
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    changed = getattr(function, METADATA, {})
    is_generator = bool(flags & (_GENERATOR | _ASYNC_GENERATOR))
    _options.check_generator(changed, is_generator=is_generator)
    fields = {"num_returns": STREAMING if is_generator else 1, **changed}
    fields.pop("name", None)
    return CheckedMethod(
        name,
        is_async=bool(flags & (_COROUTINE | _ASYNC_GENERATOR)),
        is_generator=is_generator,
        check=ArgumentCheck.of(function, skip_first=skip_first),
        **fields,
    )


def _is_function(value: Any) -> bool:
    kind = type(value)
    return kind is FunctionType or kind is BuiltinFunctionType or kind.__name__ == "cython_function_or_method"


def _constructor_check(plain: type) -> ArgumentCheck:
    init: Any = plain.__init__  # type: ignore[misc]
    if init is object.__init__:
        new: Any = plain.__new__
        if new is not object.__new__:
            return ArgumentCheck.of(new, skip_first=True)
        return ArgumentCheck(plain.__name__, (), 0, frozenset(), frozenset(), False, False)
    check = ArgumentCheck.of(init, skip_first=True)
    check.name = plain.__name__
    return check
