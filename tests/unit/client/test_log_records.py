"""LoggingConfig: its fields, how records look with it, and how it travels."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ray import _log_records
from ray._runtime import current
from ray.job_config import JobConfig, LoggingConfig


@pytest.fixture
def _loggers() -> Iterator[None]:
    """Root and ray's logger as they were."""
    kept = [(log, log.level, list(log.handlers), log.propagate) for log in (logging.root, logging.getLogger("ray"))]
    yield
    for log, level, handlers, propagate in kept:
        log.setLevel(level)
        log.handlers, log.propagate = handlers, propagate


@pytest.fixture
def in_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    context = {"actor_id": b"\1", "task_id": b"\2", "task_name": "A.m", "function_name": "mod.A.m", "actor_name": ""}
    worker = SimpleNamespace(
        job_id=b"\3", worker_id=b"\4", node_id=b"\5", is_driver=False, context=lambda: {**context, "resources": {}}
    )
    monkeypatch.setattr(current, "_runtime", worker)


def record(**extra: Any) -> logging.LogRecord:
    made = logging.getLogger("app").makeRecord(
        "app", logging.WARNING, "/x/program.py", 7, "got %d", (3,), None, extra=extra
    )
    assert _log_records.WriterFilter().filter(made)
    return made


OURS = {"job_id": "03", "worker_id": "04", "node_id": "05"}
IN_ACTOR = {**OURS, "actor_id": "01", "task_id": "02", "task_name": "A.m", "task_func_name": "mod.A.m"}


@pytest.mark.usefixtures("in_actor")
def test_a_record_as_json_has_the_fields_of_upstream() -> None:
    made = record(shape=(2, 3), odd={1j})
    shown = json.loads(_log_records.JsonFormatter(["name", "funcName"]).format(made))
    assert list(shown.items())[1:-1] == [
        ("levelname", "WARNING"),
        ("message", "got 3"),
        ("filename", "program.py"),
        ("lineno", 7),
        ("process", made.process),
        ("name", "app"),
        ("funcName", None),
        ("shape", [2, 3]),
        ("odd", "{1j}"),
        *IN_ACTOR.items(),
    ]
    assert next(iter(shown)) == "asctime"
    assert shown["timestamp_ns"] == int(made.created * 1e9)


@pytest.mark.usefixtures("in_actor")
def test_a_record_as_text_ends_with_the_fields() -> None:
    line = _log_records.TextFormatter(["name"]).format(record(step=1))
    fields = " ".join(f"{key}={value}" for key, value in IN_ACTOR.items())
    assert f"WARNING program.py:7 -- got 3 name=app step=1 {fields} timestamp_ns=" in line


def test_a_driver_and_a_process_that_is_not_connected_have_fewer_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current, "_runtime", None)
    assert "job_id" not in json.loads(_log_records.JsonFormatter([]).format(record()))
    driver = SimpleNamespace(job_id=b"\3", worker_id=b"\4", node_id=b"\5", is_driver=True)
    monkeypatch.setattr(current, "_runtime", driver)
    shown = json.loads(_log_records.JsonFormatter([]).format(record()))
    assert {key: shown.get(key) for key in IN_ACTOR} == {**dict.fromkeys(IN_ACTOR), **OURS}


def test_an_exception_is_one_field() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        made = record()
        made.exc_info = sys.exc_info()
    shown = json.loads(_log_records.JsonFormatter([]).format(made))
    assert shown["exc_text"].startswith("Traceback (most recent call last):\n")
    assert shown["exc_text"].endswith("ValueError: bad")


@pytest.mark.usefixtures("_loggers")
def test_root_and_ray_write_by_one_handler_however_often_it_is_applied() -> None:
    before = list(logging.root.handlers)
    _log_records.apply(LoggingConfig(encoding="JSON"))
    _log_records.apply(LoggingConfig(log_level="ERROR"))
    (handler,) = (one for one in logging.root.handlers if one not in before)
    assert handler.level == logging.root.level == logging.getLogger("ray").level == logging.ERROR
    assert logging.getLogger("ray").handlers == [handler]
    assert not logging.getLogger("ray").propagate
    with pytest.raises(ValueError, match="Unknown level"):
        _log_records.apply(LoggingConfig(log_level="LOUD"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"encoding": "json"}, "Invalid encoding type: json. Valid encoding types are: .'TEXT', 'JSON'"),
        (
            {"additional_log_standard_attrs": ["name", "nonsense"]},
            "Unknown python logging standard attribute: nonsense",
        ),
    ],
)
def test_bad_fields_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LoggingConfig(**fields)


def test_it_travels_in_the_job_config() -> None:
    job = JobConfig()
    assert JobConfig.from_json(job.to_json()).py_logging_config is None
    config = LoggingConfig(encoding="JSON", log_level="DEBUG", additional_log_standard_attrs=["name"])
    job.set_py_logging_config(config)
    assert JobConfig.from_json(job.to_json()).py_logging_config == config
    assert LoggingConfig.from_dict({**config.to_dict(), "of_a_later_version": 1}) == config
