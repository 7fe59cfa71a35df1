"""What runs while things die: tasks, actors and objects whose results can be told right from wrong."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    ObjectStoreFullError,
    OwnerDiedError,
    RayTaskError,
    WorkerCrashedError,
)

LARGE = 200_000
ROUND_S = 90.0
# What a kill may do to a call that is not retried, or to an object that has one copy; anything else is a fault.
EXCUSED = (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    ObjectStoreFullError,
    OwnerDiedError,
    WorkerCrashedError,
)


@ray.remote(max_retries=-1)
def square(number: int) -> int:
    return number * number


@ray.remote(max_retries=-1)
def nested(depth: int) -> int:
    return 1 if depth == 0 else 1 + int(ray.get(nested.remote(depth - 1)))


@ray.remote
def large(value: int) -> Any:
    return np.full(LARGE, value, dtype="uint8")


@ray.remote
def total(array: Any) -> int:
    return int(array.sum(dtype="int64"))


@ray.remote
class Tally:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def note(self, number: int) -> list[int]:
        self.seen.append(number)
        return self.seen


class Outcome:
    """Counts of a run. `wrong` must stay empty."""

    def __init__(self) -> None:
        self.right = 0
        self.excused: dict[str, int] = {}
        self.wrong: list[str] = []

    def judge(self, what: str, run: Callable[[], bool]) -> None:
        """run: whether the result is right."""
        try:
            if run():
                self.right += 1
            else:
                self.wrong.append(f"{what}: wrong result")
        except EXCUSED as error:
            name = f"{what}: {type(error).__name__}"
            self.excused[name] = self.excused.get(name, 0) + 1
        except RayTaskError as error:
            if isinstance(error.cause, EXCUSED):
                name = f"{what}: task of {type(error.cause).__name__}"
                self.excused[name] = self.excused.get(name, 0) + 1
            else:
                self.wrong.append(f"{what}: {error!r}")
        except Exception as error:  # a hang shows as GetTimeoutError; whatever it is, it is a finding
            self.wrong.append(f"{what}: {error!r}"[:500])


def one_round(rng: random.Random, outcome: Outcome) -> None:
    """Some of everything; all of it is submitted before any of it is awaited."""
    numbers = [rng.randrange(10_000) for _ in range(rng.randrange(20, 200))]
    squares = [square.remote(number) for number in numbers]
    chain = nested.remote(3)
    values = [rng.randrange(200) for _ in range(4)]
    arrays = [large.remote(value) for value in values]
    sums = [total.remote(array) for array in arrays]
    put = ray.put(np.full(LARGE, values[0], dtype="uint8"))
    put_sum = total.remote(put)
    tally = Tally.remote()
    notes = [tally.note.remote(number) for number in range(10)]
    # Endless retries leave no excuse.
    outcome.judge("squares", lambda: ray.get(squares, timeout=ROUND_S) == [number * number for number in numbers])
    outcome.judge("nested", lambda: ray.get(chain, timeout=ROUND_S) == 4)
    for value, ref in zip(values, sums, strict=True):
        outcome.judge("sum of a result", lambda ref=ref, value=value: ray.get(ref, timeout=ROUND_S) == value * LARGE)  # type: ignore[misc]
    outcome.judge("sum of a put", lambda: ray.get(put_sum, timeout=ROUND_S) == values[0] * LARGE)
    outcome.judge("put", lambda: int(ray.get(put, timeout=ROUND_S)[-1]) == values[0])
    outcome.judge("order of calls", lambda: ray.get(notes[-1], timeout=ROUND_S) == list(range(10)))
