"""What a driver brings when it connects: the argument of ray._runtime.process.connect.connect_driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverOptions:
    """namespace: never empty. runtime_env, job_config: JSON, "" for none.

    token: empty when the driver is to look it up itself (environment, then the session folder). node_ip: the node to
    attach to, "" for any on this machine. raylet_socket: of the node that this process started, "" when it joined.
    """

    namespace: str
    entrypoint: str = ""
    runtime_env: str = ""
    job_config: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = ""
    sys_path: tuple[str, ...] = ()
    log_to_driver: bool = True
    token: bytes = b""
    node_ip: str = ""
    raylet_socket: str = ""
    system_config: Mapping[str, Any] = field(default_factory=dict)
