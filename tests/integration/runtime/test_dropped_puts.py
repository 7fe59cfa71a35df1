"""Puts that are dropped before anybody was told of them: their range is the next put's, and nobody else's is."""

import random
import threading
from typing import Any

import numpy as np
import pytest
import ray
from ray._runtime.current import runtime

from tests.integration.conditions import wait_for
from tests.integration.runtime.conftest import MIB
from tests.integration.runtime.memory_maps import place_of

pytestmark = pytest.mark.usefixtures("session")


def hold_extents() -> None:
    """Put until this process writes to an extent."""

    def holds() -> bool:
        ray.put(np.zeros(MIB, dtype="uint8"))
        return bool(runtime().arena.holds_extents())  # type: ignore[attr-defined]

    wait_for(holds, "an extent is held")


@ray.remote
def first(array: Any) -> int:
    return int(array[0])


def test_a_dropped_put_is_written_over_by_the_next_and_one_that_is_seen_is_not() -> None:
    hold_extents()

    def seen_twice() -> bool:
        # The next flush may come between the two.
        places = []
        for number in range(2):
            ref = ray.put(np.full(MIB, number, dtype="uint8"))
            view = ray.get(ref)
            places.append(place_of(view))
            del view, ref
        return places[0] == places[1]

    wait_for(seen_twice, "two puts lie at the same place")
    views = [ray.get(ray.put(np.full(MIB, number, dtype="uint8"))) for number in range(8)]
    assert len({place_of(view) for view in views}) == 8
    assert [int(view[0]) for view in views] == list(range(8)) == [int(view[-1]) for view in views]


def test_puts_of_several_threads_are_dropped_kept_read_and_passed_on() -> None:
    hold_extents()
    wrong: list[str] = []

    def run(seed: int) -> None:
        chance = random.Random(seed)
        kept: list[tuple[int, Any]] = []
        for step in range(150):
            value = (seed * 31 + step) % 251
            ref = ray.put(np.full(chance.choice((MIB // 2, MIB, 2 * MIB)), value, dtype="uint8"))
            what = chance.choice(("drop", "drop", "keep", "read", "pass on"))
            if what == "keep":
                kept.append((value, ref))
            elif what == "read":
                kept.append((value, ray.get(ref)))
            elif what == "pass on" and ray.get(first.remote(ref)) != value:
                wrong.append(f"step {step} of {seed}: the task saw another value")
            del ref
            if len(kept) > 6:
                value, held = kept.pop(chance.randrange(len(kept)))
                array = ray.get(held) if isinstance(held, ray.ObjectRef) else held
                if not (array == value).all():
                    wrong.append(f"step {step} of {seed}: {value} became {np.unique(array)[:5]}")

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    arena = runtime().arena  # type: ignore[attr-defined]
    wait_for(lambda: arena.describe().used < 2 * MIB, "every byte came back")
    wait_for(lambda: arena.describe().extents == 0, "every extent came back")
