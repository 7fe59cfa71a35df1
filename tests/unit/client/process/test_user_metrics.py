"""User-defined metrics in their process: what is checked, what is kept, and what its raylet is told."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from manta_proto.raylet.v1 import raylet_pb2
from ray._runtime.process import metric_table
from ray._runtime.process.metric_table import COUNTER, GAUGE, HISTOGRAM, MetricTable
from ray.util import metrics


class StandInProcess:
    """Keeps what it is to send and when it is to be called."""

    def __init__(self, interval_s: float = 2.0) -> None:
        self.tuning = SimpleNamespace(metrics_interval_s=interval_s)
        self.closing = False
        self.calls: list[Callable[[], None]] = []
        self.sent: list[raylet_pb2.UserMetrics] = []
        self.reactor = SimpleNamespace(
            call_later=lambda _delay_s, call: self.calls.append(call), call_soon=self.calls.append
        )
        self.raylet = SimpleNamespace(
            send=lambda _kind, payload: self.sent.append(raylet_pb2.UserMetrics.FromString(payload))
        )

    def pass_time(self) -> None:
        while self.calls:
            self.calls.pop(0)()


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> MetricTable:
    made = MetricTable()
    monkeypatch.setattr(metrics, "TABLE", made)
    return made


def told(message: raylet_pb2.UserMetrics) -> dict[str, Any]:
    return {
        " ".join((family.name, *series.tags)): list(series.counts) or series.value
        for family in message.families
        for series in family.series
    }


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: metrics.Counter(""), ValueError, "Empty name is not allowed"),
        (lambda: metrics.Counter(3), TypeError, "no len"),  # type: ignore[arg-type]
        (lambda: metrics.Counter("a", tag_keys=["key"]), TypeError, "tag_keys should be a tuple type"),  # type: ignore[arg-type]
        (lambda: metrics.Counter("a", tag_keys=(1,)), TypeError, "Tag keys must be str, got <class 'int'>"),  # type: ignore[arg-type]
        (lambda: metrics.Histogram("a"), ValueError, "boundaries argument should be provided"),
        (lambda: metrics.Histogram("a", boundaries=[1, 0]), ValueError, "Invalid `boundaries` argument at index 1"),
        (lambda: metrics.Counter("a").inc(0), ValueError, "value must be >0, got 0"),
        (lambda: metrics.Counter("a").inc(-1), ValueError, "value must be >0, got -1"),
        (lambda: metrics.Counter("a").inc("1"), TypeError, "value must be int or float, got <class 'str'>"),  # type: ignore[arg-type]
        (lambda: metrics.Gauge("a").set("1"), TypeError, "value must be int or float"),  # type: ignore[arg-type]
        (lambda: metrics.Histogram("a", boundaries=[1]).observe("1"), TypeError, "value must be int or float"),  # type: ignore[arg-type]
        (lambda: metrics.Counter("a", tag_keys=("b", "c")).inc(), ValueError, "Missing value for tag key.s.: b,c"),
        (lambda: metrics.Gauge("a", tag_keys=("b",)).set(1, {"b": 1}), TypeError, "Tag values must be str"),  # type: ignore[dict-item]
        (lambda: metrics.Gauge("a").set_default_tags({"b": "c"}), ValueError, "Unrecognized tag key b"),
    ],
)
def test_bad_metrics_are_refused(table: MetricTable, make: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        make()


def test_a_metric_of_a_bad_name_is_warned_about_and_drops_what_it_is_given(table: MetricTable) -> None:
    with pytest.warns(UserWarning, match="Invalid metric name: 1-a"):
        counter = metrics.Counter("1-a")
    counter.inc()
    assert told(table.take()) == {}
    with pytest.warns(FutureWarning, match="contains a : character"):
        metrics.Gauge("a:b")


def test_records_add_up_by_tags_over_all_metrics_of_a_name(table: MetricTable) -> None:
    counter = metrics.Counter("requests", "All of them.", ("route",))
    assert counter.set_default_tags({"route": "/"}) is counter
    counter.inc()
    counter.inc(2, {"route": "/a", "unknown": "left out"})
    metrics.Counter("requests", "Others.", ("route",)).inc(True, {"route": "/"})
    metrics.Gauge("requests").set(7)
    metrics.Gauge("requests").set(None)
    histogram = metrics.Histogram("seconds", boundaries=[10, 1, 1])
    for value in (0.5, 1, 5, 100):
        histogram.observe(value)
    message = table.take()
    assert [(family.name, family.kind, family.description) for family in message.families] == [
        ("requests", COUNTER, "All of them."),
        ("requests", GAUGE, ""),
        ("seconds", HISTOGRAM, ""),
    ]
    assert told(message) == {"requests route /": 2, "requests route /a": 2, "requests": 7, "seconds": [2, 1, 1]}
    assert list(message.families[2].boundaries) == [1, 10]
    assert message.families[2].series[0].value == 106.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: metrics.Counter("a", "b", ("c",)).set_default_tags({"c": "d"}),
        lambda: metrics.Histogram("a", "b", [1, 2], ("c",)),
    ],
)
def test_a_metric_travels(table: MetricTable, make: Callable[[], metrics.Metric]) -> None:
    metric = make()
    assert pickle.loads(pickle.dumps(metric)).info == metric.info


def test_many_records_are_one_message_and_it_tells_only_what_changed(table: MetricTable) -> None:
    process = StandInProcess()
    table.connected(process)  # type: ignore[arg-type]
    counter = metrics.Counter("a", tag_keys=("t",))
    for number in range(100):
        counter.inc(tags={"t": str(number % 2)})
    assert len(process.calls) == 1
    process.pass_time()
    counter.inc(tags={"t": "1"})
    process.pass_time()
    assert list(map(told, process.sent)) == [{"a t 0": 50, "a t 1": 50}, {"a t 1": 51}]
    assert not process.calls


def test_what_was_recorded_before_a_connection_is_told_by_it_and_by_the_next_one(table: MetricTable) -> None:
    metrics.Gauge("a").set(3)
    first, second = StandInProcess(), StandInProcess()
    table.connected(first)  # type: ignore[arg-type]
    first.pass_time()
    table.disconnected(first)  # type: ignore[arg-type]
    metrics.Gauge("b").set(4)
    table.connected(second)  # type: ignore[arg-type]
    second.pass_time()
    assert list(map(told, first.sent)) == [{"a": 3}]
    assert list(map(told, second.sent)) == [{"a": 3, "b": 4}]


def test_nothing_is_told_when_the_cluster_wants_none(table: MetricTable) -> None:
    process = StandInProcess(interval_s=0)
    table.connected(process)  # type: ignore[arg-type]
    metrics.Gauge("a").set(3)
    assert not process.calls


def test_a_process_keeps_a_bounded_number_of_series_and_says_so_once(
    table: MetricTable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metric_table, "SERIES_LIMIT", 5)
    monkeypatch.setattr(metric_table, "MESSAGE_SERIES", 2)
    gauge = metrics.Gauge("a", tag_keys=("t",))
    for number in range(10):
        gauge.set(number, {"t": str(number)})
    gauge.set(9, {"t": "0"})
    process = StandInProcess()
    table.connected(process)  # type: ignore[arg-type]
    process.pass_time()
    assert [len(told(message)) for message in process.sent] == [2, 2, 1]
    assert told(process.sent[0])["a t 0"] == 9
    assert caplog.text.count("metrics_full") == 1
