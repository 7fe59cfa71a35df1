"""Where tasks and actors are made, as the state tables show it when that is asked for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from manta_proto.gcs.v1 import task_pb2
from ray._runtime.execution.execution import run
from ray._runtime.specs.task_kind import TaskKind
from ray._runtime.tasks import call_sites
from ray._runtime.tasks.call_sites import call_site, kind_from_here


def test_a_call_site_is_the_users_stack_without_our_frames() -> None:
    lines = call_site().splitlines()
    assert lines[-1].strip() == "lines = call_site().splitlines()"
    assert "test_call_sites.py" in lines[-2]
    assert "_runtime" not in lines[-2]


def test_in_a_worker_it_begins_with_the_task() -> None:
    class StandInExecution:
        process = SimpleNamespace(is_fork=False)

        def begin(self, function: object) -> None: ...

    site = run(StandInExecution(), call_site, (), {})  # type: ignore[arg-type]
    assert site == ""
    site = run(StandInExecution(), lambda: call_site(), (), {})  # type: ignore[arg-type]
    assert site.count("File ") == 1


def test_tasks_of_one_place_are_of_one_kind_and_places_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = TaskKind(task_pb2.TaskKind(name="f", function="f"))
    first, second = [kind_from_here(kind) for _ in range(2)]
    assert first is second
    assert (first.message.name, "test_call_sites.py" in first.message.call_site) == ("f", True)
    assert kind.message.call_site == ""
    other = kind_from_here(kind)
    assert other is not first
    monkeypatch.setattr(call_sites, "SITES_LIMIT", 2)
    assert kind_from_here(kind) is kind
