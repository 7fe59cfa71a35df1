import pytest
from manta_common.settings import SettingsError
from manta_proto.gcs.v1 import task_pb2
from manta_raylet.clients.task_event_backlog import TaskEventBacklog
from manta_raylet.server.settings import RayletSettings


def events(tasks: int) -> task_pb2.TaskEvents:
    return task_pb2.TaskEvents(finished=[task_pb2.FinishedTasks(task_ids=bytes(24 * tasks))])


def test_what_waits_is_taken_once_in_order() -> None:
    backlog = TaskEventBacklog(limit_bytes=100)
    backlog.add(10, events(1))
    backlog.add(10, events(2))
    assert [len(told.finished[0].task_ids) // 24 for told in backlog.take()] == [1, 2]
    assert not backlog
    assert list(backlog.take()) == []


def test_beyond_its_bound_the_oldest_go_and_are_counted() -> None:
    backlog = TaskEventBacklog(limit_bytes=100)
    for tasks in (3, 4, 5):
        backlog.add(50, events(tasks))
    told = list(backlog.take())
    assert [len(one.finished[0].task_ids) // 24 for one in told] == [4, 5]
    assert [one.dropped for one in told] == [3, 0]


def settings(config: str = "{}") -> RayletSettings:
    return RayletSettings(listen="127.0.0.1:0", gcs=("127.0.0.1:1",), node_dir="/nowhere", system_config=config)


def test_the_interval_comes_from_system_config_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().task_event_interval_ms == 1000
    monkeypatch.setenv("RAY_task_events_report_interval_ms", "0")
    assert settings().task_event_interval_ms == 0
    assert settings('{"task_events_report_interval_ms": 250}').task_event_interval_ms == 250
    with pytest.raises(SettingsError, match="soon"):
        _ = settings('{"task_events_report_interval_ms": "soon"}').task_event_interval_ms


def test_the_limit_of_lineage_comes_from_system_config_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().max_lineage_bytes == 1 << 30
    monkeypatch.setenv("RAY_max_lineage_bytes", "5000")
    assert settings().max_lineage_bytes == 5000
    assert settings('{"max_lineage_bytes": 0}').max_lineage_bytes == 0
    with pytest.raises(SettingsError, match="-3"):
        _ = settings('{"max_lineage_bytes": -3}').max_lineage_bytes
