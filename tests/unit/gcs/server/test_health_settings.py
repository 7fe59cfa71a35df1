"""What the GCS takes of upstream's keys: how long a node may be silent, how many dead actors are kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from manta_common.settings import SettingsError
from manta_gcs.server.settings import GcsSettings


def settings(**config: Any) -> GcsSettings:
    return GcsSettings(listen="127.0.0.1:0", store="sqlite:memory", system_config=json.dumps(config))


def test_the_health_checks_of_the_system_config_say_when_a_node_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().death_timeout_s == 5.0
    assert settings(health_check_period_ms=1000, health_check_failure_threshold=7).death_timeout_s == 7.0
    assert settings(health_check_failure_threshold=2).death_timeout_s == 6.0
    assert settings(health_check_period_ms=100).death_timeout_s == 2.0  # a heartbeat comes each second
    monkeypatch.setenv("RAY_health_check_period_ms", "2000")
    assert settings().death_timeout_s == 10.0


@pytest.mark.parametrize("value", ["often", 0])
def test_a_health_check_that_cannot_be_stops_the_start(value: Any) -> None:
    with pytest.raises(SettingsError, match="health_check_period_ms"):
        settings(health_check_period_ms=value)


def test_the_number_of_dead_actors_that_are_kept_is_named_as_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().dead_actors_kept == 10_000
    monkeypatch.setenv("RAY_maximum_gcs_destroyed_actor_cached_count", "70")
    assert settings().dead_actors_kept == 70
    assert settings(maximum_gcs_destroyed_actor_cached_count=7).dead_actors_kept == 7
    with pytest.raises(SettingsError, match="maximum_gcs_destroyed_actor_cached_count"):
        settings(maximum_gcs_destroyed_actor_cached_count="few")
