"""Handles of actors that arrive while the last one of the same actor here is dropped."""

from typing import Any

import pytest
import ray

pytestmark = pytest.mark.usefixtures("session")


@ray.remote(num_cpus=0)
class Pong:
    def ping(self) -> str:
        return "pong"


@ray.remote
def import_while_the_last_is_dropped(handles: list[Any]) -> tuple[str, int]:
    """In a worker, whose entry of another process's actor lives as long as handles and calls of it do."""
    import pickle

    import ray.actor
    from ray._runtime import current

    runtime = current.runtime()
    state = pickle.dumps(handles[0])
    make = ray.actor._make_handle

    def drop_meanwhile(*arguments: Any, **options: Any) -> Any:
        # As another thread may, between the look at the table of actors and the new handle.
        handles.clear()
        runtime.drops.settle()
        return make(*arguments, **options)

    ray.actor._make_handle = drop_meanwhile
    try:
        handle = pickle.loads(state)
    finally:
        ray.actor._make_handle = make
    [actor] = runtime.actors._actors.values()
    assert actor.ref is not None, "a handle that keeps the actor alive must hold its ref"
    answer = ray.get(handle.ping.remote())
    del handle
    runtime.drops.settle()
    return answer, len(runtime.actors._actors)


def test_a_handle_is_imported_while_the_last_one_is_dropped() -> None:
    pong = Pong.remote()
    assert ray.get(import_while_the_last_is_dropped.remote([pong]), timeout=60) == ("pong", 0)
    assert ray.get(pong.ping.remote(), timeout=60) == "pong"
