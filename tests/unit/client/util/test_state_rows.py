"""Rows of the state tables from what the cluster answers, and what the options refuse."""

from __future__ import annotations

from datetime import datetime

import pytest
from manta_common.resources import ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2, placement_group_pb2, task_pb2
from manta_proto.raylet.v1 import raylet_pb2
from ray.util.state import common
from ray.util.state.actor_rows import actor_row
from ray.util.state.cluster_rows import placement_group_row
from ray.util.state.cluster_source import ClusterSource
from ray.util.state.common import ListApiOptions
from ray.util.state.records import ObjectState, TaskState, WorkerState
from ray.util.state.summaries import object_summary, task_summary
from ray.util.state.task_rows import task_rows
from ray.util.state.worker_rows import dead_rows, living_rows


def task_id(number: int) -> bytes:
    return number.to_bytes(24, "big")


def finished(**fields: object) -> task_pb2.FinishedTasks:
    return task_pb2.FinishedTasks(
        task_ids=task_id(1) + task_id(2),
        parent_ids=b"p" * 24,
        status=task_pb2.FINISHED,
        created_at=[1.0, 1.0],
        queued_at=[0.0, 0.0],
        sent_at=[2.0, 2.0],
        ended_at=[5.0, 5.0],
        execution_us=[1_000_000, 1_000_000],
        **fields,  # type: ignore[arg-type]
    )


def test_tasks_of_one_reply_that_ran_one_by_one_do_not_overlap() -> None:
    rows = task_rows(task_pb2.TaskList(kinds=[task_pb2.TaskKind(name="f")], finished=[finished()]))
    assert [(row.task_id, row.start_time_ms, row.end_time_ms) for row in rows] == [
        (task_id(2).hex(), 4000, 5000),
        (task_id(1).hex(), 3000, 4000),
    ]
    assert rows[0].parent_task_id == b"p".hex() * 24
    assert [event["state"] for event in rows[0].events or ()] == [
        *("PENDING_ARGS_AVAIL", "PENDING_NODE_ASSIGNMENT", "SUBMITTED_TO_WORKER", "RUNNING", "FINISHED"),
    ]


def test_calls_of_an_actor_may_overlap() -> None:
    kind = task_pb2.TaskKind(name="A.m", type=task_pb2.ACTOR_TASK, actor_id=b"a" * 16)
    rows = task_rows(task_pb2.TaskList(kinds=[kind], finished=[finished()]))
    assert [row.end_time_ms for row in rows] == [5000, 5000]
    assert rows[0].actor_id == b"a".hex() * 16


def test_a_running_task_shows_since_when_it_runs() -> None:
    task = task_pb2.LiveTask(
        task_id=task_id(1), status=task_pb2.SUBMITTED_TO_WORKER, running=task_pb2.RUNNING, started_at=3.0, sent_at=2.0
    )
    (row,) = task_rows(task_pb2.TaskList(kinds=[task_pb2.TaskKind(name="f")], live=[task]))
    assert (row.state, row.start_time_ms, row.end_time_ms) == ("RUNNING", 3000, None)


def test_an_actor_in_a_bundle_names_the_resources_of_its_group() -> None:
    spec = actor_pb2.ActorSpec(
        actor_id=b"a" * 16, class_name="A", lifetime_resources=ResourceSet.from_floats({"CPU": 1}).to_proto()
    )
    spec.strategy.placement_group.placement_group_id = b"g" * 18
    spec.strategy.placement_group.bundle_index = -1
    row = actor_row(gcs_pb2.ActorFound(spec=spec, status=actor_pb2.ActorStatus(state=actor_pb2.ALIVE)))
    assert row.required_resources == {f"CPU_group_{b'g'.hex() * 18}": 1.0}
    assert (row.death_cause, row["state"], row.get("colour")) == (None, "ALIVE", None)
    with pytest.raises(KeyError, match="colour"):
        _ = row["colour"]


def test_a_dead_actor_tells_why() -> None:
    cause = common_pb2.DeathCause(kind=common_pb2.DeathCause.KILLED, message="killed by ray.kill")
    status = actor_pb2.ActorStatus(state=actor_pb2.DEAD, death_cause=cause, pid=7)
    row = actor_row(gcs_pb2.ActorFound(status=status))
    assert row.death_cause is not None
    assert row.death_cause["actor_died_error_context"]["error_message"] == "killed by ray.kill"


def test_a_placement_group_shows_its_bundles() -> None:
    spec = placement_group_pb2.PlacementGroupSpec(placement_group_id=b"g" * 18, creator_job_id=b"\0\0\0\1")
    spec.bundles.add(resources=ResourceSet.from_floats({"CPU": 2}).to_proto())
    status = placement_group_pb2.PlacementGroupStatus(state=placement_group_pb2.PG_PENDING, pending_reason="too few")
    row = placement_group_row(placement_group_pb2.PlacementGroupInfo(spec=spec, status=status))
    assert (row.state, row.creator_job_id) == ("PENDING", "00000001")
    assert row.bundles is not None and row.bundles[0]["unit_resources"] == {"CPU": 2.0}
    assert row.stats is not None and row.stats["pending_reason"] == "too few"


def test_a_summary_counts_by_function_and_type() -> None:
    item = task_pb2.TaskSummary.Item
    counts = task_pb2.TaskSummary(
        items=[
            item(function="f", status=task_pb2.FINISHED, count=3),
            item(function="f", status=task_pb2.FAILED, count=1),
            item(function="A.m", type=task_pb2.ACTOR_TASK, status=task_pb2.RUNNING, count=2),
        ]
    )
    summary = task_summary(counts)
    assert summary["summary"]["f"]["state_counts"] == {"FINISHED": 3, "FAILED": 1}
    assert (summary["total_tasks"], summary["total_actor_tasks"], summary["total_actor_scheduled"]) == (4, 2, 0)


def test_options_refuse_what_upstream_refuses() -> None:
    with pytest.raises(ValueError, match=r"Unsupported filter predicate < is given\. Available predicates: =, !=\."):
        ListApiOptions(filters=[("a", "<", "b")])
    with pytest.raises(ValueError, match="10000"):
        ListApiOptions(limit=10_001)


def test_objects_count_for_each_process_and_their_size_once() -> None:
    def row(object_id: str, pid: int, size: int) -> ObjectState:
        return ObjectState(
            object_id=object_id,
            object_size=size,
            task_status="FINISHED",
            attempt_number=1,
            reference_type="LOCAL_REFERENCE",
            call_site="disabled",
            type="WORKER",
            pid=pid,
            ip="127.0.0.1",
        )

    summary = object_summary([row("a", 1, 1 << 20), row("a", 2, 0), row("b", 2, 1 << 20)])
    assert (summary["total_objects"], summary["total_size_mb"]) == (3, 2.0)
    assert summary["summary"]["disabled"]["total_num_workers"] == 2


def test_a_call_that_waits_for_its_turn_shows_since_when() -> None:
    waits = task_pb2.PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY
    task = task_pb2.LiveTask(task_id=task_id(1), status=waits, created_at=1.0, sent_at=2.0)
    kind = task_pb2.TaskKind(name="A.m", type=task_pb2.ACTOR_TASK, call_site="here")
    (row,) = task_rows(task_pb2.TaskList(kinds=[kind], live=[task]))
    assert (row.state, row.call_site) == ("PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY", "here")
    assert (row.events or [])[-1] == {"state": "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY", "created_ms": 2000}


def test_people_read_times_as_dates_those_of_events_too() -> None:
    shown = TaskState.humanify({"events": [{"state": "RUNNING", "created_ms": 1_500}], "start_time_ms": 1_500})
    date = str(datetime.fromtimestamp(1.5))
    assert shown == {"events": [{"state": "RUNNING", "created_ms": date}], "start_time_ms": date}
    assert WorkerState.humanify({"worker_launch_time_ms": -1, "end_time_ms": 0}) == {
        "worker_launch_time_ms": "",
        "end_time_ms": "",
    }


def test_workers_tell_when_they_were_started_and_ended() -> None:
    described = raylet_pb2.DescribeReply()
    described.workers.add(worker_id=b"a", launched_at=1.0, started_at=1.5)
    described.workers.add(worker_id=b"b", launched_at=1.0)
    started, starting = living_rows(common_pb2.NodeInfo(), described)
    assert (started.worker_launch_time_ms, started.worker_launched_time_ms) == (1000, 1500)
    assert (started.start_time_ms, started.end_time_ms) == (1500, 0)
    assert (starting.worker_launched_time_ms, starting.start_time_ms) == (-1, 0)
    death = common_pb2.DeadWorker(launched_at=1.0, started_at=1.5, ended_at=3.0)
    (dead,) = dead_rows([death], {}, set())
    assert (dead.start_time_ms, dead.end_time_ms) == (1500, 3000)


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert common._limit_of("RAY_MAX_LIMIT_FROM_API_SERVER") == 10_000
    monkeypatch.setenv("RAY_MAX_LIMIT_FROM_API_SERVER", "20000")
    assert common._limit_of("RAY_MAX_LIMIT_FROM_API_SERVER") == 20_000
    monkeypatch.setenv("RAY_MAX_LIMIT_FROM_API_SERVER", "many")
    with pytest.raises(ValueError, match="RAY_MAX_LIMIT_FROM_API_SERVER"):
        common._limit_of("RAY_MAX_LIMIT_FROM_API_SERVER")


class StandInGcs:
    """Answers with nodes and groups in an order of its own."""

    def nodes(self) -> list[gcs_pb2.NodeList.Item]:
        infos = [common_pb2.NodeInfo(node_id=bytes([number]) * 28, is_head=number == 3) for number in (3, 1, 2)]
        return [gcs_pb2.NodeList.Item(info=info) for info in infos]

    def ask(self, **wanted: object) -> gcs_pb2.GcsReply:
        live = [task_pb2.LiveTask(task_id=task_id(number), status=task_pb2.RUNNING) for number in (2, 3, 1)]
        return gcs_pb2.GcsReply(task_list=task_pb2.TaskList(kinds=[task_pb2.TaskKind(name="f")], live=live, matched=3))


def test_rows_are_in_the_order_of_their_ids() -> None:
    source = ClusterSource(StandInGcs(), None)  # type: ignore[arg-type]
    nodes = source.listing(common.StateResource.NODES, (), 2)
    assert [row.node_id[:2] for row in nodes.rows] == ["01", "02"]
    tasks = source.listing(common.StateResource.TASKS, (), 10)
    assert [row.task_id for row in tasks.rows] == [task_id(number).hex() for number in (1, 2, 3)]
