"""The settings of manta-raylet."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from manta_common.resources import CPU, GPU, MEMORY, UNIT, ResourceSet
from manta_common.scheduling import HybridSettings
from manta_common.settings import ServiceSettings, SettingsError
from manta_proto.raylet.v1 import raylet_pb2

DEFAULT_TASK_EVENT_INTERVAL_MS: Final = 1000
DEFAULT_METRICS_INTERVAL_MS: Final = 2000
DEFAULT_MAX_LINEAGE_BYTES: Final = 1 << 30

# Of the system config -> of raylet_pb2.Tuning.
_TUNING: Final = {
    "max_direct_call_object_size": "inline_bytes",
    "task_rpc_inlined_bytes_limit": "call_inline_bytes",
    "worker_lease_timeout_milliseconds": "lease_idle_ms",
    "task_retry_delay_ms": "retry_delay_ms",
}


_CREATION_SITES: Final = "record_task_actor_creation_sites"


@dataclass(frozen=True, slots=True, kw_only=True)
class RayletSettings(ServiceSettings):
    """Flags and MANTA_RAYLET_* variables; resources and labels are JSON objects."""

    gcs: tuple[str, ...] = field(metadata={"help": "host:port of every GCS replica, comma separated"})
    node_dir: str = field(metadata={"help": "folder of this node's sockets"})
    object_manager_socket: str = field(default="", metadata={"help": "path; default NODE_DIR/object-manager.sock"})
    resources: str = field(default="", metadata={"help": 'JSON such as {"CPU": 4}; default: this machine\'s CPUs'})
    labels: str = field(default="{}", metadata={"help": "JSON object of the node's labels"})
    node_name: str = field(default="", metadata={"help": "name for people"})
    node_ip: str = field(default="127.0.0.1", metadata={"help": "address by which other nodes reach this one"})
    head: bool = field(default=False, metadata={"help": "this is the head node"})
    zygote_command: str = field(default="", metadata={"help": "default: manta-zygote beside the interpreter"})
    system_config: str = field(default="{}", metadata={"help": "JSON object as of ray.init(_system_config=)"})
    idle_worker_timeout_s: float = field(default=60.0, metadata={"help": "idle workers beyond the CPUs end after it"})
    worker_start_timeout_s: float = field(default=60.0, metadata={"help": "from fork to the worker's report"})
    concurrent_starts: int = field(default=0, metadata={"help": "forks at a time; 0: two a CPU, at least 4"})
    worker_limit: int = field(default=4_000, metadata={"help": "worker processes in all"})
    client_reconnect_s: float = field(default=10.0, metadata={"help": "how long a client without connection is kept"})

    def __post_init__(self) -> None:
        ServiceSettings.__post_init__(self)
        if not self.gcs:
            raise SettingsError("--gcs names no address; give host:port of the GCS")
        for flag, value in (("--labels", self.labels), ("--system-config", self.system_config)):
            _object(flag, value)
        _ = self.task_event_interval_ms, self.metrics_interval_ms, self.max_lineage_bytes, self.tuning
        _ = self.worker_niceness
        _ = self.idle_timeout_s, self.start_timeout_s, self.kept_workers, self.gpu_ids
        if any(not isinstance(value, str) for value in _object("--labels", self.labels).values()):
            raise SettingsError("--labels must map names to strings")
        if self.total.get(CPU) < 0:
            raise SettingsError("--resources: CPU must not be negative")

    @property
    def total(self) -> ResourceSet:
        """What this node offers. raises: SettingsError naming the resource that is malformed."""
        if not self.resources:
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            return ResourceSet({CPU: len(os.sched_getaffinity(0)) * UNIT, MEMORY: memory * 7 // 10 * UNIT})
        try:
            return ResourceSet.from_floats(_object("--resources", self.resources))
        except ValueError as error:
            raise SettingsError(f"--resources: {error}") from error

    @property
    def gpu_ids(self) -> tuple[str, ...]:
        """The devices behind this node's GPUs: the first that CUDA_VISIBLE_DEVICES lists; empty: numbered from 0.

        raises: SettingsError when it lists fewer than there are GPUs.
        """
        text, count = os.environ.get("CUDA_VISIBLE_DEVICES"), self.total.get(GPU) // UNIT
        if text is None or not count:
            return ()
        visible = tuple(device.strip() for device in text.split(",") if device.strip())
        if len(visible) < count:
            raise SettingsError(f"--resources: {count} GPUs, but CUDA_VISIBLE_DEVICES lists {len(visible)}: {text!r}")
        return visible[:count]

    @property
    def hides_gpus(self) -> bool:
        """Whether CUDA_VISIBLE_DEVICES is empty for what holds no GPU, as the variable of upstream's name asks."""
        return os.environ.get("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "").lower() in ("1", "true")

    @property
    def kills_children(self) -> bool:
        """Whether what user code started in a worker ends with it, in sessions of its own too. Named as upstream."""
        name = "kill_child_processes_on_worker_exit"
        value = str(self.config.get(name, os.environ.get(f"RAY_{name}", "1")))
        return value.lower() not in ("0", "false")

    @property
    def worker_niceness(self) -> int:
        """How much less than the services workers are given of a busy processor, 0 to 19. Named as upstream.

        Upstream's default is 15, which leaves a worker a thirtieth of what any other program of the machine gets.
        """
        return min(19, self._number("worker_niceness", 0, "only a privileged user can raise priorities"))

    @property
    def label_map(self) -> dict[str, str]:
        return dict(_object("--labels", self.labels))

    @property
    def config(self) -> dict[str, Any]:
        return _object("--system-config", self.system_config)

    @property
    def hybrid(self) -> HybridSettings:
        """The default policy's numbers: upstream's variables, which its system config overrides."""
        try:
            return HybridSettings.read(os.environ, self.config)
        except ValueError as error:
            raise SettingsError(str(error)) from error

    @property
    def task_event_interval_ms(self) -> int:
        """How often processes tell about their tasks; 0: never. Named as upstream, in environment or system config."""
        return self._number("task_events_report_interval_ms", DEFAULT_TASK_EVENT_INTERVAL_MS, "0 turns task events off")

    @property
    def metrics_interval_ms(self) -> int:
        """How often processes tell what their user-defined metrics came to; 0: never. Named as upstream."""
        return self._number(
            "metrics_report_interval_ms", DEFAULT_METRICS_INTERVAL_MS, "0 turns user-defined metrics off"
        )

    @property
    def max_lineage_bytes(self) -> int:
        """What each process of this node may keep of how its objects were computed. Named as upstream."""
        return self._number("max_lineage_bytes", DEFAULT_MAX_LINEAGE_BYTES, "0 keeps nothing")

    @property
    def tuning(self) -> raylet_pb2.Tuning:
        """What drivers and workers are told; the keys are upstream's."""
        tuning = raylet_pb2.Tuning()
        for name, field_name in _TUNING.items():
            if self._is_given(name):
                setattr(tuning, field_name, self._number(name, 0, "leave it out for the default"))
        sites = self.config.get(_CREATION_SITES, os.environ.get(f"RAY_{_CREATION_SITES}", ""))
        if str(sites).lower() in ("1", "true"):
            tuning.record_creation_sites = True
        return tuning

    @property
    def idle_timeout_s(self) -> float:
        """The flag, or upstream's key, which counts milliseconds."""
        own = round(1000 * self.idle_worker_timeout_s)
        return self._number("idle_worker_killing_time_threshold_ms", own, "0 ends idle workers at once") / 1000

    @property
    def start_timeout_s(self) -> float:
        own = max(1, round(self.worker_start_timeout_s))
        seconds = self._number("worker_register_timeout_seconds", own, "give at least 1")
        if not self._is_given("worker_register_timeout_seconds"):
            return self.worker_start_timeout_s
        return float(max(1, seconds))

    @property
    def kept_workers(self) -> int:
        """Idle workers that are not ended, 0: as many as CPUs."""
        if self.config.get("num_workers_soft_limit", -1) == -1 and "RAY_num_workers_soft_limit" not in os.environ:
            return 0
        return self._number("num_workers_soft_limit", 0, "-1 or no value keeps as many as CPUs")

    def _is_given(self, name: str) -> bool:
        return name in self.config or f"RAY_{name}" in os.environ

    def _number(self, name: str, default: int, zero: str) -> int:
        """From system config, then the environment. raises: SettingsError unless it is a whole number from 0 on."""
        value = self.config.get(name, os.environ.get(f"RAY_{name}", default))
        try:
            number = int(value)
        except (TypeError, ValueError) as error:
            raise SettingsError(f"{name} {value!r} is not a whole number") from error
        if number < 0:
            raise SettingsError(f"{name} {number} is negative; {zero}")
        return number

    @property
    def object_manager_path(self) -> str:
        return self.object_manager_socket or str(Path(self.node_dir) / "object-manager.sock")

    @property
    def log_dir(self) -> Path:
        return Path(self.session_dir or self.node_dir) / "logs"

    @property
    def zygote_argv(self) -> list[str]:
        command = self.zygote_command.split() or [str(Path(sys.executable).parent / "manta-zygote")]
        return [*command, "--folder", self.node_dir]


def _object(flag: str, text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{flag} is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise SettingsError(f"{flag} must be a JSON object, not {type(parsed).__name__}")
    return parsed
