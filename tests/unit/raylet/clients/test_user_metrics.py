"""The node's page of user-defined metrics: names, labels, limits, and what goes with its process."""

from __future__ import annotations

import pytest
from manta_common.ids import WorkerId
from manta_proto.raylet.v1 import raylet_pb2
from manta_raylet.clients.user_metrics import UserMetrics, number, shown_name
from prometheus_client.parser import text_string_to_metric_families

COUNTER = raylet_pb2.UserMetrics.COUNTER
GAUGE = raylet_pb2.UserMetrics.GAUGE
HISTOGRAM = raylet_pb2.UserMetrics.HISTOGRAM
ONE = WorkerId(b"\1" * 28)
TWO = WorkerId(b"\2" * 28)
LABELS = {"Component": "core_worker", "NodeAddress": "10.0.0.1", "SessionName": "session_1"}


@pytest.fixture
def refused() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def metrics(refused: list[tuple[str, str]]) -> UserMetrics:
    return UserMetrics(LABELS, lambda: {"ray_resources"}, lambda *why: refused.append(why), lines_limit=20)


def told(
    name: str,
    value: float = 1.0,
    kind: raylet_pb2.UserMetrics.Kind = GAUGE,
    *,
    tags: tuple[str, ...] = (),
    description: str = "",
    boundaries: tuple[float, ...] = (),
    counts: tuple[int, ...] = (),
) -> raylet_pb2.UserMetrics:
    message = raylet_pb2.UserMetrics(version="2.60.0")
    family = message.families.add(name=name, kind=kind, description=description, boundaries=boundaries)
    family.series.add(tags=tags, value=value, counts=counts)
    return message


def samples(metrics: UserMetrics) -> dict[tuple[str, str], float]:
    """(name, its own tags) -> value; read by the parser of another project."""
    found = {}
    for family in text_string_to_metric_families(metrics.page().decode()):
        for sample in family.samples:
            own = {k: v for k, v in sample.labels.items() if k not in {*LABELS, "Version", "WorkerId"}}
            found[sample.name, " ".join(f"{k}={v}" for k, v in own.items())] = sample.value
    return found


def test_a_line_has_the_names_and_labels_of_upstream(metrics: UserMetrics) -> None:
    metrics.told(ONE, told("requests", 3, COUNTER, tags=("route", "/a"), description="All of them."))
    labels = 'Component="core_worker",NodeAddress="10.0.0.1",SessionName="session_1",Version="2.60.0"'
    labels += f',WorkerId="{ONE.hex()}"'
    assert metrics.page().decode() == (
        "# HELP ray_requests_total All of them.\n"
        "# TYPE ray_requests_total counter\n"
        f'ray_requests_total{{{labels},route="/a"}} 3.0\n'
    )


@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [
        ("a", GAUGE, "ray_a"),
        ("a", COUNTER, "ray_a_total"),
        ("a_total", COUNTER, "ray_a_total"),
        ("a_total", GAUGE, "ray_a_total"),
        ("a:b", GAUGE, "ray_a:b"),
        ("a b\n", GAUGE, "ray_a_b_"),
    ],
)
def test_names_on_the_page(name: str, kind: raylet_pb2.UserMetrics.Kind, shown: str) -> None:
    assert shown_name(raylet_pb2.UserMetrics.Family(name=name, kind=kind)) == shown


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1.0"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN")]
)
def test_numbers_on_the_page(value: float, text: str) -> None:
    assert number(value) == text


def test_a_histogram_counts_up_to_each_boundary(metrics: UserMetrics) -> None:
    metrics.told(ONE, told("seconds", 101.5, HISTOGRAM, boundaries=(0.1, 1), counts=(2, 1, 4)))
    assert samples(metrics) == {
        ("ray_seconds_bucket", "le=0.1"): 2,
        ("ray_seconds_bucket", "le=1.0"): 3,
        ("ray_seconds_bucket", "le=+Inf"): 7,
        ("ray_seconds_count", ""): 7,
        ("ray_seconds_sum", ""): 101.5,
    }


def test_text_of_users_cannot_break_the_page(metrics: UserMetrics) -> None:
    value = 'a"b\\c\nray_faked 1\n'
    metrics.told(ONE, told("a", 1, tags=("my-tag", value), description="first\nray_faked 2\n"))
    assert samples(metrics) == {("ray_a", f"my_tag={value}"): 1}


def test_a_tag_cannot_take_the_place_of_a_label(metrics: UserMetrics) -> None:
    metrics.told(ONE, told("a", 1, tags=("WorkerId", "x")))
    assert f'WorkerId="{ONE.hex()}"'.encode() in metrics.page()
    assert b'"x"' not in metrics.page()


def test_a_later_word_replaces_an_earlier_one_and_a_dead_process_takes_its_series_along(metrics: UserMetrics) -> None:
    metrics.told(ONE, told("a", 1))
    metrics.told(ONE, told("a", 2))
    metrics.told(TWO, told("a", 5))
    assert metrics.page().count(b"# TYPE ray_a gauge") == 1
    assert metrics.page().count(b" 2.0\n") == 1
    metrics.gone(ONE)
    assert samples(metrics) == {("ray_a", ""): 5}
    metrics.gone(TWO)
    assert metrics.page() == b""
    metrics.told(ONE, told("a", 1, HISTOGRAM, boundaries=(1,), counts=(0, 1)))
    metrics.all_gone()
    assert metrics.page() == b""


def test_names_of_the_node_and_of_another_kind_are_refused_and_said_once(
    metrics: UserMetrics, refused: list[tuple[str, str]]
) -> None:
    metrics.told(ONE, told("resources", 1))
    metrics.told(ONE, told("resources", 2))
    metrics.told(ONE, told("a_total", 1))
    metrics.told(TWO, told("a", 1, COUNTER))
    assert [name for name, _ in refused] == ["ray_resources", "ray_a_total"]
    assert samples(metrics) == {("ray_a_total", ""): 1}


def test_series_beyond_the_limit_are_counted_and_make_room_when_others_go(metrics: UserMetrics) -> None:
    for number_ in range(30):
        metrics.told(ONE, told("a", 1, tags=("n", str(number_))))
    metrics.told(TWO, told("b", 1))
    assert len(samples(metrics)) == 20
    assert metrics.dropped == 11
    assert b"ray_b" not in metrics.page()
    metrics.gone(ONE)
    metrics.told(TWO, told("b", 1))
    assert samples(metrics) == {("ray_b", ""): 1}


@pytest.mark.parametrize(
    "message",
    [
        told("a", tags=("key",)),
        told("a", counts=(1,)),
        told("a", 1, HISTOGRAM, boundaries=(1.0,), counts=(1,)),
        told("a", 1, 7),  # type: ignore[arg-type]
    ],
)
def test_a_series_that_cannot_be_is_refused(metrics: UserMetrics, message: raylet_pb2.UserMetrics) -> None:
    with pytest.raises(ValueError, match="metric 'a'"):
        metrics.told(ONE, message)
