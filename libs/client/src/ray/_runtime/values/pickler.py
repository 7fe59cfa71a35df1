"""cloudpickle's pickler, told what it leaves out: the files of code, the slots of classes, whose a class is.

cloudpickle carries functions and classes of `__main__` by value. It makes their code anew without the name of its file,
by which a traceback finds the line; and a class without `__slots__`, whose instances then do not fit the class they
came from. And when such a class comes home with a value, it overwrites the class there with what was pickled once. Here
a class is left alone in the process that defined it.
"""

from __future__ import annotations

import io
import weakref
from collections import ChainMap
from collections.abc import Callable
from enum import Enum
from types import CodeType, FunctionType
from typing import Any, Final

import cloudpickle

_reduce_code: Final[Callable[[CodeType], tuple[Any, ...]]] = cloudpickle.Pickler.dispatch_table[CodeType]
# Classes that were pickled here and had not come from elsewhere; and those that had.
_defined_here: Final[weakref.WeakSet[type]] = weakref.WeakSet()
_came: Final[weakref.WeakSet[type]] = weakref.WeakSet()


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles as cloudpickle.Pickler; what it writes is read by plain pickle where this module can be imported."""

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if issubclass(kind, type):
            return _with_slots(value, super().reducer_override(value))
        if kind is FunctionType:
            return super().reducer_override(value)
        return NotImplemented


def _code_with_file(code: CodeType) -> tuple[Any, ...]:
    make, arguments = _reduce_code(code)[:2]
    return _make_code, (code.co_filename, make, arguments)


# Looked at for what is neither a function nor a class.
Pickler.dispatch_table = ChainMap({CodeType: _code_with_file}, cloudpickle.Pickler.dispatch_table)


def dumps(value: Any) -> bytes:
    """As pickle.dumps, by Pickler."""
    file = io.BytesIO()
    Pickler(file, protocol=5).dump(value)
    return file.getvalue()


def _make_code(filename: str, make: Callable[..., CodeType], arguments: tuple[Any, ...]) -> CodeType:
    return make(*arguments).replace(co_filename=filename)


def _with_slots(cls: type, reduced: Any) -> Any:
    """What cloudpickle makes of a class that it carries by value, with the slots among what the class is made with."""
    if not isinstance(reduced, tuple) or len(reduced) != 6:
        return reduced
    make, arguments, (members, slots), items, pairs, set_state = reduced
    # An enum is made in another way, and has no instances but its members.
    declared = None if issubclass(cls, Enum) else members.pop("__slots__", None)
    if declared is not None:
        # A namespace of the new class is the one dict among them.
        namespace = next(argument for argument in arguments if isinstance(argument, dict))
        namespace["__slots__"] = _named(cls, declared)
    if cls not in _came:
        _defined_here.add(cls)
    return make, arguments, (set_state, (members, slots)), items, pairs, _set_state


def _named(cls: type, declared: Any) -> Any:
    """The slots as declared; those of an iterator, which is used up, by what became of them."""
    if isinstance(declared, (str, tuple, list, dict, set, frozenset)):
        return declared
    return tuple(name for name, member in vars(cls).items() if type(member).__name__ == "member_descriptor")


def _set_state(cls: type, state: tuple[Callable[[type, Any], Any], Any]) -> None:
    if cls not in _defined_here:
        _came.add(cls)
        set_state, members = state
        set_state(cls, members)
