"""What a supervisor is asked to run: read from JSON, every field checked."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class SpecError(Exception):
    """A spec that cannot be used; the text names the field."""


class Spec(NamedTuple):
    """One node. Paths are absolute, sizes in bytes."""

    temp_dir: str  # parent of the session folder
    registry_dir: str  # where `ray stop` looks for supervisors
    bin_dirs: tuple[str, ...]  # where the services' console scripts are, in order
    socket_dir: str = ""  # parent of the folder of sockets; "session": the session folder; empty: memory if possible
    head: bool = True
    gcs_addresses: tuple[str, ...] = ()  # of the cluster to join, when not head
    store: str = ""  # of the GCS; empty: a SQLite file in the session folder
    token: str = ""  # empty: a new one
    node_ip: str = "127.0.0.1"
    gcs_port: int = 0  # 0: any free one
    metrics_port: int = 0  # of the raylet; 0: any free one
    resources: Mapping[str, float] = {}
    labels: Mapping[str, str] = {}
    node_name: str = ""
    arena_bytes: int = 0  # 0: the object manager's default
    system_config: Mapping[str, Any] = {}
    owner_pid: int = 0  # names the session; of the driver, or of `ray start`
    driver_fd: int = -1  # pidfd whose process the node ends with; -1: runs until it is told to stop
    ready_fd: int = -1  # gets one JSON line
    keep_only_logs: bool = False
    log_level: str = "info"
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    insecure_plaintext: bool = False
    start_timeout_s: float = 60.0
    grace_s: float = 3.0  # see core.Supervision

    @classmethod
    def from_json(cls, fields: Any) -> "Spec":
        """raises: SpecError naming a field that is unknown, missing or of the wrong type."""
        if not isinstance(fields, dict):
            raise SpecError(f"the spec must be a JSON object, not {type(fields).__name__}")
        known = cls.__annotations__
        unknown = sorted(fields.keys() - known.keys())
        if unknown:
            raise SpecError(f"unknown field {unknown[0]!r}; known are {', '.join(known)}")
        missing = [name for name in known if name not in fields and name not in cls._field_defaults]
        if missing:
            raise SpecError(f"missing field {missing[0]!r}")
        values = {name: _checked(name, known[name], value) for name, value in fields.items()}
        spec = cls(**values)
        if not spec.head and not spec.gcs_addresses:
            raise SpecError("a node that is not the head needs gcs_addresses")
        return spec

    @property
    def services(self) -> tuple[str, ...]:
        return ("gcs", "object-manager", "raylet") if self.head else ("object-manager", "raylet")


def _checked(name: str, kind: Any, value: Any) -> Any:
    if kind == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            return tuple(value)
    elif kind is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif kind in (str, int, bool):
        if type(value) is kind:
            return value
    elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return value
    raise SpecError(f"field {name!r} has the wrong type: {value!r}")
