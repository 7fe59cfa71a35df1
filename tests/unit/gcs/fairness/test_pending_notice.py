"""Drivers hear of actors and placement groups that find no node."""

from __future__ import annotations

from manta_common.scheduling.demand_notice import INFEASIBLE_AFTER_S, WAITS_AFTER_S
from manta_proto.gcs.v1 import gcs_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as pb

from tests.unit.gcs.core_driver import CoreDriver, address, resources

GROUP = bytes([7]) * 18


def pass_time(gcs: CoreDriver, seconds: float) -> None:
    """As a timer would: with heartbeats, and when the core wants to be called."""
    until = gcs.time + seconds
    while gcs.time < until:
        due = gcs.core.deadline()
        step = min(until, gcs.time + 1.0 if due is None else max(due, gcs.time + 0.01)) - gcs.time
        gcs.pass_time(min(step, 1.0))
        gcs.heartbeat(1)


def told(gcs: CoreDriver) -> list[gcs_pb2.JobNotice]:
    notices = gcs.take_told(1, "job_notice")
    assert all(isinstance(notice, gcs_pb2.JobNotice) for notice in notices)
    return notices  # type: ignore[return-value]


def create_group(gcs: CoreDriver, job: bytes, cpus: float) -> None:
    bundle = pb.BundleSpec(resources=resources({"CPU": cpus}))
    spec = pb.PlacementGroupSpec(
        placement_group_id=GROUP, creator_job_id=job, creator=address(1, 1), bundles=[bundle, bundle]
    )
    gcs.ask(create_placement_group=pb.CreatePlacementGroup(spec=spec))


def test_the_driver_is_told_once_of_an_actor_that_no_node_can_hold() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    job = gcs.job()
    for _ in range(3):
        gcs.register(gcs.spec(job, held=100))
    pass_time(gcs, INFEASIBLE_AFTER_S - 0.5)
    assert told(gcs) == []
    pass_time(gcs, 1.0)
    (notice,) = told(gcs)
    assert notice.job_id == job and "actors" in notice.text and "{'CPU': 100.0}" in notice.text
    assert "have too little CPU" in notice.text
    pass_time(gcs, 2 * WAITS_AFTER_S)
    assert told(gcs) == []
    gcs.register(gcs.spec(job, held=200))
    pass_time(gcs, 2 * INFEASIBLE_AFTER_S)
    assert ["{'CPU': 200.0}" in notice.text for notice in told(gcs)] == [True]


def test_the_driver_is_told_of_a_placement_group_with_its_bundles() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    create_group(gcs, gcs.job(), 100)
    pass_time(gcs, INFEASIBLE_AFTER_S + 1.0)
    (notice,) = told(gcs)
    assert "placement groups" in notice.text and "{'CPU': 100.0} * 2 (PACK)" in notice.text


def test_what_only_waits_for_room_is_told_after_a_long_wait() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    job = gcs.job()
    gcs.alive(gcs.spec(job, held=4))
    gcs.heartbeat(1, cpus=0)
    gcs.register(gcs.spec(job, held=3))
    pass_time(gcs, WAITS_AFTER_S - 1.0)
    assert told(gcs) == []
    pass_time(gcs, 2.0)
    (notice,) = told(gcs)
    assert "have waited 30 s for {'CPU': 3.0}" in notice.text


def test_a_job_whose_driver_is_gone_is_told_nothing() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    job = gcs.job()
    gcs.register(gcs.spec(job, held=100, detached=True))
    gcs.ask(finish_job=gcs_pb2.FinishJob(job_id=job))
    pass_time(gcs, 2 * WAITS_AFTER_S)
    assert told(gcs) == []


def test_nobody_looks_while_nobody_waits() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    gcs.register(gcs.spec(gcs.job()))
    assert gcs.core.notices.deadline() is None


def test_the_status_tells_how_many_actors_want_a_placement_group() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    job = gcs.job()
    create_group(gcs, job, 100)
    spec = gcs.spec(job, held=1)
    spec.strategy.placement_group.placement_group_id = GROUP
    spec.strategy.placement_group.bundle_index = -1
    gcs.register(spec)
    (demand,) = gcs.ask(cluster_status=gcs_pb2.ClusterStatusRequest()).cluster_status.pending_actors
    assert (demand.count, demand.in_placement_groups) == (1, 1) and demand.reason
