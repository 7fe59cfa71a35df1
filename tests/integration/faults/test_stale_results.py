"""What a process stored before it died, and never told of, is freed, wherever it was and whatever came after."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from tests.integration.conditions import wait_for
from tests.integration.faults.conftest import StartCluster
from tests.integration.faults.node_processes import arena_bytes

WAIT_S = 40.0
LARGE = 1 << 20
LAPS = 6


class EndsItsProcessOnce:
    """Its pickling, as the second result, ends the worker after the first was stored; the next attempt gets through."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        node = ray.get_runtime_context().get_node_id()
        first = not os.listdir(self.folder)
        Path(self.folder, node).touch()
        if first:
            os._exit(1)
        return str, (node,)


@ray.remote(num_returns=2, max_retries=1, scheduling_strategy="SPREAD")
def two_results(folder: str) -> Any:
    return np.ones(LARGE, dtype="uint8"), EndsItsProcessOnce(folder)


def test_what_an_attempt_stored_on_another_node_is_freed_with_the_result(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    cluster = start_cluster({"num_cpus": 0}, ({"num_cpus": 1}, {"num_cpus": 1}))
    moved = 0
    for lap in range(LAPS):
        folder = tmp_path / f"lap{lap}"
        folder.mkdir()
        array, node = two_results.remote(str(folder))
        assert int(ray.get(array, timeout=WAIT_S)[-1]) == 1
        assert ray.get(node, timeout=WAIT_S) in os.listdir(folder)
        moved += len(os.listdir(folder)) == 2
        del array, node
    assert moved, "no second attempt ran on another node than the first"
    for place in cluster.list_all_nodes():
        wait_for(lambda place=place: arena_bytes(place) == 0, f"{place} holds nothing", 10.0)  # type: ignore[misc]


class EndsItsProcess:
    """Its pickling, behind what was stored of the same call, ends the worker."""

    def __reduce__(self) -> Any:
        os._exit(1)


@ray.remote(num_cpus=0, max_restarts=-1)
class Maker:
    @ray.method(num_returns=2)
    def two(self) -> Any:
        return np.ones(LARGE, dtype="uint8"), EndsItsProcess()

    def items(self) -> Iterator[Any]:
        yield np.ones(LARGE, dtype="uint8")
        # One with a ref whose owner has to be told first waits at its worker, and those behind it do.
        yield [ray.put(1), np.ones(LARGE, dtype="uint8")]
        yield np.ones(LARGE, dtype="uint8")
        os._exit(1)


@ray.remote(num_cpus=0, max_retries=0)
def items() -> Iterator[Any]:
    for _ in range(5):
        yield np.ones(LARGE, dtype="uint8")
    os._exit(1)


def read(generator: Any) -> None:
    for ref in generator:
        ray.get(ref, timeout=WAIT_S)


def test_what_calls_and_generators_stored_that_ended_without_a_word_is_freed(start_cluster: StartCluster) -> None:
    cluster = start_cluster({"num_cpus": 1, "resources": {"here": 1}}, ({"num_cpus": 1, "resources": {"there": 1}},))
    for place in ("here", "there"):
        resources = {place: 0.01}
        maker = Maker.options(resources=resources).remote()
        for ref in maker.two.remote():
            with pytest.raises(ray.exceptions.RayActorError):
                ray.get(ref, timeout=WAIT_S)
        for generator in (
            maker.items.options(num_returns="streaming").remote(),
            items.options(resources=resources).remote(),
        ):
            with pytest.raises(ray.exceptions.RayError):
                read(generator)
            del generator
    for node in cluster.list_all_nodes():
        wait_for(lambda node=node: arena_bytes(node) == 0, f"{node} holds nothing", 10.0)  # type: ignore[misc]
