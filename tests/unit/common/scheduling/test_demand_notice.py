"""What drivers are told of demands that nobody meets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from manta_common.ids import JobId, job_id
from manta_common.resources import ResourceSet
from manta_common.scheduling.demand_notice import (
    INFEASIBLE_AFTER_S,
    TOLD_LIMIT,
    WAITS_AFTER_S,
    DemandNotices,
    WaitingDemand,
    shape_text,
)

JOB = job_id(1)


def demand(shape: str = "{'CPU': 9.0}", infeasible: bool = True, since: float = 0.0, job: JobId = JOB) -> WaitingDemand:
    return WaitingDemand(
        job_id=job, what="tasks", shape=shape, infeasible=infeasible, reason="no node has it", since=since
    )


def test_what_no_node_can_hold_is_told_soon_and_once() -> None:
    notices = DemandNotices()
    assert notices.take([demand()], INFEASIBLE_AFTER_S - 0.1) == []
    assert notices.next_at == INFEASIBLE_AFTER_S
    (told,) = notices.take([demand(), demand(since=1.0)], INFEASIBLE_AFTER_S)
    assert told.job_id == JOB
    assert "{'CPU': 9.0}" in told.text and "no node has it" in told.text and "`ray status`" in told.text
    assert notices.take([demand()], 1_000.0) == [] and notices.next_at is None


def test_what_only_waits_is_told_later() -> None:
    notices = DemandNotices()
    assert notices.take([demand(infeasible=False)], WAITS_AFTER_S - 0.1) == []
    (told,) = notices.take([demand(infeasible=False)], WAITS_AFTER_S)
    assert "30 s" in told.text


def test_a_wait_that_becomes_hopeless_is_told_again() -> None:
    notices = DemandNotices()
    assert len(notices.take([demand(infeasible=False)], WAITS_AFTER_S)) == 1
    assert len(notices.take([demand(infeasible=True)], WAITS_AFTER_S)) == 1


def test_each_job_is_told_and_an_ended_one_is_forgotten() -> None:
    notices, other = DemandNotices(), job_id(2)
    told = notices.take([demand(), demand(job=other)], 99.0)
    assert [notice.job_id for notice in told] == [JOB, other] and told[0].key == told[1].key
    notices.forget(JOB)
    assert [notice.job_id for notice in notices.take([demand(), demand(job=other)], 99.0)] == [JOB]


def test_ever_new_shapes_are_not_echoed_for_ever() -> None:
    notices = DemandNotices()
    assert len(notices.take([demand(f"shape {number}") for number in range(3 * TOLD_LIMIT)], 99.0)) == TOLD_LIMIT


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.booleans(), st.floats(0, 50)),
        unique_by=lambda item: item[:2],
        max_size=12,
    ),
    st.floats(0, 100),
)
def test_nothing_is_due_before_it_is_said_to_be(items: list[tuple[str, bool, float]], at: float) -> None:
    notices = DemandNotices()
    waiting = [demand(shape, infeasible, since) for shape, infeasible, since in items]
    notices.take(waiting, at)
    due = notices.next_at
    assert due is None or due > at
    if due is not None:
        assert len(notices.take(waiting, due)) >= 1


def test_a_shape_reads_as_in_the_status() -> None:
    assert shape_text(ResourceSet.from_floats({"GPU": 0.5, "CPU": 1})) == "{'CPU': 1.0, 'GPU': 0.5}"
