"""User-defined metrics of a real cluster, as a real Prometheus sees them."""

from __future__ import annotations

import os
from collections.abc import Iterator

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


def by(label: str, server: Prometheus, expression: str) -> dict[str, float]:
    return {series.get(label, ""): series["value"] for series in server.query(expression)}


def test_metrics_of_driver_tasks_and_actors_are_scraped_and_go_with_their_process(server: Prometheus) -> None:
    requests = Counter("requests", "Requests that were served.", ("route",))
    requests.inc(5, {"route": "/driver"})
    worker_id = ray.get(served.remote("/task"))
    meter = Meter.remote()
    actor_id = ray.get(meter.measure.remote(0.5, [0.05, 0.5, 100.0]))

    def seen(expected: dict[str, float], label: str, expression: str) -> None:
        wait_for(lambda: by(label, server, expression) == expected, f"{expression} is {expected}", SEEN_S)

    seen({"/driver": 5, "/task": 1}, "route", "ray_requests_total")
    seen({ray.get_runtime_context().get_worker_id(): 5, worker_id: 1}, "WorkerId", "ray_requests_total")
    seen({actor_id: 0.5}, "WorkerId", "ray_level")
    seen({"0.1": 1, "1.0": 2, "10.0": 2, "+Inf": 3}, "le", f'ray_seconds_bucket{{WorkerId="{actor_id}",kind="read"}}')
    seen({"": 3}, "", "sum(ray_seconds_count)")
    seen({"": 100.55}, "", "sum(ray_seconds_sum)")
    session = ray.get_runtime_context().get_session_name()
    for label, value in (
        ("Component", "core_worker"),
        ("NodeAddress", ray.nodes()[0]["NodeManagerAddress"]),
        ("SessionName", session),
        ("Version", ray.__version__),
    ):
        seen({value: 0.5}, label, "ray_level")

    ray.get(meter.measure.remote(0.75, [0.5]))
    requests.inc(tags={"route": "/driver"})
    seen({actor_id: 0.75}, "WorkerId", "ray_level")
    seen({"": 4}, "", "sum(ray_seconds_count)")
    seen({"/driver": 6, "/task": 1}, "route", "ray_requests_total")

    ray.kill(meter)
    # Not only for want of a page: others' series are there in the same query.
    seen({"ray_requests_total": 7}, "__name__", 'sum by (__name__) ({__name__=~"ray_level|ray_requests_total"})')
