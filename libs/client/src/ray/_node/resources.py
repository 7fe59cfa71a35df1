"""What a node offers: CPUs, GPUs and memory as found on the machine, with the user's overrides."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

OBJECT_STORE_SHARE: Final = 0.3
OBJECT_STORE_MOST_BYTES: Final = 200 * 10**9  # unless the user says how much
OBJECT_STORE_MINIMUM_BYTES: Final = 75 * 1024 * 1024
MAX_QUANTITY: Final = 100_000_000_000_000
# Custom resources must not bear these names: name -> (parameter, flag) to use instead.
RESERVED: Final[Mapping[str, str]] = {
    "CPU": "num_cpus",
    "GPU": "num_gpus",
    "memory": "memory",
    "object_store_memory": "object_store_memory",
}
OVERRIDE_RESOURCES: Final = "RAY_OVERRIDE_RESOURCES"
OVERRIDE_LABELS: Final = "RAY_OVERRIDE_LABELS"
_NO_LIMIT: Final = 1 << 60  # cgroup v1 shows a huge number for "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user said; None: detect it."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: float | None = None
    object_store_memory: float | None = None
    resources: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to look; a test gives another root than "/"."""

    root: Path = Path("/")

    def cpus(self) -> int:
        """CPUs that this process may use: its affinity, or the quota of its control group if that is less."""
        count = len(os.sched_getaffinity(0))
        quota = self._cpu_quota()
        return count if quota is None else max(1, min(count, math.ceil(quota)))

    def gpus(self, env: Mapping[str, str]) -> int:
        """NVIDIA devices, at most as many as CUDA_VISIBLE_DEVICES shows."""
        try:
            found = len(list((self.root / "proc/driver/nvidia/gpus").iterdir()))
        except OSError:
            return 0
        visible = visible_gpus(env)
        return found if visible is None else min(found, len(visible))

    def available_memory(self) -> int:
        """Bytes that can be used now, by the machine's count or by the limit of the control group if that is less."""
        available = self._meminfo("MemAvailable")
        for limit, used in self._memory_limits():
            available = min(available, max(0, limit - used))
        return available

    def _meminfo(self, name: str) -> int:
        for line in (self.root / "proc/meminfo").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise OSError(f"/proc/meminfo has no {name}; give memory and object_store_memory explicitly")

    def _cpu_quota(self) -> float | None:
        quotas: list[float] = []
        for folder in self._groups("cpu"):
            text = _read(folder / "cpu.max")
            if text is not None:
                limit, _, period = text.partition(" ")
            else:
                limit, period = _read(folder / "cpu.cfs_quota_us") or "", _read(folder / "cpu.cfs_period_us") or ""
            if limit.lstrip("-").isdigit() and period.isdigit() and int(limit) > 0 and int(period) > 0:
                quotas.append(int(limit) / int(period))
        return min(quotas, default=None)

    def _memory_limits(self) -> list[tuple[int, int]]:
        """(limit, used) of this process's control group and each above it. The page cache that the kernel can drop
        does not count as used."""
        found: list[tuple[int, int]] = []
        for folder in self._groups("memory"):
            limit = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes") or ""
            used = _read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes") or ""
            if limit.isdigit() and used.isdigit() and int(limit) < _NO_LIMIT:
                found.append((int(limit), max(0, int(used) - _inactive_file(folder))))
        return found

    def _groups(self, controller: str) -> list[Path]:
        """The folders of our control group and of those above it, in both hierarchies."""
        folders: list[Path] = []
        for line in (_read(self.root / "proc/self/cgroup") or "").splitlines():
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if controllers and controller not in controllers.split(","):
                continue
            top = self.root / "sys/fs/cgroup" / (controller if controllers else "")
            inner = top / path.strip("/")
            # In a container the path may be the host's and not exist here; then the top is our own group.
            folders += [folder for folder in (inner, *inner.parents) if folder == top or top in folder.parents]
        return folders


def node_resources(
    wanted: Wanted,
    *,
    machine: Machine,
    env: Mapping[str, str],
    node_ip: str,
    is_head: bool,
) -> dict[str, float]:
    """The node's totals, by resource name: counts, and bytes for memory.

    env: RAY_OVERRIDE_RESOURCES, JSON, beats `wanted`; RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES and
    RAY_DEFAULT_OBJECT_STORE_MEMORY_PROPORTION give the object store's size where nobody does.
    raises: ValueError naming the resource and what would be right.
    """
    wanted = _overridden(wanted, env)
    custom = dict(wanted.resources or {})
    for name in custom:
        if name in RESERVED:
            parameter = RESERVED[name]
            raise ValueError(
                f"{name!r} cannot be a custom resource; use {parameter} (--{parameter.replace('_', '-')}) instead of "
                f"resources={custom}"
            )
    num_gpus = machine.gpus(env) if wanted.num_gpus is None else wanted.num_gpus
    visible = visible_gpus(env)
    if visible is not None and num_gpus > len(visible):
        raise ValueError(
            f"num_gpus is {num_gpus:g}, but CUDA_VISIBLE_DEVICES shows {len(visible)}: {','.join(visible) or 'none'}"
        )
    memory, object_store = _memory(wanted, machine, env)
    totals: dict[str, float] = {
        "CPU": machine.cpus() if wanted.num_cpus is None else wanted.num_cpus,
        "GPU": num_gpus,
        "memory": memory,
        "object_store_memory": object_store,
        f"node:{node_ip}": 1.0,
        **custom,
    }
    if is_head:
        totals["node:__internal_head__"] = 1.0
    for name, amount in totals.items():
        _check(name, amount)
    return {name: float(amount) for name, amount in totals.items() if amount}


def visible_gpus(env: Mapping[str, str]) -> list[str] | None:
    """What CUDA_VISIBLE_DEVICES lists; None when it is not set."""
    text = env.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return None
    devices = [part.strip() for part in text.split(",") if part.strip()]
    # CUDA ignores everything from the first invalid index on; -1 and NoDevFiles are how "none" is written.
    for index, device in enumerate(devices):
        if device in ("-1", "NoDevFiles"):
            return devices[:index]
    return devices


def _overridden(wanted: Wanted, env: Mapping[str, str]) -> Wanted:
    """What the user said, with what the environment says over it. raises: ValueError."""
    override = override_of(env, OVERRIDE_RESOURCES)
    if not override:
        return wanted
    own = {parameter: override.pop(name) for name, parameter in RESERVED.items() if name in override}
    return replace(wanted, **own, resources={**(wanted.resources or {}), **override})


def override_of(env: Mapping[str, str], name: str) -> dict[str, Any]:
    """The JSON object in the variable; empty when it is not set. raises: ValueError naming the variable."""
    text = env.get(name, "").strip()
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{name} is not JSON ({error}): {text!r}") from error
    if not isinstance(value, dict):
        raise ValueError(f'{name} must be a JSON object such as {{"name": 1}}, not {text!r}')
    return value


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    """raises: ValueError naming the variable."""
    text = env.get(name, "").strip()
    try:
        number = float(text) if text else default
    except ValueError:
        number = -1.0
    if not 0 < number < math.inf:
        raise ValueError(f"{name} is {text!r}; expected a number above 0")
    return number


def _memory(wanted: Wanted, machine: Machine, env: Mapping[str, str]) -> tuple[float, float]:
    available = 0
    if wanted.memory is None or wanted.object_store_memory is None:
        available = machine.available_memory()
    object_store = wanted.object_store_memory
    if object_store is None:
        share = _number(env, "RAY_DEFAULT_OBJECT_STORE_MEMORY_PROPORTION", OBJECT_STORE_SHARE)
        most = _number(env, "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES", OBJECT_STORE_MOST_BYTES)
        object_store = max(OBJECT_STORE_MINIMUM_BYTES, int(min(most, available * share)))
    elif 0 <= object_store < OBJECT_STORE_MINIMUM_BYTES:
        raise ValueError(
            f"object_store_memory is {object_store:g} bytes; the minimum is {OBJECT_STORE_MINIMUM_BYTES} "
            f"({OBJECT_STORE_MINIMUM_BYTES >> 20} MiB)"
        )
    memory = wanted.memory
    if memory is None:
        memory = available - object_store
        if memory <= 0:
            raise ValueError(
                f"object_store_memory of {object_store:g} bytes leaves nothing of the {available} bytes available; "
                "lower it or give memory"
            )
    return memory, object_store


def _check(name: str, amount: float) -> None:
    if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not math.isfinite(amount):
        raise ValueError(f"resource {name!r} must be a number, not {amount!r}")
    if amount < 0:
        raise ValueError(f"resource {name!r} must not be negative: {amount!r}")
    if amount != int(amount):
        raise ValueError(f"a node's resources must be whole numbers; {name!r} is {amount!r}")
    if amount > MAX_QUANTITY:
        raise ValueError(f"resource {name!r} is {amount!r}; the most is {MAX_QUANTITY}")


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _inactive_file(folder: Path) -> int:
    for line in (_read(folder / "memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file") and value.isdigit():
            return int(value)
    return 0
