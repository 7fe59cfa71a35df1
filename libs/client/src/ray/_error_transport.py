"""How errors cross processes: user exceptions have odd constructors, and must come back as what they were."""

from __future__ import annotations

import pickle
from typing import Any, cast

from ray import _bare_error
from ray._traceback_text import describe
from ray.exceptions import RayTaskError, UnserializableException

_HEAP_TYPE = 1 << 9
_MEMBER_KINDS: tuple[Any, ...] = (type(OSError.errno), type(UnicodeDecodeError.start))
_NO_COPY = frozenset({"__dict__", "__weakref__", "__traceback__", "__context__", "__cause__", "__suppress_context__"})


def dump(error: BaseException) -> bytes:
    """Pickle an error so that `load` surely reads something back: the error, else its parts, else its text."""
    text = _text(error)
    for form in (_as_pickled, _as_parts, _as_readable_parts):
        try:
            blob = form(error)
            restored = pickle.loads(blob)()
        except BaseException:  # whatever the user's class does when pickled or rebuilt: the next form needs less of it
            continue
        if is_error(restored) and _bare_error.class_name(restored) == _bare_error.class_name(error):
            return pickle.dumps((blob, text))
    return pickle.dumps((b"", text))


def load(data: bytes) -> BaseException | None:
    """The error that `dump` wrote, or None where its class cannot be rebuilt in this process."""
    blob, _ = pickle.loads(data)
    if not blob:
        return None
    try:
        restored = pickle.loads(blob)()
    except KeyboardInterrupt:  # of the program's user, who waits for this
        raise
    except BaseException:  # the class's module may be missing here, or its code raise
        return None
    return restored if is_error(restored) else None


def is_error(value: Any) -> bool:
    return issubclass(type(value), BaseException)


def text_of(data: bytes) -> str:
    """The traceback that `dump` kept beside the error."""
    _, text = pickle.loads(data)
    return str(text)


def restore_task_error(fields: tuple[Any, ...], was_dual: bool) -> RayTaskError:
    """Unpickle a RayTaskError."""
    function_name, traceback_str, cause_data, *rest = fields
    cause = load(cause_data)
    if cause is None:
        cause = UnserializableException(text_of(cause_data))
    error = RayTaskError(function_name, traceback_str, cause, *rest)
    return error.as_instanceof_cause() if was_dual else error


def dual(error: RayTaskError) -> RayTaskError:
    """An instance of both RayTaskError and the class of its cause, with the cause's attributes.

    The cause's constructor is not called. raises: TypeError when its class cannot be a base class beside RayTaskError.
    """
    cause = error.cause
    cause_class = type(cause)
    if _bare_error.is_base(cause_class, of=RayTaskError):
        return error
    name = f"RayTaskError({_bare_error.class_name(cause).rpartition('.')[2]})"
    try:
        mixed = type(name, (RayTaskError, cause_class), {"__module__": "ray.exceptions", "__getattr__": _from_cause})
        instance = _blank(mixed, cause)
    except BaseException as reason:  # a final class, a metaclass or an __init_subclass__ of the user's that refuses
        raise TypeError(_said(reason)) from reason
    # Not isinstance(), which asks the user's class.
    made = cast(RayTaskError, instance)
    _copy_members(cause, instance)
    BaseException.args.__set__(instance, (cause,))  # type: ignore[attr-defined]
    RayTaskError._set_fields(
        made,
        error.function_name,
        error.traceback_str,
        cause,
        error.proctitle,
        error.pid,
        error.ip,
        error.actor_repr,
        error._actor_id,
    )
    return made


def _from_cause(self: RayTaskError, name: str) -> Any:
    """Attributes that the mixed class has not are its cause's."""
    fields = object.__getattribute__(self, "__dict__")
    # Dunder look-ups (copy, pickle, numpy's protocols) must not reach the cause: they would answer for it.
    if "cause" not in fields or (name.startswith("__") and name.endswith("__")):
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
    return getattr(fields["cause"], name)


def _blank(cls: type[BaseException], like: BaseException) -> BaseException:
    """An instance of `cls` made without any constructor of the user's."""
    if _bare_error.is_a(like, BaseExceptionGroup):
        return BaseExceptionGroup.__new__(cls, *_bare_error.args_of_group(like))  # type: ignore[type-var]
    return _bare(cls)


def _bare(cls: type[BaseException]) -> BaseException:
    # Each built-in base wants its own __new__, which takes no arguments. That of one with the layout of its own base
    # (MemoryError) is refused for a class whose first base is another; then the next one's serves.
    builtins: list[Any] = [
        base for base in _bare_error.bases(cls) if not base.__flags__ & _HEAP_TYPE and "__new__" in vars(base)
    ]
    for builtin in builtins:
        try:
            made: BaseException = builtin.__new__(cls)
        except TypeError as error:
            refusal = error
        else:
            return made
    raise refusal


def _members(error: BaseException) -> dict[str, Any]:
    """What the class keeps in C fields and __slots__ instead of __dict__ (errno, code, start ...)."""
    found: dict[str, Any] = {}
    for base in _bare_error.bases(type(error)):
        for name, descriptor in _bare_error.members(base).items():
            if isinstance(descriptor, _MEMBER_KINDS) and name not in _NO_COPY and name != "args" and name not in found:
                try:
                    found[name] = descriptor.__get__(error, type(error))
                except (AttributeError, TypeError):  # not set, or not for this kind of error
                    continue
    return found


def _set_members(members: dict[str, Any], target: BaseException) -> None:
    for name, value in members.items():
        for base in _bare_error.bases(type(target)):
            descriptor: Any = _bare_error.members(base).get(name)
            if isinstance(descriptor, _MEMBER_KINDS):
                try:
                    descriptor.__set__(target, value)
                except (AttributeError, TypeError):  # read-only: set when the instance was made
                    pass
                break


def _copy_members(source: BaseException, target: BaseException) -> None:
    _set_members(_members(source), target)


class _Whole:
    """A pickled error; calling it gives the error."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self) -> BaseException:
        # pickle keeps neither of these.
        return self.error


class _Parts:
    """An error in parts, for classes that their own constructor's arguments do not rebuild."""

    def __init__(
        self, cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any], members: dict[str, Any]
    ) -> None:
        self.cls, self.args, self.state, self.members = cls, args, state, members

    def __call__(self) -> BaseException:
        if _bare_error.is_base(BaseExceptionGroup, of=self.cls):
            message, members, *_ = self.args
            self.args = (message, tuple(map(_member, members)))
            error: BaseException = BaseExceptionGroup.__new__(self.cls, *self.args)  # type: ignore[type-var]
        else:
            error = _bare(self.cls)
        BaseException.args.__set__(error, self.args)  # type: ignore[attr-defined]
        if self.state:
            object.__getattribute__(error, "__dict__").update(self.state)
        _set_members(self.members, error)
        return error


def _member(member: BaseException | bytes) -> BaseException:
    """A member of a group, which may have travelled by itself."""
    if not isinstance(member, bytes):
        return member
    return load(member) or UnserializableException(text_of(member))


def _as_pickled(error: BaseException) -> bytes:
    from ray._runtime.values.pickler import dumps

    blob: bytes = dumps(_Whole(error))
    restored = pickle.loads(blob)()
    # A constructor that takes other things than it hands to Exception may rebuild into something else.
    if _bare_error.class_name(restored) != _bare_error.class_name(error) or str(restored) != str(error):
        raise ValueError("the error changes when it is pickled")
    return blob


def _as_parts(error: BaseException) -> bytes:
    from ray._runtime.values.pickler import dumps

    blob: bytes = dumps(_Parts(type(error), _args(error), _state(error), _members(error)))
    return blob


def _as_readable_parts(error: BaseException) -> bytes:
    """Like _as_parts; what cannot be pickled (locks, sockets) is replaced by its repr."""
    from ray._runtime.values.pickler import dumps

    if _bare_error.is_a(error, BaseExceptionGroup):
        message, members = _bare_error.args_of_group(error)
        args: tuple[Any, ...] = (message, list(map(dump, members)))
    else:
        args = tuple(_pickleable(value) for value in _args(error))
    blob: bytes = dumps(
        _Parts(
            type(error),
            args,
            {name: _pickleable(value) for name, value in _state(error).items()},
            {name: _pickleable(value) for name, value in _members(error).items()},
        )
    )
    return blob


def _state(error: BaseException) -> dict[str, Any]:
    try:
        return dict(object.__getattribute__(error, "__dict__"))
    except AttributeError:
        return {}


def _pickleable(value: Any) -> Any:
    from ray._runtime.values.pickler import dumps

    try:
        pickle.loads(dumps(value))
        return value
    except BaseException:  # any class may refuse in any way
        return _shown(value)


def _args(error: BaseException) -> tuple[Any, ...]:
    """What BaseException keeps of the constructor's arguments; of a group, its message and members."""
    if _bare_error.is_a(error, BaseExceptionGroup):
        return _bare_error.args_of_group(error)
    return _bare_error.args_of(error)


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except BaseException as reason:
        return f"<{type(value).__name__}, whose repr() raised {_bare_error.class_name(reason)}>"


def _said(error: BaseException) -> str:
    try:
        return f"{_bare_error.class_name(error)}: {error}"
    except BaseException:  # of a class of the user's again
        return _bare_error.class_name(error)


def _text(error: BaseException) -> str:
    return describe(error, "Traceback (most recent call last):")
