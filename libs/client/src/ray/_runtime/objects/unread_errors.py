"""Errors of this process's tasks that nobody has looked at: when the last reference goes, the error is said instead.

Kept are the texts, by object, from the reply that brings the error until the object is freed; a task's results share
one. An object that is freed before its error comes can be read by nobody, so its error is said at once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from ray._runtime.objects.object_table import ObjectState

if TYPE_CHECKING:
    from ray._runtime.process.process import Process
    from ray._runtime.specs.task_record import TaskRecord
    from ray._runtime.values.object_ref import ObjectRef

log = logging.getLogger("ray.runtime")

_IGNORE: Final = "RAY_IGNORE_UNHANDLED_ERRORS"


class _Error:
    __slots__ = ("heard", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        # Somebody read it, or it was said.
        self.heard = False


class UnreadErrors:
    """Of `process`. All but `read` and `read_all` is called with its lock held, and after_lock follows."""

    __slots__ = ("_process", "errors")

    def __init__(self, process: Process) -> None:
        self._process = process
        # Mostly empty: whoever comes by looks at that first.
        self.errors: dict[bytes, _Error] = {}

    def failed(self, record: TaskRecord, object_ids: Sequence[bytes], text: str) -> None:
        """A task is about to end with an error that its code, or the death of its worker, made."""
        if not object_ids:
            return
        error = _Error(text)
        entries = [(object_id, self._process.objects.get(object_id)) for object_id in object_ids]
        for object_id, entry in entries:
            if entry is not None and entry.state is ObjectState.PENDING:
                self.errors[object_id] = error
        # One that runs again for an object that was lost has told its first error, if it had one.
        if not record.kept and all(entry is None for _, entry in entries):
            self._say(error)

    def inherited(self, record: TaskRecord, refs: Sequence[ObjectRef]) -> None:
        """A task cannot run, for some of these arguments are errors: it has them now, and may be read instead."""
        errors = [self.errors[ref._id] for ref in refs if ref._id in self.errors]
        for error in errors:
            error.heard = True
        if errors:
            text = f"ray::{record.shown_name()}()\n  At least one of the input arguments for this task could not be "
            self.failed(record, record.return_ids(), f"{text}computed:\n{errors[0].text}")

    def read(self, object_id: bytes) -> None:
        """Somebody got the error, or asked for it from elsewhere. On any thread."""
        error = self.errors.get(object_id)
        if error is not None:
            error.heard = True

    def read_all(self, refs: Sequence[ObjectRef]) -> None:
        for ref in refs:
            self.read(ref._id)

    def freed(self, object_id: bytes) -> None:
        """Nothing refers to the object any more."""
        error = self.errors.pop(object_id, None)
        if error is not None:
            self._say(error)

    def _say(self, error: _Error) -> None:
        if not error.heard and os.environ.get(_IGNORE, "0") in ("", "0"):
            error.heard = True
            self._process.woken.append((partial(_write, error.text), b""))


def _write(text: str, _object_id: bytes) -> None:
    log.error("Unhandled error (suppress with '%s=1'): %s", _IGNORE, text)
