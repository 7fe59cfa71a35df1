from tests.unit.raylet.core_driver import JOB, CoreDriver, actor


def test_a_node_is_drained_when_its_last_lease_is_given_back() -> None:
    driver = CoreDriver()
    lease = driver.lease()
    assert not driver.core.drained
    driver.core.drain()
    assert not driver.core.drained
    driver.give_back(lease)
    assert driver.core.drained


def test_a_lease_that_awaits_its_worker_is_served_before_the_node_is_drained() -> None:
    driver = CoreDriver()
    driver.want()
    driver.core.drain()
    assert not driver.core.drained
    driver.start()
    (lease,) = driver.grants()
    driver.give_back(lease)
    assert driver.core.drained


def test_a_node_with_an_actor_is_not_drained() -> None:
    driver = CoreDriver()
    driver.core.create_actor(actor(), 0, 0)
    driver.core.drain()
    assert not driver.core.drained
    driver.core.job_ended(JOB, 0)
    driver.settle()
    assert driver.core.drained


def test_an_idle_node_is_drained_at_once() -> None:
    driver = CoreDriver()
    assert not driver.core.drained
    driver.core.drain()
    assert driver.core.drained
