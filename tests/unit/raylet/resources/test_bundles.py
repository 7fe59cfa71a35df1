"""Bundles of a node: reserved, used, lent within, returned; leases and actors on them."""

import pytest
from manta_common.ids import PlacementGroupId
from manta_common.resources import ResourceSet
from manta_common.scheduling import PlacementGroup
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as pb
from manta_proto.raylet.v1 import raylet_pb2
from manta_raylet.kernel.commands import KillWorker, RefuseLease, ReportActor, ReportBundles, SpillLease, WatchGroups

from tests.unit.raylet.core_driver import THERE, CoreDriver, actor

GROUP = PlacementGroupId(b"g" * 18)
USE = PlacementGroup(GROUP)
Outcome = pb.BundleOutcome
REMOVED = common_pb2.DeathCause(kind=common_pb2.DeathCause.PLACEMENT_GROUP_REMOVED, message="removed")


def order(action: pb.BundleOrder.Action, index: int = 0, attempt: int = 5, **resources: float) -> pb.BundleOrder:
    made = pb.BundleOrder(action=action, placement_group_id=GROUP, index=index, attempt=attempt, cause=REMOVED)
    made.resources.CopyFrom(ResourceSet.from_floats(resources).to_proto())
    return made


def obey(driver: CoreDriver, *orders: pb.BundleOrder) -> list[int]:
    """returns: the outcomes."""
    driver.core.obey_bundle_orders(orders, driver.now)
    (report,) = [command.report for command in driver.settle() if isinstance(command, ReportBundles)]
    assert ResourceSet.from_proto(report.available) == driver.core.ledger.available
    return [outcome.outcome for outcome in report.outcomes]


def reserve(driver: CoreDriver, index: int = 0, **resources: float) -> None:
    prepare, commit = order(pb.BundleOrder.PREPARE, index, **resources), order(pb.BundleOrder.COMMIT, index)
    assert obey(driver, prepare, commit) == [Outcome.PREPARED, Outcome.COMMITTED]


def free(driver: CoreDriver) -> float:
    return driver.core.ledger.available.get("CPU") / 10_000


def strategy(index: int = -1) -> dict[str, object]:
    message = common_pb2.SchedulingStrategy()
    message.placement_group.placement_group_id = GROUP
    message.placement_group.bundle_index = index
    return {"strategy": message, "group": PlacementGroup(GROUP, index)}


def test_reserved_resources_are_invisible_to_others() -> None:
    driver = CoreDriver(cpu=2)
    reserve(driver, CPU=2)
    assert free(driver) == 0
    driver.want(1)
    assert not driver.grants() and len(driver.core.leases.queue) == 1
    assert driver.lease(2, **strategy()) is not None


def test_orders_may_come_again_and_late() -> None:
    driver = CoreDriver(cpu=2)
    reserve(driver, CPU=1)
    assert obey(driver, order(pb.BundleOrder.PREPARE, CPU=1), order(pb.BundleOrder.COMMIT)) == [
        Outcome.PREPARED,
        Outcome.COMMITTED,
    ]
    assert free(driver) == 1
    # Of an earlier attempt: void.
    late = [order(action, attempt=4, CPU=1) for action in (pb.BundleOrder.PREPARE, pb.BundleOrder.COMMIT)]
    assert obey(driver, *late) == [Outcome.REFUSED, Outcome.REFUSED]
    assert obey(driver, order(pb.BundleOrder.RETURN, attempt=4)) == [Outcome.RETURNED]
    assert free(driver) == 1
    assert obey(driver, order(pb.BundleOrder.RETURN), order(pb.BundleOrder.RETURN)) == [Outcome.RETURNED] * 2
    assert free(driver) == 2


def test_a_later_attempt_takes_the_place_of_an_earlier_one() -> None:
    driver = CoreDriver(cpu=2)
    reserve(driver, CPU=2)
    assert obey(driver, order(pb.BundleOrder.PREPARE, attempt=9, CPU=1)) == [Outcome.PREPARED]
    assert free(driver) == 1
    (held,) = driver.core.bundles.held()
    assert (held.attempt, held.committed) == (9, False)


def test_what_is_not_free_is_refused_with_the_reason() -> None:
    driver = CoreDriver(cpu=1)
    driver.core.obey_bundle_orders([order(pb.BundleOrder.PREPARE, CPU=2)], 0)
    (report,) = [command.report for command in driver.settle() if isinstance(command, ReportBundles)]
    assert report.outcomes[0].outcome == Outcome.REFUSED and "CPU" in report.outcomes[0].reason


def test_a_prepared_bundle_serves_nobody_before_its_commit() -> None:
    driver = CoreDriver(cpu=1)
    assert obey(driver, order(pb.BundleOrder.PREPARE, CPU=1)) == [Outcome.PREPARED]
    driver.want(1, **strategy())
    assert not driver.grants() and not driver.core.leases.busy
    obey(driver, order(pb.BundleOrder.COMMIT))
    driver.start()
    assert len(driver.grants()) == 1


def test_a_blocked_worker_lends_its_cpus_to_its_bundle_only() -> None:
    driver = CoreDriver(cpu=2)
    reserve(driver, CPU=1)
    lease = driver.lease(1, **strategy())
    worker = driver.core.worker(lease.worker_id)
    assert worker is not None
    driver.want(2, **strategy())
    assert not driver.grants()
    driver.core.blocked(worker)
    driver.settle()
    assert free(driver) == 1  # the node got nothing
    driver.start()
    assert [lease.client for lease in driver.grants()] == [driver.grants()[0].client]
    driver.core.unblocked(worker)
    assert driver.core.ledger.bundles.of_group(GROUP)[0].ledger.available.get("CPU") == -10_000


def test_returning_kills_who_uses_the_bundle_and_frees_it_when_they_are_gone() -> None:
    driver = CoreDriver(cpu=2)
    reserve(driver, CPU=1)
    lease = driver.lease(1, **strategy())
    driver.core.obey_bundle_orders([order(pb.BundleOrder.RETURN)], driver.now)
    assert KillWorker(lease.worker_id) in driver.settle()
    assert free(driver) == 1  # the process may still be at it
    driver.die(lease.worker_id)
    assert free(driver) == 2
    assert driver.death.death.cause.kind == common_pb2.DeathCause.PLACEMENT_GROUP_REMOVED


def test_a_unit_that_awaits_its_worker_waits_again_when_its_bundle_goes() -> None:
    driver = CoreDriver(cpu=2)
    reserve(driver, CPU=1)
    driver.want(1, **strategy())
    obey(driver, order(pb.BundleOrder.RETURN))
    assert free(driver) == 2
    assert len(driver.core.leases.queue) == 1


def test_an_actor_lives_in_the_bundle_that_the_gcs_chose() -> None:
    driver = CoreDriver(cpu=2)
    reserve(driver, 0, CPU=1)
    reserve(driver, 1, CPU=1)
    spec = actor(cpu=1, placement=1)
    spec.strategy.placement_group.placement_group_id = GROUP
    spec.strategy.placement_group.bundle_index = -1
    driver.core.create_actor(spec, 1, driver.now, 1)
    used = {bundle.key[1]: bundle.ledger.allocations for bundle in driver.core.ledger.bundles}
    assert used == {0: 0, 1: 1}
    other = actor(2, cpu=1, placement=1, strategy=spec.strategy)
    driver.core.create_actor(other, 1, driver.now, 1)
    (rejected,) = [c.report for c in driver.settle() if isinstance(c, ReportActor)]
    assert rejected.rejected


def test_fractions_of_a_gpu_come_from_the_devices_of_the_bundle() -> None:
    driver = CoreDriver(cpu=2, GPU=2)
    reserve(driver, CPU=1, GPU=1)
    book = driver.core.ledger
    half = ResourceSet.from_floats({"GPU": 0.5})
    first, second = book.allocate(half, USE), book.allocate(half, USE)
    assert first is not None and second is not None
    assert book.devices_of(first) == book.devices_of(second)
    assert book.allocate(half, USE) is None
    outside = book.allocate(ResourceSet.from_floats({"GPU": 1}))
    assert outside is not None and book.devices_of(outside) != book.devices_of(first)


def listing(*bundles: tuple[bytes, float], state: int = pb.PG_CREATED) -> pb.PlacementGroupStatus:
    status = pb.PlacementGroupStatus(placement_group_id=GROUP, state=state)  # type: ignore[arg-type]
    one = ResourceSet.from_floats({"CPU": 1}).to_proto()
    for node_id, cpus in bundles:
        left = ResourceSet.from_floats({"CPU": cpus}).to_proto()
        status.bundles.add(node_id=node_id, resources=one, available=left)
    return status


def test_a_request_for_a_group_elsewhere_asks_the_gcs_and_is_sent_on() -> None:
    driver = CoreDriver(cpu=2)
    driver.node(THERE, CPU=1)
    commands = driver.want(1, **strategy())
    (watch,) = [command.message for command in commands if isinstance(command, WatchGroups)]
    assert list(watch.add) == [GROUP]
    driver.core.spillback.groups.news(listing((THERE, 1)))
    assert [(c.node_id, c.count) for c in driver.settle() if isinstance(c, SpillLease)] == [(THERE, 1)]
    driver.core.tick(1.0)
    (watch,) = [command.message for command in driver.settle() if isinstance(command, WatchGroups)]
    assert list(watch.drop) == [GROUP]


@pytest.mark.parametrize(
    ("news", "reason"),
    [
        (listing(state=pb.PG_REMOVED), raylet_pb2.LeaseRefused.PLACEMENT_GROUP_REMOVED),
        (listing((THERE, 0.5)), None),
    ],
)
def test_a_request_waits_for_a_full_bundle_and_is_refused_without_its_group(
    news: pb.PlacementGroupStatus, reason: int | None
) -> None:
    driver = CoreDriver(cpu=2)
    driver.want(1, **strategy())
    driver.core.spillback.groups.news(news)
    refused = [command.reason for command in driver.settle() if isinstance(command, RefuseLease)]
    assert refused == ([] if reason is None else [reason])


def test_a_request_larger_than_any_bundle_is_unschedulable() -> None:
    driver = CoreDriver(cpu=2)
    driver.want(1, resources={"CPU": 2}, **strategy())
    driver.core.spillback.groups.news(listing((THERE, 1)))
    (refused,) = [command for command in driver.settle() if isinstance(command, RefuseLease)]
    assert refused.reason == raylet_pb2.LeaseRefused.UNSCHEDULABLE and "larger than any bundle" in refused.message
