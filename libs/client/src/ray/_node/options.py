"""What a new node is to be like."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """Of a head (gcs_addresses empty) or of a node that joins. None: detected. Sizes in bytes."""

    gcs_addresses: tuple[str, ...] = ()
    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: float | None = None
    object_store_memory: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    node_name: str = ""
    node_ip: str = "127.0.0.1"
    gcs_port: int = 0
    metrics_port: int = 0  # of the raylet's page, with the user's metrics; 0: any free one
    store: str = ""
    temp_dir: str = ""
    socket_dir: str = ""  # as MANTA_SOCKET_DIR, which it overrides
    token: bytes = b""  # empty: found in the environment, else a new one
    # The node ends with this process; False: when it is told to (`ray start`).
    ends_with_this_process: bool = True
    system_config: Mapping[str, Any] = field(default_factory=dict)
    env_vars: Mapping[str, str] = field(default_factory=dict)
    log_level: str = "info"
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    insecure_plaintext: bool = False
    node_start_timeout_s: float = field(default_factory=lambda: _start_timeout_s())
    # For the raylet, half of it for the rest: together below the 5 s within which a dead driver's node is gone.
    stop_grace_s: float = 3.0

    @property
    def is_head(self) -> bool:
        return not self.gcs_addresses


def _start_timeout_s() -> float:
    text = os.environ.get("MANTA_NODE_START_TIMEOUT_S", "60")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise ValueError(f"MANTA_NODE_START_TIMEOUT_S is {text!r}; expected a number of seconds above 0")
    return seconds
