"""A request that needs much is not passed over for ever by those that need little."""

from tests.unit.raylet.core_driver import CoreDriver


def test_a_large_request_gets_its_turn_among_small_ones_and_holds_back_a_quarter_of_the_time() -> None:
    driver = CoreDriver(cpu=2)
    driver.want(who=1, backlog=1_000)
    driver.start()
    small = driver.grants()
    driver.want(who=2, request_id=9, resources={"CPU": 2})
    given_back = 0
    held_s = 0.0
    while not any(lease.client == _client(2) for lease in driver.grants()):
        driver.now += 0.01
        # One of the two that run ends each time: both CPUs are never free at once by themselves.
        if small:
            driver.give_back(small.pop(0))
            given_back += 1
        else:
            driver.settle()
        held_s += 0.01 * (len(small) + len(driver.grants()) < 2)
        small += [lease for lease in driver.grants() if lease.client == _client(1)]
        assert driver.now < 1.0, "it runs within the first time that is held back for it"
    assert given_back > 40, "before that the small ones had all"
    assert held_s < 0.2


def test_what_cannot_be_given_back_does_not_stop_the_others_for_ever() -> None:
    driver = CoreDriver(cpu=2)
    forever = driver.lease(who=3)
    driver.want(who=2, request_id=9, resources={"CPU": 2})
    granted = 0
    for _ in range(800):
        driver.now += 0.01
        driver.want(who=1)
        if not driver.grants():
            driver.start()
        for lease in driver.grants():
            granted += 1
            driver.give_back(lease)
    assert granted > 400, "three quarters of the time"
    driver.give_back(forever)
    if not driver.grants():
        driver.start()
    assert [lease.client for lease in driver.grants()] == [_client(2)]


def test_other_resources_are_not_held_back() -> None:
    driver = CoreDriver(cpu=1, slot=5)
    driver.lease(who=1)
    driver.want(who=2, request_id=9)
    driver.now = 0.55
    driver.settle()
    driver.want(who=3, resources={"slot": 1})
    driver.start()
    assert [lease.client for lease in driver.grants()] == [_client(3)]


def _client(number: int) -> bytes:
    from tests.unit.raylet.core_driver import client

    return client(number)
