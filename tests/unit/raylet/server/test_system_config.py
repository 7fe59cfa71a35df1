"""What a raylet makes of the system config: upstream's keys, in the environment too."""

from __future__ import annotations

import json
from typing import Any

import pytest
from manta_common.settings import SettingsError
from manta_raylet.server.settings import RayletSettings


def settings(**config: Any) -> RayletSettings:
    return RayletSettings(
        listen="127.0.0.1:0", gcs=("127.0.0.1:1",), node_dir="/nowhere", system_config=json.dumps(config)
    )


def test_processes_are_told_what_is_given_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not settings().tuning.ListFields()
    tuning = settings(max_direct_call_object_size=0, task_retry_delay_ms=250).tuning
    assert (tuning.HasField("inline_bytes"), tuning.inline_bytes, tuning.retry_delay_ms) == (True, 0, 250)
    assert not tuning.HasField("lease_idle_ms") and not tuning.HasField("call_inline_bytes")
    monkeypatch.setenv("RAY_worker_lease_timeout_milliseconds", "700")
    assert settings().tuning.lease_idle_ms == 700
    assert settings(worker_lease_timeout_milliseconds=5).tuning.lease_idle_ms == 5
    assert settings(task_rpc_inlined_bytes_limit=1000).tuning.call_inline_bytes == 1000


def test_the_worker_pool_has_upstreams_keys_too() -> None:
    assert (settings().idle_timeout_s, settings().start_timeout_s, settings().kept_workers) == (60.0, 60.0, 0)
    own = settings(
        idle_worker_killing_time_threshold_ms=1500, worker_register_timeout_seconds=20, num_workers_soft_limit=3
    )
    assert (own.idle_timeout_s, own.start_timeout_s, own.kept_workers) == (1.5, 20.0, 3)
    assert settings(num_workers_soft_limit=-1).kept_workers == 0


@pytest.mark.parametrize("key", ["max_direct_call_object_size", "num_workers_soft_limit", "task_retry_delay_ms"])
def test_values_that_are_no_numbers_stop_the_start(key: str) -> None:
    with pytest.raises(SettingsError, match=key):
        settings(**{key: "many"})
    with pytest.raises(SettingsError, match=key):
        settings(**{key: -5})


def test_call_sites_are_recorded_where_the_system_config_or_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert settings(record_task_actor_creation_sites=True).tuning.record_creation_sites
    assert not settings(record_task_actor_creation_sites=False).tuning.record_creation_sites
    monkeypatch.setenv("RAY_record_task_actor_creation_sites", "1")
    assert settings().tuning.record_creation_sites


def test_the_interval_of_metrics_has_upstreams_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().metrics_interval_ms == 2000
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "700")
    assert settings().metrics_interval_ms == 700
    assert settings(metrics_report_interval_ms=0).metrics_interval_ms == 0


def test_niceness_and_the_end_of_children_are_named_as_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (settings().worker_niceness, settings().kills_children) == (0, True)
    assert settings(worker_niceness=40).worker_niceness == 19
    assert not settings(kill_child_processes_on_worker_exit=False).kills_children
    monkeypatch.setenv("RAY_worker_niceness", "15")
    monkeypatch.setenv("RAY_kill_child_processes_on_worker_exit", "0")
    assert (settings().worker_niceness, settings().kills_children) == (15, False)
