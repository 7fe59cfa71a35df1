"""The log: one line an event, key=value, to stderr or a file."""

import json
import logging
import os
import re
import sys
import time
import traceback
from types import TracebackType
from typing import Any, Final

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
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


_OUTPUT: Final = _Output()


class EventLogger:
    """Logs events: log.info("lease_granted", lease_id=..., waited_s=...); bytes are shown in hex, in full.

    Ours, since importing structlog costs each service 0.14 s of CPU at start (it loads rich), half of what an import
    of grpc does; it is one line of text that we need.
    """

    __slots__ = ("_fields", "_name")

    def __init__(self, name: str, fields: dict[str, Any]) -> None:
        self._name = name
        self._fields = fields

    def bind(self, **fields: Any) -> "EventLogger":
        """A logger that adds these fields to each of its events."""
        return EventLogger(self._name, {**self._fields, **fields})

    def debug(self, event: str, **fields: Any) -> None:
        self.log("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self.log("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self.log("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self.log("error", event, fields)

    def critical(self, event: str, **fields: Any) -> None:
        self.log("critical", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """An error with the traceback of the exception that is being handled."""
        self.log("error", event, {"exc_info": True, **fields})

    def log(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """Log at a level given by name."""
        if _LEVELS[level] < _OUTPUT.level:
            return
        shown = {**self._fields, **fields}
        exc_info = shown.pop("exc_info", None)
        if exc_info:
            shown["exception"] = _traceback_of(exc_info)
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"
        head = {"ts": stamp, "level": level, "part": _OUTPUT.part or "-", "logger": self._name, "event": event}
        _OUTPUT.write(" ".join(f"{key}={_shown(value)}" for key, value in [*head.items(), *shown.items()]))


def get(name: str) -> EventLogger:
    """A logger. It may be made before configure, which then holds for it too; until then warnings go to stderr."""
    return EventLogger(name, {})


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
        level = next((name for name, number in _LEVELS.items() if record.levelno <= number), "critical")
        get(record.name).log(level, event, fields)


_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def _traceback_of(exc_info: "bool | BaseException | _ExcInfo | tuple[None, None, None]") -> str:
    if isinstance(exc_info, BaseException):
        return "".join(traceback.format_exception(exc_info)).rstrip()
    kind, error, trace = exc_info if isinstance(exc_info, tuple) else sys.exc_info()
    return "".join(traceback.format_exception(kind, error, trace)).rstrip() if error is not None else "none"


def _shown(value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        return value.hex() or '""'
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    # One event is one line: a traceback or a peer's text cannot begin another.
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=True)
