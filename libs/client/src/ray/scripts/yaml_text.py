"""YAML for people: block style, indented by four, in the form that upstream's commands print."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

# What a reader would not take for a text, or not for the same one.
_PLAIN: Final = re.compile(r"^[A-Za-z_/.<(][^\n\t#]*$")
_AMBIGUOUS: Final = re.compile(r"^(true|false|yes|no|on|off|null|~|\.inf|\.nan|y|n)$|: |:$| $|^\.\d|\s#", re.IGNORECASE)
_INDENT: Final = " " * 4


def yaml_text(value: Any) -> str:
    """One document, from its mark to its end."""
    return "\n".join(["---", *_lines(value), "...", ""])


def _lines(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _entry(f"{_scalar(key)}:", inner, indent_lists=False)
    elif isinstance(value, list | tuple) and value:
        for inner in value:
            first, *rest = _lines(inner)
            yield f"-   {first}"
            yield from (f"{_INDENT}{line}" if line else line for line in rest)
    else:
        yield _scalar(value)


def _entry(head: str, value: Any, *, indent_lists: bool) -> Iterable[str]:
    if isinstance(value, str) and "\n" in value:
        yield f"{head} |-" if not value.endswith("\n") else f"{head} |"
        yield from (f"{_INDENT}{line}" if line else line for line in value.rstrip("\n").split("\n"))
    elif isinstance(value, Mapping) and value:
        yield head
        yield from (f"{_INDENT}{line}" for line in _lines(value))
    elif isinstance(value, list | tuple) and value:
        yield head
        yield from (f"{_INDENT if indent_lists else ''}{line}" for line in _lines(value))
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    text = str(value)
    if _PLAIN.match(text) and not _AMBIGUOUS.search(text):
        return text
    hexadecimal = re.fullmatch(r"[0-9a-f]+", text) and not re.fullmatch(r"[0-9]+(e[0-9]+)?", text)
    if hexadecimal:
        return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return json.dumps(text)
