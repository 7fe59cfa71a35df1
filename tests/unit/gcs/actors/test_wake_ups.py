"""Whatever leaves more room, or another kind of it, wakes the groups and actors that wait."""

from __future__ import annotations

import pytest
from manta_gcs.actors.actor_state import ActorState
from manta_gcs.placement_groups.group_state import GroupState
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as pb

from tests.unit.gcs.core_driver import CoreDriver, address, attach, resources


@pytest.fixture
def gcs() -> CoreDriver:
    """One node of 2 CPUs, and the driver's, which has nothing."""
    driver = CoreDriver(death_timeout_s=1_000)
    driver.attach(9, message=attach(9, cpus=0))
    driver.attach(1, message=attach(1, cpus=2))
    return driver


def group(gcs: CoreDriver, job: bytes, cpus: float = 1, number: int = 1) -> bytes:
    spec = pb.PlacementGroupSpec(
        placement_group_id=bytes([number]) * 18,
        creator_job_id=job,
        creator=address(9, 1),
        bundles=[pb.BundleSpec(resources=resources({"CPU": cpus}))],
    )
    gcs.ask(create_placement_group=pb.CreatePlacementGroup(spec=spec))
    return spec.placement_group_id


def created(gcs: CoreDriver, job: bytes) -> bytes:
    """A group of one bundle of 1 CPU, which node 1 holds."""
    group_id = group(gcs, job)
    for outcome in (pb.BundleOutcome.PREPARED, pb.BundleOutcome.COMMITTED):
        (orders,) = gcs.take_told(1, "bundle_orders")
        answered = [
            pb.BundleOutcome(placement_group_id=group_id, index=0, attempt=order.attempt, outcome=outcome)
            for order in orders.orders  # type: ignore[attr-defined]
        ]
        gcs.say(1, bundle_report=pb.BundleReport(outcomes=answered, available=resources({"CPU": 1})))
    return group_id


def asked_to_prepare(gcs: CoreDriver) -> list[bytes]:
    told = gcs.take_told(1, "bundle_orders")
    return [
        order.placement_group_id
        for orders in told
        for order in orders.orders  # type: ignore[attr-defined]
        if order.action == pb.BundleOrder.PREPARE
    ]


def kill(gcs: CoreDriver, spec: actor_pb2.ActorSpec) -> None:
    gcs.ask(kill_actor=gcs_pb2.KillActorRequest(actor_id=spec.actor_id, no_restart=True))


def test_a_group_is_placed_when_the_promise_to_an_actor_ends_after_the_news_of_its_cpu(gcs: CoreDriver) -> None:
    job = gcs.job(driver_node=9)
    gcs.register(gcs.spec(job, held=1))
    create = gcs.create(1)
    gcs.heartbeat(1, cpus=1)  # it counts the actor, whose own news is still to come
    wanted = group(gcs, job)
    assert asked_to_prepare(gcs) == [], "the CPU of the actor counts twice for a moment"
    gcs.started(1, create, worker=50)
    assert asked_to_prepare(gcs) == [wanted]


def test_a_group_is_placed_when_an_actor_ends_that_its_node_had_not_counted_yet(gcs: CoreDriver) -> None:
    job = gcs.job(driver_node=9)
    spec = gcs.spec(job, held=2)
    gcs.register(spec)
    wanted = group(gcs, job)
    assert asked_to_prepare(gcs) == []
    kill(gcs, spec)
    assert asked_to_prepare(gcs) == [wanted]


def test_an_actor_is_placed_when_a_group_is_removed_that_its_node_had_not_reserved_yet(gcs: CoreDriver) -> None:
    job = gcs.job(driver_node=9)
    taken = group(gcs, job, cpus=2)
    gcs.register(gcs.spec(job, held=1))
    assert gcs.take_told(1, "create_actor") == []
    gcs.ask(remove_placement_group=pb.RemovePlacementGroup(placement_group_id=taken))
    assert gcs.create(1)


def test_what_an_actor_holds_counts_once_while_its_constructor_runs_for_ever(gcs: CoreDriver) -> None:
    job = gcs.job(driver_node=9)
    gcs.register(gcs.spec(job, held=1))
    create = gcs.create(1)
    gcs.register(gcs.spec(job, held=1))
    other = gcs.create(1)
    wanted = group(gcs, job)
    taken = [gcs_pb2.ActorReport(actor_id=item.spec.actor_id, incarnation=item.incarnation) for item in (create, other)]
    gcs.say(1, heartbeat=gcs_pb2.Heartbeat(available=resources({"CPU": 0}), taken_actors=taken))
    assert asked_to_prepare(gcs) == []
    kill(gcs, other.spec)
    gcs.heartbeat(1, cpus=1)
    assert asked_to_prepare(gcs) == [wanted], "the first one is being constructed all the time"
    assert gcs.status(create.spec.actor_id).state == actor_pb2.PENDING_CREATION


def test_news_of_another_incarnation_end_no_promise(gcs: CoreDriver) -> None:
    job = gcs.job(driver_node=9)
    gcs.register(gcs.spec(job, held=2))
    create = gcs.create(1)
    stale = gcs_pb2.ActorReport(actor_id=create.spec.actor_id, incarnation=create.incarnation + 1)
    gcs.say(1, heartbeat=gcs_pb2.Heartbeat(taken_actors=[stale]))
    group(gcs, job)
    assert asked_to_prepare(gcs) == []


def test_an_actor_that_will_hold_nothing_does_not_wait_behind_one_that_will_hold_a_cpu(gcs: CoreDriver) -> None:
    """Both need a CPU to be placed, as all actors do by default; only the first keeps it."""
    job = gcs.job(driver_node=9)
    gcs.heartbeat(1, cpus=0)
    gcs.register(gcs.spec(job, cpus=1, held=1))
    light = gcs.spec(job, cpus=1, held=0)
    gcs.register(light)
    assert gcs.create(1).spec.actor_id == light.actor_id


def test_groups_of_an_actor_that_nothing_can_place_go_with_it_at_once(gcs: CoreDriver) -> None:
    job = gcs.job(driver_node=9)
    owner = gcs.spec(job, max_restarts=1, detached=True)
    owner.strategy.node_affinity.node_id = attach(1).info.node_id
    gcs.alive(owner)
    spec = pb.PlacementGroupSpec(
        placement_group_id=b"G" * 18,
        creator_job_id=job,
        creator=address(1, 50),
        bundles=[pb.BundleSpec(resources=resources({"CPU": 1}))],
    )
    gcs.ask(create_placement_group=pb.CreatePlacementGroup(spec=spec))
    node = gcs.core.nodes.get(attach(1).info.node_id)
    assert node is not None
    gcs.take(gcs.core._node_died(node, node.info.death_cause, gcs.now))
    gcs.settle()
    actor = gcs.core.actors.table.get(owner.actor_id)
    assert actor is not None and actor.state is ActorState.DEAD
    assert gcs.core.group_counts()[GroupState.REMOVED] == 1


def test_those_who_watch_a_group_hear_of_a_promise_that_ended(gcs: CoreDriver) -> None:
    """A raylet with tasks for the group would take the bundle for full for ever."""
    job = gcs.job(driver_node=9)
    group_id = created(gcs, job)
    gcs.say(9, watch_placement_groups=pb.WatchPlacementGroups(add=[group_id]))
    spec = gcs.spec(job, held=1)
    spec.strategy.placement_group.placement_group_id = group_id
    spec.strategy.placement_group.bundle_index = -1
    gcs.register(spec)
    assert free_in_bundle(gcs) == 0
    kill(gcs, spec)
    assert free_in_bundle(gcs) == 1


def free_in_bundle(gcs: CoreDriver) -> float:
    news = gcs.take_told(9, "placement_group")[-1]
    assert isinstance(news, pb.PlacementGroupStatus)
    return news.bundles[0].available.amounts["CPU"] / 10_000


def test_an_actor_for_a_bundle_on_a_node_that_drains_waits(gcs: CoreDriver) -> None:
    """It would be sent there and refused at each heartbeat."""
    job = gcs.job(driver_node=9)
    group_id = created(gcs, job)
    gcs.ask(drain_node=gcs_pb2.DrainNode(node_id=attach(1).info.node_id, reason=gcs_pb2.DrainNode.PREEMPTION))
    spec = gcs.spec(job, held=1)
    spec.strategy.placement_group.placement_group_id = group_id
    spec.strategy.placement_group.bundle_index = -1
    gcs.register(spec)
    gcs.heartbeat(1)
    assert gcs.take_told(1, "create_actor") == []
    assert "drain" in gcs.status(spec.actor_id).pending_reason
