"""Actors that have not started yet: kills, names, arguments that never come, owners that die meanwhile."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError
from ray.util.state import list_actors

from tests.integration.conditions import wait_for

pytestmark = pytest.mark.usefixtures("session")
WAIT_S = 30.0


@ray.remote(num_cpus=0)
class Plain:
    def __init__(self, argument: Any = None) -> None:
        self.argument = argument

    def there(self) -> Any:
        return self.argument


@ray.remote(resources={"nowhere": 1})
def never() -> None: ...


@ray.remote(num_cpus=0)
def fails() -> None:
    raise ValueError("no such argument")


@ray.remote(num_cpus=0)
class Owner:
    def pid(self) -> int:
        return os.getpid()

    def make(self, *, name: str = "", detached: bool = False, of: str = "never") -> Any:
        """An actor of this one's, whose constructor cannot be called."""
        self.missing = never.remote() if of == "never" else fails.remote()
        options = {"name": name, "lifetime": "detached"} if detached else {}
        self.made = Plain.options(**options).remote(self.missing)
        return self.made


@ray.remote(num_cpus=0)
def calls(handle: Any) -> str:
    """What a call from another process than the owner's comes to."""
    try:
        return repr(ray.get(handle.there.remote(), timeout=WAIT_S))
    except ActorDiedError as error:
        return str(error)


def state_of(handle: Any) -> str:
    found = list_actors(filters=[("actor_id", "=", handle._actor_id.hex())])
    return found[0].state if found else "unknown"


def test_calls_on_an_actor_that_waits_for_its_arguments_fail_when_its_owner_dies() -> None:
    owner = Owner.remote()
    plain = ray.get(owner.make.remote(), timeout=WAIT_S)
    detached = ray.get(owner.make.remote(name="unready", detached=True), timeout=WAIT_S)
    waiting = [plain.there.remote(), detached.there.remote()]
    asked = calls.remote(plain)
    wait_for(lambda: state_of(plain) == state_of(detached) == "DEPENDENCIES_UNREADY", "both are known")
    os.kill(ray.get(owner.pid.remote()), signal.SIGKILL)
    for call in [*waiting, plain.there.remote()]:
        with pytest.raises(ActorDiedError, match="owner"):
            ray.get(call, timeout=WAIT_S)
    assert "owner" in ray.get(asked, timeout=WAIT_S)
    assert state_of(plain) == state_of(detached) == "DEAD"


def test_whoever_holds_a_handle_hears_that_an_argument_of_the_constructor_is_an_error() -> None:
    owner = Owner.remote()
    handle = ray.get(owner.make.remote(of="fails"), timeout=WAIT_S)
    with pytest.raises(ActorDiedError, match="no such argument"):
        ray.get(handle.there.remote(), timeout=WAIT_S)
    failed = fails.remote()
    ray.wait([failed], timeout=WAIT_S)
    mine = Plain.remote(failed)  # it is an error already
    assert "no such argument" in ray.get(calls.remote(mine), timeout=WAIT_S)


def test_an_actor_that_waits_for_its_arguments_can_be_found_killed_and_started() -> None:
    other = Owner.remote()
    wanted = Plain.options(name="late").remote(never.remote())
    assert ray.get_actor("late")._actor_id == wanted._actor_id
    assert Plain.options(name="late", get_if_exists=True).remote(1)._actor_id == wanted._actor_id
    ray.kill(wanted, no_restart=False)
    wait_for(lambda: state_of(wanted) == "DEPENDENCIES_UNREADY", "there is nothing to restart")
    ray.kill(wanted)
    with pytest.raises(ActorDiedError):
        ray.get(wanted.there.remote(), timeout=WAIT_S)
    again = Plain.options(name="late").remote(other.pid.remote())
    assert ray.get(again.there.remote(), timeout=WAIT_S) == ray.get(other.pid.remote())


def test_a_kill_that_allows_restarts_uses_one_before_the_first_start_too() -> None:
    big = Plain.options(resources={"nowhere": 1}, max_restarts=1, max_task_retries=-1).remote()
    call = big.there.remote()
    ray.kill(big, no_restart=False)
    wait_for(lambda: state_of(big) == "RESTARTING", "one restart is used")
    ray.kill(big, no_restart=False)
    with pytest.raises(ActorDiedError):
        ray.get(call, timeout=WAIT_S)


def test_an_actor_goes_on_while_the_constructor_of_another_that_holds_as_much_runs_for_ever() -> None:
    """The node counts what the first one holds; the cluster must not count it once more until it has started."""

    @ray.remote(num_cpus=0, resources={"slot": 1.5})
    class Inner:
        def there(self) -> int:
            return 1

    @ray.remote(num_cpus=0, resources={"slot": 1.5})
    class Outer:
        def __init__(self) -> None:
            self.inner = Inner.remote()
            assert ray.get(self.inner.there.remote(), timeout=WAIT_S) == 1

        def there(self) -> int:
            return 2

    assert ray.get(Outer.remote().there.remote(), timeout=WAIT_S) == 2
