"""Which cluster a driver or a new node joins."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from ray._node.temp_root import default_temp_root

DEFAULT_GCS_PORT: Final = 6379
CURRENT_CLUSTER: Final = "current_cluster"
SESSION_PREFIX: Final = "session_"


class ClusterAddress(NamedTuple):
    """A running cluster. session_dir: of its head, when that is on this machine and known; it holds the token."""

    gcs_addresses: tuple[str, ...]
    session_dir: str = ""


def find_address(
    address: str | None, env: Mapping[str, str] | None = None, temp_root: str = ""
) -> ClusterAddress | None:
    """Resolve the `address` of ray.init(), `ray start` and `ray status`.

    address: "host:port", several with commas, "auto" (the latest cluster of this machine), "local" (a new one), or
    None: RAY_ADDRESS decides, else a cluster of `ray start` that runs on this machine, else a new one.
    returns: None for a new cluster.
    raises: ConnectionError when "auto" finds none; ValueError naming an address that is none.
    """
    env = os.environ if env is None else env
    root = temp_root or default_temp_root(env)
    wanted = (address or "").strip()
    # As upstream has it, the variable also decides what "auto" is.
    if wanted in ("", "auto"):
        wanted = env.get("RAY_ADDRESS", "").strip() or wanted
    if wanted == "local":
        return None
    current = current_cluster(root)
    if not wanted:
        return current.address if current is not None and current.daemon else None
    if wanted != "auto":
        given = parse_addresses(wanted)
        # The token of a cluster of this machine is in its session folder, whatever way its address was found.
        for known in (current, *_running_clusters(root)):
            if known is not None and set(given) & set(known.address.gcs_addresses):
                return ClusterAddress(given, known.address.session_dir)
        return ClusterAddress(given)
    if current is None:
        raise ConnectionError(
            f"no running cluster found on this machine ({os.path.join(root, CURRENT_CLUSTER)} names none); "
            "start one with `ray start --head`, or give its address as host:port"
        )
    return current.address


class CurrentCluster(NamedTuple):
    address: ClusterAddress
    daemon: bool  # of `ray start`, not of another driver


def current_cluster(temp_root: str) -> CurrentCluster | None:
    """The latest cluster of this machine, or that of a session folder, if it is still supervised."""
    try:
        with open(os.path.join(temp_root, CURRENT_CLUSTER)) as file:
            record = json.load(file)
        found = CurrentCluster(
            ClusterAddress(tuple(record["gcs_addresses"]), record["session_dir"]), bool(record.get("daemon"))
        )
        supervisor = int(record["supervisor_pid"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None  # not written by us, or by a version that we do not know
    return found if _supervises(supervisor, found.address.session_dir) else None


def _running_clusters(temp_root: str) -> Iterator[CurrentCluster]:
    """All of this machine that are still supervised, the newest first. cost: a look at each session folder."""
    try:
        names = sorted(os.listdir(temp_root), reverse=True)
    except OSError:
        return
    for name in names:
        found = current_cluster(os.path.join(temp_root, name)) if name.startswith(SESSION_PREFIX) else None
        if found is not None:
            yield found


def _supervises(pid: int, session_dir: str) -> bool:
    # A supervisor works in its session folder, so a pid that is another process's by now is seen.
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", session_dir)
    except OSError:
        return False


def parse_addresses(text: str) -> tuple[str, ...]:
    """ "a:1,b:2" -> ("a:1", "b:2"). raises: ValueError naming the part that is not host:port."""
    parts = tuple(part.strip().removeprefix("manta://") for part in text.split(","))
    for part in parts:
        host, _, port = part.rpartition(":")
        if not host or "://" in part or not port.isdigit() or not 0 < int(port) < 65536:
            hint = "Ray Client (ray://) is not supported; use host:port" if "://" in part else "expected host:port"
            raise ValueError(f"address {part!r} is not usable: {hint}, several with commas, 'auto' or 'local'")
    return parts
