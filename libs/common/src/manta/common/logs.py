"""The log: one line an event, key=value, to stderr or a file."""

import json
import logging
import os
import re
import sys
from typing import Any, Final, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_METHOD_LEVELS: Final = {**_LEVELS, "warn": 30, "exception": 40, "fatal": 50}
_FIRST: Final = ("ts", "level", "part", "logger", "event")
_PLAIN: Final = re.compile(r"[^\s\"=\\\x00-\x1f\x7f]+")


class _Output:
    """Where this process logs. One for the process, for its libraries log without being handed anything."""

    def __init__(self) -> None:
        self.part = ""
        self.level = _LEVELS["warning"]
        self._descriptor = -1  # of the log file; -1: stderr
        self._lost = 0

    def redirect(self, file: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        opened = os.open(file, flags, 0o600) if file else -1
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = opened

    def write(self, line: str) -> None:
        if self._lost:
            line = f"{line} lines_lost_before={self._lost}"
        try:
            self._write(line + "\n")
        except (OSError, ValueError):
            # A full disk, or a terminal that is gone, must not end the service. The next line tells of the loss.
            self._lost += 1
        else:
            self._lost = 0

    def _write(self, text: str) -> None:
        if self._descriptor >= 0:
            os.write(self._descriptor, text.encode(errors="backslashreplace"))
            return
        stream, original = sys.stderr, sys.__stderr__
        if original is not None and stream is original:
            # Past Python's buffer: what stays in it after a failure would fail again at exit, as exit code 120.
            os.write(original.fileno(), text.encode(errors="backslashreplace"))
        elif stream is not None:  # a notebook or a test captures it
            stream.write(text)
            stream.flush()

    # structlog calls the method that was called on the logger.
    debug = info = warning = warn = error = exception = critical = fatal = write


_OUTPUT: Final = _Output()


def get(name: str) -> FilteringBoundLogger:
    """A logger: log.info("lease_granted", lease_id=..., waited_s=...); bytes are shown in hex, in full.

    It may be made before configure, which then holds for it as well; until then warnings go to stderr.
    """
    # Wrapped by hand, since structlog's own configuration is global and belongs to the user's program.
    wrapped = structlog.wrap_logger(
        _OUTPUT,
        processors=[_drop_below_level, structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"), _render],
        wrapper_class=structlog.make_filtering_bound_logger(0),  # configure sets the level later
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return cast(FilteringBoundLogger, wrapped.bind(logger=name))


def configure(part: str, level: str, file: str = "") -> None:
    """Send events of this level and above, and the standard library's, to stderr or a file.

    part: shown in each line. level: debug, info, warning or error. raises: ValueError for another level, OSError
    when the file cannot be opened.
    """
    if level not in _LEVELS:
        raise ValueError(f"log level {level!r} is not one of {', '.join(_LEVELS)}")
    _OUTPUT.redirect(file)
    _OUTPUT.part, _OUTPUT.level = part, _LEVELS[level]
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Forwarder)]:
        root.removeHandler(handler)
    root.addHandler(_Forwarder())
    # Libraries tell their inner life at debug and info; what an operator needs begins at warning.
    root.setLevel(max(_OUTPUT.level, logging.WARNING))
    logging.getLogger("manta").setLevel(_OUTPUT.level)


class _Forwarder(logging.Handler):
    """Turns the standard library's records into events; `fields` of a record become fields of the event."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = dict(getattr(record, "fields", {}))
        event = record.getMessage()
        if not record.name.startswith("manta."):
            event, fields["message"] = "library_logged", event
        if record.exc_info and record.exc_info[0] is not None:
            fields["exc_info"] = record.exc_info
        method = next((name for name, level in _LEVELS.items() if record.levelno <= level), "critical")
        getattr(get(record.name), method)(event, **fields)


def _drop_below_level(_: Any, method: str, event: EventDict) -> EventDict:
    if _METHOD_LEVELS.get(method, 50) < _OUTPUT.level:
        raise structlog.DropEvent
    return event


def _render(_: Any, method: str, event: EventDict) -> str:
    event = structlog.processors.format_exc_info(_OUTPUT, method, event)
    event["level"] = "error" if method == "exception" else method
    event["part"] = _OUTPUT.part or "-"
    first = [(key, event.pop(key)) for key in _FIRST if key in event]
    return " ".join(f"{key}={_shown(value)}" for key, value in [*first, *event.items()])


def _shown(value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        return value.hex() or '""'
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    # One event is one line: a traceback or a peer's text cannot begin another.
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=True)
