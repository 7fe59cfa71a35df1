"""The text of an error that user code raised: its traceback and those of its causes, without the frames of ours."""

from __future__ import annotations

import traceback

from ray import _bare_error
from ray._own_code import is_ours
from ray.exceptions.base import RayError

_HEADER = "Traceback (most recent call last):\n"


def describe(error: BaseException, heading: str) -> str:
    """The traceback as text, with the heading in place of each "Traceback (most recent call last)".

    An error whose own frames all are ours keeps them: nothing else would tell where it came from.
    """
    # The text of an error is made by its class, which may do anything, also in what is looked up to make it.
    try:
        told = traceback.TracebackException(type(error), error, _bare_error.traceback_of(error), compact=True)
        own = list(told.stack)
        _hide_ours(told)
        if not told.stack and not _bare_error.is_a(error, RayError):
            told.stack.extend(own)
        text = "".join(heading + "\n" if line == _HEADER else line for line in told.format())
    except BaseException as reason:
        text = f"{_bare_error.class_name(error)} (its text could not be made: {_bare_error.class_name(reason)})"
    text = text.rstrip("\n")
    return text if text.startswith(heading) else f"{heading}\n{text}"


def _hide_ours(told: traceback.TracebackException) -> None:
    queue = [told]
    while queue:
        each = queue.pop()
        each.stack[:] = [frame for frame in each.stack if not is_ours(frame.filename)]
        others = (each.__cause__, each.__context__, *(each.exceptions or ()))
        queue.extend(other for other in others if other is not None)
