"""A user's exception as the interpreter sees it.

Its class may be a frozen dataclass, have an attribute hook, properties or a metaclass: reading or setting an attribute
of the instance, and isinstance(), can run that code, which may raise or end the process. These functions use the slots
of BaseException itself and the type alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

_base: Final[Any] = BaseException
_group: Final[Any] = BaseExceptionGroup
_exit: Final[Any] = SystemExit
_mro: Final[Any] = type.__dict__["__mro__"]
_dict: Final[Any] = type.__dict__["__dict__"]
_qualname: Final[Any] = type.__dict__["__qualname__"]


def is_a(error: BaseException, *kinds: type[BaseException]) -> bool:
    """isinstance(), without asking the class. kinds: of ours or of the interpreter."""
    return issubclass(type(error), kinds)


def bases(kind: type) -> tuple[type, ...]:
    """The class and its bases in the order in which they are looked through."""
    found: tuple[type, ...] = _mro.__get__(kind)
    return found


def is_base(kind: type, of: type) -> bool:
    """Whether `kind` is `of` or one of its bases, by identity."""
    return any(base is kind for base in bases(of))


def members(kind: type) -> Mapping[str, Any]:
    """What the body of a class defined."""
    found: Mapping[str, Any] = _dict.__get__(kind)
    return found


def traceback_of(error: BaseException) -> TracebackType | None:
    trace: TracebackType | None = _base.__traceback__.__get__(error)
    return trace


def drop_traceback(error: BaseException) -> None:
    _base.__traceback__.__set__(error, None)


def args_of(error: BaseException) -> tuple[Any, ...]:
    args: tuple[Any, ...] = _base.args.__get__(error)
    return args


def args_of_group(error: BaseException) -> tuple[str, tuple[BaseException, ...]]:
    return _group.message.__get__(error), _group.exceptions.__get__(error)


def related(error: BaseException) -> list[BaseException]:
    """Its cause, its context and, of a group, its members."""
    found = [_base.__cause__.__get__(error), _base.__context__.__get__(error)]
    if is_a(error, BaseExceptionGroup):
        found.extend(_group.exceptions.__get__(error))
    return [other for other in found if other is not None]


def exit_code(error: BaseException) -> Any:
    """What a SystemExit was raised with."""
    return _exit.code.__get__(error)


def class_name(error: BaseException) -> str:
    name: str = _qualname.__get__(type(error))
    return name
