"""A job hears of its tasks that find no node."""

from manta_common.ids import job_id
from manta_common.scheduling.demand_notice import INFEASIBLE_AFTER_S, WAITS_AFTER_S

from tests.unit.raylet.core_driver import JOB, CoreDriver


def test_tasks_that_no_node_can_hold_are_told_of_once() -> None:
    driver = CoreDriver(cpu=2)
    driver.want(1, resources={"CPU": 5})
    driver.want(2, resources={"CPU": 5}, backlog=7)
    assert driver.core.demand_notices({JOB}, INFEASIBLE_AFTER_S - 1) == []
    (notice,) = driver.core.demand_notices({JOB}, INFEASIBLE_AFTER_S)
    assert "{'CPU': 5.0}" in notice.text and "have too little CPU" in notice.text
    assert driver.core.demand_notices({JOB}, 1_000.0) == []


def test_nothing_is_said_to_a_job_whose_driver_does_not_listen_yet() -> None:
    driver = CoreDriver(cpu=2)
    driver.want(resources={"CPU": 5})
    assert driver.core.demand_notices({job_id(9)}, 1_000.0) == []
    assert len(driver.core.demand_notices({JOB}, 1_000.0)) == 1


def test_a_line_that_moves_is_not_told_of() -> None:
    driver = CoreDriver(cpu=1)
    lease = driver.lease(1, backlog=2)
    driver.want(2, backlog=1)
    driver.now = WAITS_AFTER_S - 1
    driver.give_back(lease)
    driver.now += WAITS_AFTER_S - 1
    assert driver.core.demand_notices({JOB}, driver.now) == []
    assert driver.core.demand_notices({JOB}, driver.now + 2) != []
