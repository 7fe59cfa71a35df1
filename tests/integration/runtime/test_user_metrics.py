"""User-defined metrics of a real cluster, as a real Prometheus sees them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray.util.metrics import Counter, Gauge, Histogram

from tests.integration.conditions import wait_for
from tests.integration.prometheus_server import Prometheus, prometheus

# For a report, a scrape and a busy machine.
SEEN_S = 60.0


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster whose processes tell of their metrics ten times a second; the address of its page."""
    root = tmp_path_factory.mktemp("root")
    os.chmod(root, 0o700)
    context = ray.init(
        num_cpus=2, _temp_dir=str(root), log_to_driver=False, _system_config={"metrics_report_interval_ms": 100}
    )
    try:
        yield f"127.0.0.1:{context['metrics_export_port']}"
    finally:
        ray.shutdown()


@pytest.fixture(scope="module")
def server(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus(tmp_path_factory.mktemp("prometheus"), [page]) as server:
        yield server


@ray.remote
def served(route: str) -> str:
    Counter("requests", "Requests that were served.", ("route",)).inc(tags={"route": route})
    return ray.get_runtime_context().get_worker_id()


@ray.remote
class Meter:
    def __init__(self) -> None:
        self.level = Gauge("level", "How full it is.")
        self.seconds = Histogram("seconds", "How long it took.", boundaries=[0.1, 1, 10], tag_keys=("kind",))

    def measure(self, level: float, seconds: list[float]) -> str:
        self.level.set(level)
        for value in seconds:
            self.seconds.observe(value, {"kind": "read"})
        return ray.get_runtime_context().get_worker_id()


def values(server: Prometheus, expression: str) -> list[Any]:
    return sorted(series["value"] for series in server.query(expression))


def test_metrics_of_driver_tasks_and_actors_are_scraped_and_go_with_their_process(server: Prometheus) -> None:
    requests = Counter("requests", "Requests that were served.", ("route",))
    requests.inc(5, {"route": "/driver"})
    worker_id = ray.get(served.remote("/task"))
    meter = Meter.remote()
    actor_id = ray.get(meter.measure.remote(0.5, [0.05, 0.5, 100.0]))
    wait_for(lambda: values(server, "ray_requests_total") == [1, 5], "requests of task and driver", SEEN_S)
    wait_for(lambda: values(server, "ray_level") == [0.5], "the actor's level", SEEN_S)

    (task,) = server.query('ray_requests_total{route="/task"}')
    context = ray.get_runtime_context()
    assert task["WorkerId"] == worker_id
    assert task["Component"] == "core_worker"
    assert task["NodeAddress"] == ray.nodes()[0]["NodeManagerAddress"]
    assert task["SessionName"].startswith("session_")
    assert task["Version"] == ray.__version__
    (driver,) = server.query('ray_requests_total{route="/driver"}')
    assert driver["WorkerId"] == context.get_worker_id()
    assert values(server, "ray_seconds_count") == [3]
    assert {
        series["le"]: series["value"] for series in server.query(f'ray_seconds_bucket{{WorkerId="{actor_id}"}}')
    } == {
        "0.1": 1,
        "1.0": 2,
        "10.0": 2,
        "+Inf": 3,
    }
    assert values(server, "ray_seconds_sum") == [100.55]

    ray.get(meter.measure.remote(0.75, [0.5]))
    requests.inc(tags={"route": "/driver"})
    wait_for(lambda: values(server, "ray_level") == [0.75], "the actor's new level", SEEN_S)
    wait_for(lambda: values(server, "ray_seconds_count") == [4], "the actor's new count", SEEN_S)
    wait_for(lambda: values(server, "ray_requests_total") == [1, 6], "the driver's new count", SEEN_S)

    ray.kill(meter)
    wait_for(lambda: not server.query("ray_level"), "the level of an actor that is gone is gone", SEEN_S)
    assert not server.query("ray_seconds_count")
    assert values(server, "ray_requests_total") == [1, 6]
