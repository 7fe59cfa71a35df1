"""The settings of the GCS."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any, Final

from manta_common.scheduling import HybridSettings
from manta_common.settings import ServiceSettings, SettingsError, host_of

from manta_gcs.actors.actor_table import DEAD_LIMIT

# Upstream's period and number of failures, for who gives one of the two.
_HEALTH_CHECK_DEFAULTS: Final = (3_000, 5)
# Raylets send a heartbeat each second.
_SHORTEST_DEATH_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GcsSettings(ServiceSettings):
    """manta-gcs, MANTA_GCS_*."""

    store: str = field(
        metadata={
            "help": "where the metadata lives: sqlite:///path, etcd://host:2379,host2:2379 or redis://host",
            "secret": True,
        }
    )
    cluster: str = field(default="default", metadata={"help": "name of the cluster; several may share one etcd"})
    session_name: str = field(default="", metadata={"help": "name of the session, told to clients"})
    advertise: str = field(
        default="", metadata={"help": "host:port at which others reach this replica; without it, where it listens"}
    )
    node_death_timeout_s: float = field(
        default=5.0, metadata={"help": "seconds of silence after which a node is declared dead"}
    )
    inbox_limit: int = field(
        default=10_000, metadata={"help": "events that may wait; beyond it clients are told to repeat their requests"}
    )

    dead_actor_limit: int = field(
        default=DEAD_LIMIT, metadata={"help": "dead actors of which the record is kept, here and in the store"}
    )
    system_config: str = field(default="{}", metadata={"help": "JSON object as of ray.init(_system_config=)"})

    @property
    def dead_actors_kept(self) -> int:
        """The flag, unless upstream's key is given."""
        name = "maximum_gcs_destroyed_actor_cached_count"
        given = self._config().get(name, os.environ.get(f"RAY_{name}"))
        return self.dead_actor_limit if given is None else _positive(name, given)

    @property
    def hybrid(self) -> HybridSettings:
        """The default policy's numbers: upstream's variables, which its system config overrides."""
        try:
            return HybridSettings.read(os.environ, self._config())
        except ValueError as error:
            raise SettingsError(str(error)) from error

    @property
    def death_timeout_s(self) -> float:
        """The flag, unless upstream's keys are given: so many health checks of that period that fail."""
        names = ("health_check_period_ms", "health_check_failure_threshold")
        config = self._config()
        given = [config.get(name, os.environ.get(f"RAY_{name}")) for name in names]
        if given == [None, None]:
            return self.node_death_timeout_s
        period_ms, failures = (
            _positive(name, default if value is None else value)
            for name, value, default in zip(names, given, _HEALTH_CHECK_DEFAULTS, strict=True)
        )
        return max(_SHORTEST_DEATH_TIMEOUT_S, period_ms * failures / 1000)

    def _config(self) -> dict[str, Any]:
        try:
            config = json.loads(self.system_config)
        except ValueError as error:
            raise SettingsError(f"--system-config is not JSON: {error}") from error
        if not isinstance(config, dict):
            raise SettingsError(f"--system-config must be a JSON object, not {type(config).__name__}")
        return config

    def __post_init__(self) -> None:
        ServiceSettings.__post_init__(self)
        if self.advertise:
            host_of(self.advertise)
        if not self.cluster:
            raise SettingsError("--cluster is empty; leave it out for the cluster called default")
        _ = self.death_timeout_s
        if not 1.0 <= self.node_death_timeout_s <= 3600:
            raise SettingsError(
                f"--node-death-timeout-s {self.node_death_timeout_s} is not between 1 and 3600; "
                "raylets send a heartbeat each second"
            )
        _ = self.hybrid
        for flag, value in (("inbox-limit", self.inbox_limit), ("dead-actor-limit", self.dead_actor_limit)):
            if value < 1:
                raise SettingsError(f"--{flag} {value} is below 1")
        _ = self.dead_actors_kept


def _positive(name: str, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{name} {value!r} is not a whole number") from error
    if number < 1:
        raise SettingsError(f"{name} {number} is below 1")
    return number
