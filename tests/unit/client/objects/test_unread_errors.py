"""An error that nobody got is said once its last reference goes; tasks that run again are told of now and then."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from ray._runtime.objects.object_table import ObjectTable
from ray._runtime.objects.unread_errors import UnreadErrors
from ray._runtime.specs.task_record import TaskRecord, Timing
from ray._runtime.tasks import retry_notices
from ray._runtime.tasks.retry_notices import RetryNotices
from ray._runtime.values.object_ref import ObjectRef


class Owner:
    """What of a process is needed here; `said` empties what it would do after its lock."""

    def __init__(self) -> None:
        self.objects = ObjectTable()
        self.woken: list[Any] = []
        process: Any = self
        self.unread = UnreadErrors(process)
        self.notices = RetryNotices(process)

    def task(self, number: int, returns: int = 1, name: str = "module.f") -> TaskRecord:
        options: Any = SimpleNamespace(name="", retry_exceptions=False)
        record = TaskRecord(bytes([number]) * 24, name, returns, None, options, Timing(), 3)
        for object_id in record.return_ids():
            self.objects.create(object_id)
        return record

    def fail(self, record: TaskRecord, text: str) -> None:
        self.unread.failed(record, record.return_ids(), text)

    def free(self, object_id: bytes) -> None:
        self.objects.remove(object_id)
        self.unread.freed(object_id)

    def said(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        woken, self.woken = self.woken, []
        caplog.clear()
        with caplog.at_level(logging.WARNING, "ray.runtime"):
            for waiter, object_id in woken:
                waiter(object_id)
        return [record.getMessage() for record in caplog.records]


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> Owner:
    monkeypatch.delenv("RAY_IGNORE_UNHANDLED_ERRORS", raising=False)
    return Owner()


def test_an_error_is_said_when_its_object_is_freed_unread(owner: Owner, caplog: pytest.LogCaptureFixture) -> None:
    task = owner.task(1)
    owner.fail(task, "ray::f() (pid=1)\nValueError: x")
    assert owner.said(caplog) == []
    owner.free(task.return_ids()[0])
    said = owner.said(caplog)
    assert said == ["Unhandled error (suppress with 'RAY_IGNORE_UNHANDLED_ERRORS=1'): ray::f() (pid=1)\nValueError: x"]
    assert not owner.unread.errors


def test_an_error_that_was_read_is_not_said(owner: Owner, caplog: pytest.LogCaptureFixture) -> None:
    task = owner.task(1)
    owner.fail(task, "text")
    owner.unread.read_all([ObjectRef(task.return_ids()[0])])
    owner.free(task.return_ids()[0])
    assert owner.said(caplog) == [] and not owner.unread.errors


def test_results_of_one_task_share_its_error(owner: Owner, caplog: pytest.LogCaptureFixture) -> None:
    for number, is_read in ((1, False), (2, True)):
        task = owner.task(number, returns=3)
        owner.fail(task, "text")
        if is_read:
            owner.unread.read(task.return_ids()[1])
        for object_id in task.return_ids():
            owner.free(object_id)
        assert len(owner.said(caplog)) == (0 if is_read else 1)


def test_an_error_that_comes_after_its_references_went_is_said_at_once(
    owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    task = owner.task(1)
    owner.free(task.return_ids()[0])
    owner.fail(task, "text")
    assert len(owner.said(caplog)) == 1
    again = owner.task(2)
    owner.free(again.return_ids()[0])
    again.kept = True  # it runs for another object, which was lost
    owner.fail(again, "text")
    assert owner.said(caplog) == []


def test_a_task_that_takes_an_error_has_it_instead(owner: Owner, caplog: pytest.LogCaptureFixture) -> None:
    first, second = owner.task(1), owner.task(2, name="module.Outer.g")
    owner.fail(first, "the first one's text")
    owner.unread.inherited(second, [ObjectRef(first.return_ids()[0])])
    owner.free(first.return_ids()[0])
    assert owner.said(caplog) == []
    owner.free(second.return_ids()[0])
    (said,) = owner.said(caplog)
    assert "ray::g()\n  At least one of the input arguments" in said and said.endswith("the first one's text")


def test_the_environment_turns_it_off(
    owner: Owner, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    task = owner.task(1)
    owner.fail(task, "text")
    owner.free(task.return_ids()[0])
    assert owner.said(caplog) == []


def test_a_retry_is_told_with_what_is_left(
    owner: Owner, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(retry_notices.time, "monotonic", lambda: now[0])
    task = owner.task(1)
    owner.notices.failed(task, "why", 2)
    assert owner.said(caplog) == [
        "Task f failed. There are 2 retries remaining, so the task will be retried. Error: why"
    ]
    for _ in range(5):
        owner.notices.failed(task, "why", 1)
    assert owner.said(caplog) == []
    now[0] += retry_notices.EVERY_S
    owner.notices.failed(task, "again", -1)
    (said,) = owner.said(caplog)
    assert "There are infinite retries remaining" in said and "5 more attempts" in said
