"""What the GCS claims is kept from leases in turns, and free for its order meanwhile."""

from manta_common.resources import ResourceSet
from manta_common.scheduling import PlacementGroup, strategy_from_proto
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2, placement_group_pb2
from manta_raylet.kernel.commands import StartWorker

from tests.unit.raylet.core_driver import CoreDriver, actor

GROUP = b"G" * 18


def _claim(number: int = 1, cpu: float = 1) -> gcs_pb2.Claim:
    return gcs_pb2.Claim(id=number, resources=ResourceSet.from_floats({"CPU": cpu}).to_proto())


def _free(driver: CoreDriver) -> float:
    return driver.core.ledger.available.get("CPU") / 10_000


def test_a_cpu_that_is_given_back_stays_free_for_a_claim_and_the_actor_takes_it() -> None:
    driver = CoreDriver(cpu=1)
    lease = driver.lease(who=1)
    driver.want(who=1, request_id=2, backlog=10)
    driver.core.claimed([_claim()], driver.now)
    driver.now = 0.55
    driver.give_back(lease)
    assert not driver.grants() and _free(driver) == 1
    driver.core.create_actor(actor(cpu=1), 1, driver.now)
    driver.core.claimed([], driver.now)
    assert [command for command in driver.settle() if isinstance(command, StartWorker)]
    assert not driver.grants() and _free(driver) == 0


def test_between_its_turns_leases_go_on_and_a_claim_that_ended_keeps_nothing() -> None:
    driver = CoreDriver(cpu=1)
    lease = driver.lease(who=1)
    driver.want(who=1, request_id=2, backlog=10)
    driver.core.claimed([_claim()], driver.now)
    driver.now = 0.8
    driver.give_back(lease)
    (lease,) = driver.grants()
    driver.now = 1.1
    driver.give_back(lease)
    assert not driver.grants()
    driver.core.claimed([], driver.now)
    driver.settle()
    assert driver.grants()


def test_a_claim_that_is_named_again_keeps_its_age() -> None:
    driver = CoreDriver(cpu=1)
    lease = driver.lease(who=1)
    driver.want(who=1, request_id=2, backlog=10)
    driver.core.claimed([_claim(1)], driver.now)
    driver.now = 0.5
    driver.core.claimed([_claim(1), _claim(2)], driver.now)
    driver.give_back(lease)
    assert not driver.grants()


def test_holders_of_leases_are_told_that_others_wait() -> None:
    driver = CoreDriver(cpu=1)
    lease = driver.lease(who=1)
    driver.core.claimed([_claim()], driver.now)
    driver.settle()
    assert driver.core.notices.take(driver.now) == [lease.client]


def test_a_claim_in_a_bundle_keeps_that_bundle_and_no_other() -> None:
    driver = CoreDriver(cpu=3)
    orders = [
        placement_group_pb2.BundleOrder(
            placement_group_id=GROUP,
            index=index,
            attempt=1,
            action=action,
            resources=ResourceSet.from_floats({"CPU": 1}).to_proto(),
        )
        for action in (placement_group_pb2.BundleOrder.PREPARE, placement_group_pb2.BundleOrder.COMMIT)
        for index in (0, 1)
    ]
    driver.core.obey_bundle_orders(orders, driver.now)
    claim = _claim()
    claim.strategy.placement_group.placement_group_id = GROUP
    claim.strategy.placement_group.bundle_index = 0
    driver.core.claimed([claim], driver.now)
    driver.now = 0.55
    for number, index in ((1, 0), (2, 1)):
        strategy = common_pb2.SchedulingStrategy()
        strategy.placement_group.placement_group_id = GROUP
        strategy.placement_group.bundle_index = index
        _want_in_bundle(driver, number, strategy)
    _want_in_bundle(driver, 3, common_pb2.SchedulingStrategy())
    assert sorted(lease.request_id for lease in driver.core.leases.all()) == [2, 3]


def _want_in_bundle(driver: CoreDriver, request_id: int, strategy: common_pb2.SchedulingStrategy) -> None:
    use = strategy_from_proto(strategy)
    group = use if isinstance(use, PlacementGroup) else None
    driver.want(who=request_id, request_id=request_id, strategy=strategy, group=group)
    driver.start()
