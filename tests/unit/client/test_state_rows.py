"""Rows of the state tables from what the cluster answers, and what the options refuse."""

from __future__ import annotations

import pytest
from manta_common.resources import ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2, placement_group_pb2, task_pb2
from ray.util.state.actor_rows import actor_row
from ray.util.state.cluster_rows import placement_group_row
from ray.util.state.common import ListApiOptions
from ray.util.state.records import ObjectState
from ray.util.state.summaries import object_summary, task_summary
from ray.util.state.task_rows import task_rows


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
