"""The settings of the GCS."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

from manta.common.scheduling import HybridSettings
from manta.common.settings import ServiceSettings, SettingsError, host_of


@dataclass(frozen=True, slots=True, kw_only=True)
class GcsSettings(ServiceSettings):
    """manta-gcs, MANTA_GCS_*."""

    store: str = field(
        metadata={
            "help": "where the metadata lives: sqlite:///absolute/path, etcd://host:2379,host2:2379 or sqlite:memory",
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

    system_config: str = field(default="{}", metadata={"help": "JSON object as of ray.init(_system_config=)"})

    @property
    def hybrid(self) -> HybridSettings:
        """The default policy's numbers: upstream's variables, which its system config overrides."""
        try:
            config = json.loads(self.system_config)
            if not isinstance(config, dict):
                raise ValueError(f"--system-config must be a JSON object, not {type(config).__name__}")
            return HybridSettings.read(os.environ, config)
        except ValueError as error:
            raise SettingsError(str(error)) from error

    def __post_init__(self) -> None:
        ServiceSettings.__post_init__(self)
        if self.advertise:
            host_of(self.advertise)
        if not self.cluster:
            raise SettingsError("--cluster is empty; leave it out for the cluster called default")
        if not 1.0 <= self.node_death_timeout_s <= 3600:
            raise SettingsError(
                f"--node-death-timeout-s {self.node_death_timeout_s} is not between 1 and 3600; "
                "raylets send a heartbeat each second"
            )
        _ = self.hybrid
        if self.inbox_limit < 1:
            raise SettingsError(f"--inbox-limit {self.inbox_limit} is below 1")
