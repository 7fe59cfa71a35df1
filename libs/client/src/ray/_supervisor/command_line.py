"""The command lines of a node's services."""

import json
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from .session import Session
from .spec import Spec


class Addresses(NamedTuple):
    """host:port that stay the same over restarts."""

    gcs: tuple[str, ...]
    object_manager: str
    flight: str
    raylet: str
    object_manager_metrics: str
    gcs_metrics: str


def command_lines(spec: Spec, session: Session, addresses: Addresses) -> Mapping[str, list[str]]:
    """Service -> console script and arguments, without --ready-fd."""
    common = ["--die-with-parent", "--session-dir", session.folder, "--token-file", session.token_file]
    common += ["--log-level", spec.log_level]
    for flag, value in (("--tls-ca", spec.tls_ca), ("--tls-cert", spec.tls_cert), ("--tls-key", spec.tls_key)):
        if value:
            common += [flag, value]
    if spec.insecure_plaintext:
        common.append("--insecure-plaintext")
    in_flight = spec.system_config.get("object_manager_max_bytes_in_flight")
    socket = f"{session.node_dir}/object-manager.sock"
    lines = {
        "object-manager": [
            *("manta-object-manager", *common, "--listen", addresses.object_manager),
            *("--flight-listen", addresses.flight, "--node-ip", spec.node_ip, "--socket", socket),
            *("--metrics-port", _port(addresses.object_manager_metrics)),
            *(("--arena-bytes", str(spec.arena_bytes)) if spec.arena_bytes else ()),
            *(("--pull-budget-bytes", str(in_flight)) if in_flight is not None else ()),
        ],
        "raylet": [
            *("manta-raylet", *common, "--listen", addresses.raylet, "--gcs", ",".join(addresses.gcs)),
            *("--node-dir", session.node_dir, "--object-manager-socket", socket, "--node-ip", spec.node_ip),
            *("--resources", json.dumps(spec.resources), "--labels", json.dumps(spec.labels)),
            *("--node-name", spec.node_name, "--head" if spec.head else "--no-head"),
            *("--metrics-port", str(spec.metrics_port)),
            *("--system-config", json.dumps(spec.system_config)),
        ],
    }
    if spec.head:
        lines["gcs"] = [
            *("manta-gcs", *common, "--listen", addresses.gcs[0], "--session-name", session.name),
            *("--store", spec.store or _local_store(spec, session)),
            *("--metrics-port", _port(addresses.gcs_metrics)),
            *("--system-config", json.dumps(spec.system_config)),
        ]
    return lines


def _port(address: str) -> str:
    return address.rpartition(":")[2]


def _local_store(spec: Spec, session: Session) -> str:
    # A cluster that ends with its driver need not survive a loss of power, only the death of its GCS.
    synchronous = "off" if spec.keep_only_logs else "full"
    return f"sqlite://{quote(session.path('gcs.db'))}?synchronous={synchronous}"
