"""The end of a process that user code forked in a task or method, where its code comes back to the runtime.

The call is the parent's, which goes on with it: the child has no result to give, no socket to write to and no loop to
run. It ends as a program does at the end of its code, but without functions registered with atexit, which are the
parent's.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any, NoReturn

from ray import _bare_error


def end_forked_child(error: BaseException | None = None) -> NoReturn:
    """End this process. error: what its code raised: SystemExit gives the status, others are printed and give 1."""
    status = 0
    try:
        if error is not None and _bare_error.is_a(error, SystemExit):
            code = _bare_error.exit_code(error)
            status = exit_status(code)
            if status and type(code) is str:
                print(code, file=sys.stderr)
        elif error is not None:
            status = 1
            traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def exit_status(code: Any) -> int:
    """The status with which a process would end, as the interpreter computes it. code: of a SystemExit."""
    if code is None:
        return 0
    return code & 0xFF if type(code) in (int, bool) else 1
