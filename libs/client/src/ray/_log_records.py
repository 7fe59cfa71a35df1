"""How the records of a job's loggers look with a LoggingConfig: who wrote them, and as text or JSON."""

from __future__ import annotations

import json
import logging
from typing import Any, Final

from ray._runtime import current
from ray.job_config import STANDARD_ATTRIBUTES, LoggingConfig

_TEXT: Final = "%(asctime)s\t%(levelname)s %(filename)s:%(lineno)s -- %(message)s"


class WriterFilter(logging.Filter):
    """Gives each record the ids of the job, node and process that write it, in a worker those of task and actor too."""

    def filter(self, record: logging.LogRecord) -> bool:
        runtime = current.runtime_or_none()
        if runtime is not None:
            found = {
                "job_id": runtime.job_id.hex(),
                "worker_id": runtime.worker_id.hex(),
                "node_id": runtime.node_id.hex(),
            }
            if not runtime.is_driver:
                state = runtime.context()
                found["actor_id"] = (state.get("actor_id") or b"").hex()
                found["task_id"] = (state.get("task_id") or b"").hex()
                found["task_name"] = state.get("task_name") or ""
                found["task_func_name"] = state.get("function_name") or ""
                found["actor_name"] = state.get("actor_name") or ""
            record.__dict__.update({name: value for name, value in found.items() if value})
        return True


def fields_of(record: logging.LogRecord, additional: list[str]) -> dict[str, Any]:
    """The additional standard attributes, then what the record has beyond those of logging, then its time."""
    found = {name: getattr(record, name, None) for name in additional}
    found |= {name: value for name, value in record.__dict__.items() if name not in STANDARD_ATTRIBUTES}
    found["timestamp_ns"] = int(record.created * 1e9)
    return found


class JsonFormatter(logging.Formatter):
    """One JSON object a line. A value that JSON has no form for is shown as str() shows it."""

    def __init__(self, additional: list[str]) -> None:
        super().__init__()
        self._additional = additional

    def format(self, record: logging.LogRecord) -> str:
        shown = {
            "asctime": self.formatTime(record),
            "levelname": record.levelname,
            "message": record.getMessage(),
            "filename": record.filename,
            "lineno": record.lineno,
            "process": record.process,
        }
        if record.exc_info:
            record.exc_text = record.exc_text or self.formatException(record.exc_info)
            shown["exc_text"] = record.exc_text
        return json.dumps({**shown, **fields_of(record, self._additional)}, default=str)


class TextFormatter(logging.Formatter):
    """The line as ever, then key=value of all fields."""

    def __init__(self, additional: list[str]) -> None:
        super().__init__(_TEXT)
        self._additional = additional

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={value}" for name, value in fields_of(record, self._additional).items())
        return f"{super().format(record)} {fields}"


class _Handler(logging.StreamHandler[Any]):
    """Of its own class, so that another LoggingConfig takes the place of this one."""


def apply(config: LoggingConfig) -> None:
    """Have the root logger, and that of ray, write to stderr as the config says. raises: ValueError for its level."""
    handler = _Handler()
    handler.setLevel(config.log_level)
    formatter = JsonFormatter if config.encoding == "JSON" else TextFormatter
    handler.setFormatter(formatter(config.additional_log_standard_attrs))
    handler.addFilter(WriterFilter())
    root, ours = logging.getLogger(), logging.getLogger("ray")
    root.handlers = [*(kept for kept in root.handlers if not isinstance(kept, _Handler)), handler]
    ours.handlers = [handler]
    ours.propagate = False
    for logger in (root, ours):
        logger.setLevel(config.log_level)
