"""What is promised of actor calls when the actor's process is killed between a call's receipt and its reply.

A call runs at most once by default, and at least once with max_task_retries=-1; either way one caller's calls run in
their order. Each round kills the process at points drawn from its seed; a failing round prints the seed.
"""

import random
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import ActorUnavailableError

from tests.integration.faults.conftest import StartCluster
from tests.integration.faults.journal import Journal, Kill

WAIT_S = 60.0
CALLS = 12
# At most this many kills in a round.
KILLS = 2


def kills_of(seed: int) -> list[Kill]:
    rng = random.Random(seed)
    points = rng.sample(range(CALLS), rng.randint(1, KILLS))
    return [Kill(at, rng.random() < 0.5) for at in points]


def outcome(ref: Any) -> int | None:
    """The call's result; None when the caller was told that it may or may not have run."""
    try:
        return int(ray.get(ref, timeout=WAIT_S))
    except ActorUnavailableError:
        return None


def one_round(actor: Any, folder: Path, seed: int, retries: int) -> None:
    kills = kills_of(seed)
    write = actor.write.options(max_task_retries=retries)
    results = [outcome(ref) for ref in [write.remote(seed, number, kills) for number in range(CALLS)]]
    # The next round begins with a living actor.
    ray.get(actor.ready.options(max_task_retries=-1).remote(), timeout=WAIT_S)
    lines = (folder / str(seed)).read_text().splitlines() if (folder / str(seed)).exists() else []
    runs = [(int(number), int(pid)) for number, pid in (line.split() for line in lines)]
    said = f"seed {seed}, retries {retries}, {kills}: results {results}, runs {runs}"
    numbers = [number for number, _ in runs]
    for number, result in enumerate(results):
        assert result in (number, None), said
        assert result is None or number in numbers, f"an answer without a run; {said}"
    for pid in {pid for _, pid in runs}:
        of_process = [number for number, its_pid in runs if its_pid == pid]
        assert of_process == sorted(set(of_process)), f"out of order or twice in one process; {said}"
    if retries == 0:
        assert numbers == sorted(set(numbers)), f"a call ran twice or out of order; {said}"
    else:
        assert results == list(range(CALLS)), f"a call was given up; {said}"
        firsts = list(dict.fromkeys(numbers))
        assert firsts == list(range(CALLS)), f"first runs are out of order; {said}"
        assert max(numbers.count(number) for number in firsts) <= 1 + len(kills), f"needless repetition; {said}"


@pytest.mark.parametrize("rounds", [40, pytest.param(500, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
def test_calls_keep_their_promise_however_their_actor_s_process_is_killed(
    rounds: int, start_cluster: StartCluster, tmp_path: Path
) -> None:
    start_cluster({"num_cpus": 2})
    actor = Journal.remote(str(tmp_path))
    ray.get(actor.ready.remote(), timeout=WAIT_S)
    for seed in range(rounds):
        one_round(actor, tmp_path, seed, retries=0 if seed % 2 else -1)
