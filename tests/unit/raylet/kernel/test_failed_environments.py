"""A worker that says, before it is ready, that its environment cannot be made: nobody tries again."""

from __future__ import annotations

from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2
from manta_raylet.kernel.commands import RefuseLease, ReportActor, StartWorker

from tests.unit.raylet.core_driver import CoreDriver, actor

FAILED = common_pb2.DeathCause(kind=common_pb2.DeathCause.RUNTIME_ENV_FAILED, message="the hook raised")


def start_fails(driver: CoreDriver) -> None:
    for command in [command for command in driver.commands if isinstance(command, StartWorker)]:
        worker = driver.core.worker(command.worker_id)
        assert worker is not None
        worker.cause = FAILED
        driver.die(worker.id, 1)


def test_those_who_wait_for_such_a_worker_are_refused_at_once_and_no_other_is_started() -> None:
    driver = CoreDriver()
    driver.want(backlog=1)
    start_fails(driver)
    (refusal,) = (command for command in driver.commands if isinstance(command, RefuseLease))
    assert (refusal.reason, refusal.message) == (raylet_pb2.LeaseRefused.RUNTIME_ENV_FAILED, "the hook raised")
    assert not any(isinstance(command, StartWorker) for command in driver.commands)
    driver.settle()
    assert not any(isinstance(command, StartWorker) for command in driver.commands)


def test_an_actor_gets_no_second_process() -> None:
    driver = CoreDriver()
    driver.core.create_actor(actor(), 0, driver.now)
    driver.settle()
    start_fails(driver)
    (report,) = (command.report for command in driver.commands if isinstance(command, ReportActor))
    assert report.failure.kind == common_pb2.DeathCause.RUNTIME_ENV_FAILED
    assert not any(isinstance(command, StartWorker) for command in driver.commands)
