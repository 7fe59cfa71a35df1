import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator

import pytest
from manta_common.metrics import Metrics
from prometheus_client.parser import text_string_to_metric_families

LIMIT_S = 10.0


@pytest.fixture
async def metrics() -> AsyncIterator[Metrics]:
    made = Metrics("gcs", node="n1")
    yield made
    await made.close()


async def fetch(port: int, path: str = "/metrics") -> str:
    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LIMIT_S) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(read)


def samples(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("state", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels["part"] == "gcs" and sample.labels["node"] == "n1"
    }


async def test_a_scrape_sees_every_kind_with_the_constant_labels(metrics: Metrics) -> None:
    metrics.counter("manta_nodes_died", "Nodes that died").inc(2)
    metrics.gauge("ray_actors", "Actors by state", ["state"]).labels(state="ALIVE").set(3)
    metrics.histogram("manta_rpc_seconds", "Calls", buckets=(0.1, 1.0)).observe(0.5)
    seen = samples(await fetch(await metrics.serve(0)))
    assert seen["manta_nodes_died_total", ""] == 2
    assert seen["ray_actors", "ALIVE"] == 3
    assert seen["manta_rpc_seconds_count", ""] == 1
    assert seen["process_start_time_seconds", ""] > 0


async def test_the_same_name_gives_the_same_metric_and_another_shape_is_refused(metrics: Metrics) -> None:
    assert metrics.counter("a", "A", ["x"]) is metrics.counter("a", "A", ["x"])
    with pytest.raises(ValueError, match="metric a exists as Counter"):
        metrics.gauge("a", "A", ["x"])
    with pytest.raises(ValueError, match="metric a exists"):
        metrics.counter("a", "A")


async def test_a_gauge_may_be_read_when_the_page_is_asked_for(metrics: Metrics) -> None:
    depth = [1, 2, 3]
    metrics.gauge("manta_inbox_events", "Waiting").set_function(lambda: len(depth))
    port = await metrics.serve(0)
    assert samples(await fetch(port))["manta_inbox_events", ""] == 3
    depth.pop()
    assert samples(await fetch(port))["manta_inbox_events", ""] == 2


async def test_another_path_is_not_found(metrics: Metrics) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        await fetch(await metrics.serve(0), "/secrets")


@pytest.mark.parametrize("data", [b"\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"x" * 100_000, b"\x16\x03\x01\r\n\r\n"])
async def test_nonsense_ends_its_connection_and_harms_no_scrape(metrics: Metrics, data: bytes) -> None:
    port = await metrics.serve(0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        answer = await asyncio.wait_for(reader.read(-1), LIMIT_S)
        assert b"200 OK" not in answer
    except ConnectionResetError:
        pass  # what was not read is the reason for a reset
    writer.close()
    assert "process_start_time_seconds" in await fetch(port)


async def test_a_taken_port_is_refused(metrics: Metrics) -> None:
    port = await metrics.serve(0)
    with pytest.raises(OSError, match="in use"):
        await Metrics("gcs").serve(port)
