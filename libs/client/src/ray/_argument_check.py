"""Whether a call's arguments fit a function, known at the call and not only when the worker makes it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_VARARGS = 0x04
_VARKEYWORDS = 0x08


class ArgumentCheck:
    """The parameters of one function, in a form that travels with actor handles.

    `least` to `most` positional arguments and no keywords always fit; callers test that themselves, it is the common
    case, and call this one for the rest. raises: TypeError as the function itself would.
    """

    __slots__ = ("keyword_only", "least", "most", "name", "positional", "positional_only", "required", "varkeywords")

    def __init__(
        self,
        name: str,
        positional: tuple[str, ...],
        positional_only: int,
        required: frozenset[str],
        keyword_only: frozenset[str],
        varargs: bool,
        varkeywords: bool,
    ) -> None:
        self.name = name
        self.positional = positional
        self.positional_only = positional_only
        self.required = required
        self.keyword_only = keyword_only
        self.varkeywords = varkeywords
        self.most = sys.maxsize if varargs else len(positional)
        needed = [index for index, parameter in enumerate(positional, 1) if parameter in required]
        # A required keyword makes a call without keywords never fit.
        self.least = sys.maxsize if required & keyword_only else max(needed, default=0)

    @classmethod
    def of(cls, function: Callable[..., Any], *, skip_first: bool = False) -> ArgumentCheck:
        """skip_first: the runtime fills the first parameter (self, cls). cost: no inspect for plain functions."""
        code = getattr(function, "__code__", None)
        name = getattr(function, "__name__", repr(function))
        if code is None:
            return cls._inspected(function, name, skip_first)
        names = code.co_varnames
        count = code.co_argcount
        positional = names[:count]
        keyword_only = names[count : count + code.co_kwonlyargcount]
        defaults = getattr(function, "__defaults__", None) or ()
        keyword_defaults = getattr(function, "__kwdefaults__", None) or {}
        required = {*positional[: count - len(defaults)], *(k for k in keyword_only if k not in keyword_defaults)}
        positional_only = code.co_posonlyargcount
        if skip_first and positional:
            required.discard(positional[0])
            positional = positional[1:]
            positional_only = max(0, positional_only - 1)
        return cls(
            name,
            positional,
            positional_only,
            frozenset(required),
            frozenset(keyword_only),
            bool(code.co_flags & _VARARGS),
            bool(code.co_flags & _VARKEYWORDS),
        )

    @classmethod
    def _inspected(cls, function: Callable[..., Any], name: str, skip_first: bool) -> ArgumentCheck:
        """For functions of native code. Those that tell nothing of their parameters take everything."""
        import inspect

        try:
            parameters = list(inspect.signature(function).parameters.values())[int(skip_first) :]
        except (TypeError, ValueError):
            return cls(name, (), 0, frozenset(), frozenset(), True, True)
        kinds = inspect.Parameter
        by_position = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
        by_keyword = [p for p in parameters if p.kind is kinds.KEYWORD_ONLY]
        return cls(
            name,
            tuple(p.name for p in by_position),
            sum(p.kind is kinds.POSITIONAL_ONLY for p in by_position),
            frozenset(p.name for p in (*by_position, *by_keyword) if p.default is kinds.empty),
            frozenset(p.name for p in by_keyword),
            any(p.kind is kinds.VAR_POSITIONAL for p in parameters),
            any(p.kind is kinds.VAR_KEYWORD for p in parameters),
        )

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = len(args)
        if given > self.most:
            raise TypeError(
                f"too many positional arguments: {self.name}() takes at most {self.most} but {given} were given"
            )
        by_position = set(self.positional[:given])
        by_keyword = {*self.positional[self.positional_only :], *self.keyword_only}
        for name in kwargs:
            if name not in by_keyword:
                # With **kwargs even the name of a positional-only parameter is free.
                if self.varkeywords:
                    continue
                raise TypeError(f"got an unexpected keyword argument {name!r} for {self.name}()")
            if name in by_position:
                raise TypeError(f"multiple values for argument {name!r} of {self.name}()")
        by_position.update(name for name in kwargs if name in by_keyword)
        missing = [
            name for name in (*self.positional, *sorted(self.keyword_only)) if name in self.required - by_position
        ]
        if missing:
            listed = ", ".join(repr(name) for name in missing)
            raise TypeError(f"missing a required argument: {self.name}() needs {listed}")
