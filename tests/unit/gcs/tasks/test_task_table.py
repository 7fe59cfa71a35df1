"""The table of tasks: what owners and executors tell, how it is bounded, and what is answered about it."""

from __future__ import annotations

import pytest
from manta_common.metrics import Metrics
from manta_common.state_filter import StateFilter
from manta_gcs.kernel.events import Moment
from manta_gcs.requests.task_query import TaskQuery
from manta_gcs.server.gcs_metrics import GcsMetrics
from manta_gcs.tasks.pending_reason import PendingReasons
from manta_gcs.tasks.task_table import LINGER_S, OTHERS, CountedAs, TaskTable
from manta_proto.gcs.v1 import gcs_pb2, task_pb2

from tests.unit.gcs.core_driver import CoreDriver, address, node_id, resources

JOB = b"\1\0\0\0"
OWNER = address(1, 1)
NOW = Moment(100.0, 1e9)


def task_id(number: int) -> bytes:
    return number.to_bytes(8, "big") + b"\xff" * 12 + JOB


def kind(function: str = "f", job: bytes = JOB) -> task_pb2.TaskKind:
    return task_pb2.TaskKind(name=function, function=function, type=task_pb2.NORMAL_TASK, job_id=job)


def finished(*numbers: int, status: int = task_pb2.FINISHED, told: bool = False) -> task_pb2.FinishedTasks:
    count = len(numbers)
    return task_pb2.FinishedTasks(
        worker=address(1, 2),
        status=status,
        told=told,
        task_ids=b"".join(task_id(number) for number in numbers),
        created_at=[1.0] * count,
        queued_at=[0.0] * count,
        sent_at=[2.0] * count,
        ended_at=[float(number) for number in numbers],
        execution_us=[10] * count,
    )


def live(number: int, status: int = task_pb2.SUBMITTED_TO_WORKER, attempt: int = 0) -> task_pb2.LiveTask:
    return task_pb2.LiveTask(task_id=task_id(number), status=status, attempt=attempt, created_at=1.0)


def told(teller: object = OWNER, **fields: object) -> task_pb2.TaskEvents:
    fields.setdefault("kinds", [kind()])
    return task_pb2.TaskEvents(teller=teller, pid=7, **fields)  # type: ignore[arg-type]


def listing(table: TaskTable, *filters: StateFilter, limit: int = 100) -> task_pb2.TaskList:
    return TaskQuery(filters, limit).answer(table, (), PendingReasons(()))


def ids(reply: task_pb2.TaskList) -> list[bytes]:
    rows = [task.task_id for task in reply.live]
    for group in reply.finished:
        rows += [group.task_ids[at : at + 24] for at in range(0, len(group.task_ids), 24)]
    return rows


def counts(table: TaskTable) -> dict[str, int]:
    return {task_pb2.TaskStatus.Name(key.status): count for key, count in table.counts().items()}


def test_a_task_is_told_of_while_it_goes_on_and_when_it_is_over() -> None:
    table = TaskTable()
    table.take(told(live=[live(1, task_pb2.PENDING_NODE_ASSIGNMENT)]))
    assert counts(table) == {"PENDING_NODE_ASSIGNMENT": 1}
    table.take(told(live=[live(1)]))
    table.take(told(address(1, 2), running=[task_pb2.RunningTask(task_id=task_id(1), status=task_pb2.RUNNING)]))
    assert counts(table) == {"RUNNING": 1}
    assert next(table.live()).task.worker == address(1, 2)
    table.take(told(finished=[finished(1, told=True)]))
    assert counts(table) == {"FINISHED": 1}
    assert len(table) == 1
    assert list(table.live()) == []


def test_an_executor_may_tell_before_the_owner() -> None:
    table = TaskTable()
    table.take(told(address(1, 2), running=[task_pb2.RunningTask(task_id=task_id(1), status=task_pb2.RUNNING)]))
    assert counts(table) == {}
    table.take(told(live=[live(1)]))
    assert counts(table) == {"RUNNING": 1}


def test_news_of_another_attempt_marks_nothing() -> None:
    table = TaskTable()
    table.take(told(live=[live(1, attempt=1)]))
    table.take(told(address(1, 2), running=[task_pb2.RunningTask(task_id=task_id(1), status=task_pb2.RUNNING)]))
    assert counts(table) == {"SUBMITTED_TO_WORKER": 1}


def test_beyond_the_limit_the_oldest_finished_of_the_largest_job_leave_first() -> None:
    table = TaskTable(limit=5)
    other = kind(job=b"\2\0\0\0")
    table.take(told(kinds=[other], finished=[finished(100)]))
    table.take(told(finished=[finished(1, 2), finished(3, 4)], live=[live(5)]))
    assert len(table) == 4
    assert table.dropped == 2
    assert ids(listing(table)) == [task_id(5), task_id(100), task_id(3), task_id(4)]
    # All that ever ended is still counted.
    assert counts(table) == {"FINISHED": 5, "SUBMITTED_TO_WORKER": 1}


def test_beyond_the_bytes_the_oldest_leave_too_and_what_is_gone_takes_none() -> None:
    table = TaskTable(limit_bytes=10_000)
    for number in range(100):
        table.take(told(kinds=[kind(f"f{number}")], finished=[finished(number)]))
        assert table.bytes <= 10_000
    assert 10 < len(table) < 30 and table.dropped == 100 - len(table)
    assert ids(listing(table))[0] == task_id(99)
    table.take(told(live=[live(1_000 + number) for number in range(100)]))
    assert table.bytes <= 10_000 and all(entry.kind.function == "f" for entry in table.live())
    table.take(told(kinds=[kind("g")], finished=[finished(*(range(1_000, 1_100)), told=True)]))
    assert [group.kind.function for group in table.finished()] == ["g"]
    assert sum(table.counts().values()) == 200, "all that ever ended is still counted"


def test_what_is_kept_of_a_message_holds_nothing_else_of_it() -> None:
    table = TaskTable()
    events = told(
        kinds=[kind("f"), kind("g" * 100_000)],
        live=[live(1)],
        finished=[finished(2), finished(3)],
    )
    table.take(events)
    assert table.bytes < 10_000
    assert [group.kind.function for group in table.finished()] == ["f", "f"]


def test_live_tasks_leave_only_when_nothing_finished_is_left() -> None:
    table = TaskTable(limit=2)
    table.take(told(live=[live(1), live(2), live(3)]))
    assert [entry.task.task_id for entry in table.live()] == [task_id(2), task_id(3)]
    assert table.dropped == 1


def test_what_a_dead_owner_left_fails_once_its_last_words_had_time_to_arrive() -> None:
    table = TaskTable()
    table.take(told(live=[live(1), live(2)]))
    table.owner_gone(OWNER.worker_id, NOW)
    table.take(told(finished=[finished(1, told=True)]))
    assert table.deadline() == NOW.steady + LINGER_S
    table.expire(Moment(NOW.steady + LINGER_S, NOW.wall))
    assert counts(table) == {"FINISHED": 1, "FAILED": 1}
    assert table.deadline() is None
    (group,) = listing(table, StateFilter("state", "failed")).finished
    assert group.error_type == "OWNER_DIED"


def test_all_owners_on_a_dead_node_are_gone() -> None:
    table = TaskTable()
    table.take(told(live=[live(1)]))
    table.node_gone(node_id(2), NOW)
    assert table.deadline() is None
    table.node_gone(node_id(1), NOW)
    assert table.deadline() is not None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda group: group.created_at.append(1.0),
        lambda group: group.ClearField("task_ids"),
        lambda group: setattr(group, "task_ids", b"short"),
        lambda group: group.attempts.extend([1, 2, 3]),
        lambda group: setattr(group, "parent_ids", b"x"),
        lambda group: setattr(group, "kind", 1),
    ],
)
def test_a_malformed_group_is_left_out_and_named(spoil: object) -> None:
    table = TaskTable()
    group = finished(1, 2)
    spoil(group)  # type: ignore[operator]
    assert table.take(told(finished=[group, finished(3)]))
    assert ids(listing(table)) == [task_id(3)]


def test_functions_beyond_a_limit_are_counted_together() -> None:
    table = TaskTable(function_limit=1)
    for name in ("a", "b", "c"):
        table.take(told(kinds=[kind(name)], finished=[finished(1)]))
    key = CountedAs(OTHERS, task_pb2.NORMAL_TASK, task_pb2.FINISHED)
    assert table.counts()[key] == 2


def test_filters_and_limit_choose_rows_and_count_all_that_match() -> None:
    table = TaskTable()
    table.take(told(kinds=[kind("f"), kind("g")], finished=[finished(1, 2, 3)], live=[live(4)]))
    other = finished(5, 6, status=task_pb2.FAILED)
    other.kind = 1
    table.take(told(kinds=[kind("f"), kind("g")], finished=[other]))
    everything = listing(table)
    assert (everything.total, everything.matched) == (6, 6)
    assert [known.name for known in everything.kinds] == ["f", "g"]
    some = listing(table, StateFilter("name", "F"), limit=2)
    assert some.matched == 4
    assert ids(some) == [task_id(4), task_id(3)]
    assert ids(listing(table, StateFilter("task_id", task_id(2).hex()))) == [task_id(2)]
    assert ids(listing(table, StateFilter("state", "FINISHED", unequal=True))) == [task_id(4), task_id(5), task_id(6)]


def test_filters_of_single_rows_find_them_in_columns_and_in_what_a_group_shares() -> None:
    table = TaskTable()
    group = finished(1, 2)
    group.attempts.extend([0, 3])
    group.parent_ids = task_id(8) + task_id(9)
    alike = finished(4, 5)
    alike.parent_ids = task_id(9)
    table.take(told(finished=[group, alike]))
    assert ids(listing(table, StateFilter("attempt_number", "3"))) == [task_id(2)]
    assert ids(listing(table, StateFilter("attempt_number", "0", unequal=True))) == [task_id(2)]
    assert ids(listing(table, StateFilter("parent_task_id", task_id(9).hex()))) == [task_id(4), task_id(5), task_id(2)]
    assert ids(listing(table, StateFilter("task_id", "no id"))) == []


def test_clients_ask_for_tasks_and_are_told_of_unknown_columns() -> None:
    cluster = CoreDriver()
    cluster.attach(1)
    cluster.say(1, task_events=told(finished=[finished(1)]))
    assert cluster.ask(list_tasks=task_pb2.ListTasks(limit=10)).task_list.matched == 1
    (item,) = cluster.ask(summarize_tasks=task_pb2.SummarizeTasks()).task_summary.items
    assert (item.function, item.count) == ("f", 1)
    wanted = task_pb2.ListTasks(filters=[task_pb2.StateFilter(column="colour", value="red")], limit=10)
    assert "'colour'" in cluster.ask(list_tasks=wanted).error.message


def test_a_task_without_a_node_tells_why_as_its_demand_does() -> None:
    cluster = CoreDriver()
    cluster.attach(1)
    kind = task_pb2.TaskKind(name="f", function="f", job_id=bytes(4), resources=resources({"CPU": 9}))
    waiting = live(1, status=task_pb2.PENDING_NODE_ASSIGNMENT)
    waiting.kind = 0
    cluster.say(1, task_events=task_pb2.TaskEvents(teller=address(1, 1), kinds=[kind], live=[waiting]))
    demands = [
        gcs_pb2.ResourceDemand(resources=resources({"CPU": cpus}), count=1, reason=reason, job_id=job)
        for cpus, reason, job in ((9, "no node has 9", bytes(4)), (9, "another job's", b"jobb"), (3, "other", bytes(4)))
    ]
    cluster.say(1, heartbeat=gcs_pb2.Heartbeat(demands=demands, demands_changed=True))
    (row,) = cluster.ask(list_tasks=task_pb2.ListTasks(limit=10)).task_list.live
    assert row.pending_reason == "no node has 9"


def test_a_task_that_makes_an_actor_tells_why_that_waits() -> None:
    cluster = CoreDriver()
    cluster.attach(1)
    cluster.register(cluster.spec(cluster.job(), held=100))
    (row,) = cluster.ask(list_tasks=task_pb2.ListTasks(limit=10)).task_list.live
    assert "have too little CPU" in row.pending_reason


def test_the_end_of_a_driver_ends_its_tasks() -> None:
    cluster = CoreDriver()
    cluster.attach(1)
    job = cluster.job()
    cluster.say(1, task_events=told(live=[live(1)]))
    cluster.ask(finish_job=gcs_pb2.FinishJob(job_id=job))
    cluster.pass_time(LINGER_S)
    assert counts(cluster.core.tasks) == {"FAILED": 1}


def test_the_making_of_an_actor_is_a_task_too() -> None:
    cluster = CoreDriver()
    cluster.attach(1)
    actor_id = cluster.alive(cluster.spec(cluster.job()))
    (group,) = cluster.ask(list_tasks=task_pb2.ListTasks(limit=10)).task_list.finished
    assert group.task_ids == b"\xff" * 8 + actor_id
    (item,) = cluster.ask(summarize_tasks=task_pb2.SummarizeTasks()).task_summary.items
    assert (item.function, item.type, item.status) == (
        "Counter.__init__",
        task_pb2.ACTOR_CREATION_TASK,
        task_pb2.FINISHED,
    )


def test_actors_are_listed_by_filters_and_limit() -> None:
    cluster = CoreDriver()
    cluster.attach(1)
    job = cluster.job()
    for name in ("a", "b", "c"):
        cluster.register(cluster.spec(job, name=name))
    wanted = gcs_pb2.ListActors(filters=[task_pb2.StateFilter(column="name", value="b", unequal=True)], limit=1)
    found = cluster.ask(list_actors=wanted).actor_list
    assert (found.total, found.matched, len(found.items)) == (3, 2, 1)


def test_the_metrics_page_counts_tasks_by_state_and_function() -> None:
    metrics = Metrics("gcs")
    shown = GcsMetrics(metrics)
    cluster = CoreDriver()
    cluster.attach(1)
    cluster.say(1, task_events=told(finished=[finished(1, 2)], live=[live(3)]))
    shown.show(cluster.core)
    page = metrics.page().decode()
    assert 'ray_tasks{Name="f",State="FINISHED",part="gcs"} 2.0' in page
    assert 'ray_tasks{Name="f",State="SUBMITTED_TO_WORKER",part="gcs"} 1.0' in page
    shown.standing_by()
    assert "ray_tasks{" not in metrics.page().decode()


def test_lost_objects_are_counted_over_all_tellers() -> None:
    table = TaskTable(limit=5)
    table.take(told(reconstructed=2, unrecovered=1))
    table.take(told(reconstructed=3))
    assert (table.reconstructed, table.unrecovered) == (5, 1)
