"""Which nodes are asked to keep room for what waits while tasks hold everything."""

from __future__ import annotations

import pytest
from manta_gcs.fairness.claim import PATIENCE_S, STAY_S
from manta_proto.gcs.v1 import gcs_pb2, placement_group_pb2

from tests.unit.gcs.core_driver import CoreDriver, address, attach, node_id, resources


@pytest.fixture
def gcs() -> CoreDriver:
    """Two nodes of 2 CPUs, on which tasks hold everything."""
    driver = CoreDriver(death_timeout_s=1_000)
    for number in (1, 2):
        message = attach(number, cpus=2)
        message.available.CopyFrom(resources({"CPU": 0}))
        driver.attach(number, message=message)
    return driver


def claims(gcs: CoreDriver, node: int) -> list[dict[str, float]] | None:
    """What the node was told last, None when it was told nothing."""
    told = gcs.take_told(node, "claims")
    if not told:
        return None
    last = told[-1]
    assert isinstance(last, gcs_pb2.Claims)
    return [{name: amount / 10_000 for name, amount in claim.resources.amounts.items()} for claim in last.claims]


def test_an_actor_that_waits_for_room_is_claimed_for_on_one_node_until_it_is_placed(gcs: CoreDriver) -> None:
    gcs.register(gcs.spec(gcs.job(), held=1))
    assert claims(gcs, 1) is None and claims(gcs, 2) is None
    gcs.pass_time(PATIENCE_S)
    told = {node: claims(gcs, node) for node in (1, 2)}
    (chosen,) = [node for node, found in told.items() if found]
    assert told[chosen] == [{"CPU": 1}]
    gcs.heartbeat(chosen, cpus=1)
    assert gcs.create(chosen)
    assert claims(gcs, chosen) == []
    assert len(gcs.core.claims) == 0 and gcs.core.claims.deadline() is None


def test_a_claim_that_is_of_no_use_goes_to_another_node(gcs: CoreDriver) -> None:
    gcs.register(gcs.spec(gcs.job(), held=1))
    gcs.pass_time(PATIENCE_S)
    (first,) = [node for node in (1, 2) if claims(gcs, node)]
    gcs.pass_time(STAY_S)
    assert claims(gcs, first) == [] and claims(gcs, 3 - first) == [{"CPU": 1}]
    gcs.pass_time(2 * STAY_S)
    assert claims(gcs, first) == [{"CPU": 1}] and claims(gcs, 3 - first) == []


def test_what_an_actor_holds_is_not_claimed(gcs: CoreDriver) -> None:
    job = gcs.job()
    for node in (1, 2):
        gcs.heartbeat(node, cpus=2)
        gcs.alive(gcs.spec(job, held=2), node=node, worker=50 + node)
        gcs.heartbeat(node, cpus=0)
    gcs.register(gcs.spec(job, held=1))
    gcs.pass_time(PATIENCE_S)
    assert not claims(gcs, 1) and not claims(gcs, 2)
    assert gcs.core.claims.deadline() is not None, "it is looked at again"


def test_two_that_wait_are_not_claimed_for_with_the_same_cpus(gcs: CoreDriver) -> None:
    job = gcs.job()
    for _ in range(3):
        gcs.register(gcs.spec(job, held=2))
    gcs.pass_time(PATIENCE_S)
    assert claims(gcs, 1) == [{"CPU": 2}] and claims(gcs, 2) == [{"CPU": 2}]


def test_each_bundle_of_a_group_that_waits_is_claimed_for_on_its_node(gcs: CoreDriver) -> None:
    spec = placement_group_pb2.PlacementGroupSpec(
        placement_group_id=b"G" * 18,
        creator_job_id=gcs.job(),
        creator=address(1, 1),
        strategy=placement_group_pb2.PlacementGroupSpec.STRICT_SPREAD,
        bundles=[placement_group_pb2.BundleSpec(resources=resources({"CPU": 1})) for _ in range(2)],
    )
    gcs.ask(create_placement_group=placement_group_pb2.CreatePlacementGroup(spec=spec))
    gcs.pass_time(PATIENCE_S)
    assert claims(gcs, 1) == [{"CPU": 1}] and claims(gcs, 2) == [{"CPU": 1}]
    gcs.ask(remove_placement_group=placement_group_pb2.RemovePlacementGroup(placement_group_id=b"G" * 18))
    assert claims(gcs, 1) == [] and claims(gcs, 2) == []


def test_a_node_that_attaches_again_is_told_anew_and_a_dead_one_is_replaced(gcs: CoreDriver) -> None:
    gcs.register(gcs.spec(gcs.job(), held=1))
    gcs.pass_time(PATIENCE_S)
    (first,) = [node for node in (1, 2) if claims(gcs, node)]
    gcs.detach(first)
    message = attach(first, cpus=2)
    message.available.CopyFrom(resources({"CPU": 0}))
    gcs.attach(first, message=message)
    assert claims(gcs, first) == [{"CPU": 1}]
    dead = gcs.core.nodes.get(node_id(first))
    assert dead is not None
    gcs.core.nodes.bury(dead, dead.info.death_cause, gcs.now)
    gcs.pass_time(0)
    assert claims(gcs, 3 - first) == [{"CPU": 1}]
