"""`ray start`: a node of this machine that outlives the command."""

import json
import os
import signal
import sys
from typing import Any

import click

from ray._node import LocalNode, NodeOptions, NodeStartError, find_address, start_local
from ray._node.address import DEFAULT_GCS_PORT, ClusterAddress
from ray._node.temp_root import default_temp_root

_RULE = "-" * 20


@click.command()
@click.option("--head", is_flag=True, help="Start a new cluster, with this node as its head.")
@click.option("--address", help="Join the cluster with this GCS: host:port, several with commas, or auto.")
@click.option("--address-store", help="Store of the new cluster: sqlite:///path, etcd://host:2379,... or redis://host")
@click.option("--port", type=click.IntRange(0, 65535), help=f"Port of the GCS; 0: any. Default {DEFAULT_GCS_PORT}.")
@click.option("--metrics-export-port", type=click.IntRange(0, 65535), default=0, help="Port of the page of metrics.")
@click.option("--node-ip-address", default="127.0.0.1", show_default=True, help="Address that this node listens on.")
@click.option("--node-name", default="", help="Name of the node in lists.")
@click.option("--num-cpus", type=int, help="CPUs of this node. Default: what the machine has.")
@click.option("--num-gpus", type=int, help="GPUs of this node. Default: what the machine has.")
@click.option("--memory", type=int, help="Bytes that tasks and actors may ask for. Default: 70 % of what is available.")
@click.option("--object-store-memory", type=int, help="Bytes of the object store. Default: 30 % of what is available.")
@click.option("--resources", default="{}", help='Custom resources, as JSON: {"name": amount}.')
@click.option("--labels", default="", help="Labels of the node: key=value,... or JSON.")
@click.option("--temp-dir", default="", help="Folder of sessions. Default: MANTA_TMPDIR or /tmp/manta-<uid>.")
@click.option("--socket-dir", default="", help="Folder for sockets, or session. Default: MANTA_SOCKET_DIR or /dev/shm.")
@click.option("--system-config", default="{}", help="Settings of the cluster, as JSON; head only.")
@click.option("--tls-ca", default="", help="PEM file of the authority that signs the cluster's certificates.")
@click.option("--tls-cert", default="", help="PEM file of this node's certificate.")
@click.option("--tls-key", default="", help="PEM file of this node's key.")
@click.option("--insecure-plaintext", is_flag=True, help="Allow other machines to connect without TLS.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
@click.option("--include-dashboard", type=bool, default=None, help="Accepted; there is no dashboard yet.")
@click.option("--disable-usage-stats", is_flag=True, help="Accepted; nothing is ever reported.")
@click.option("--block", is_flag=True, help="Stay in the foreground until the node ends or Ctrl-C ends it.")
def start(**given: Any) -> None:
    """Start a node on this machine: a head (--head), or one that joins a cluster (--address)."""
    try:
        options = _options(given)
        node = start_local(options)
    except (NodeStartError, ValueError, ConnectionError) as error:
        raise click.ClickException(str(error)) from error
    _tell(node, options)
    if given["block"]:
        sys.exit(_block(node))


def _options(given: dict[str, Any]) -> NodeOptions:
    """raises: ValueError, ConnectionError."""
    if given["head"] == (given["address"] is not None):
        raise ValueError("give either --head, for a new cluster, or --address=<host:port>, to join one")
    if not given["head"]:
        for name in ("port", "address_store"):
            if given[name] is not None:
                raise ValueError(
                    f"--{name.replace('_', '-')} is for --head; a node that joins takes it from its cluster"
                )
    joined = _cluster(given["address"]) if given["address"] is not None else ClusterAddress(())
    ca, cert, key = _tls(given, joined)
    return NodeOptions(
        gcs_addresses=joined.gcs_addresses,
        num_cpus=given["num_cpus"],
        num_gpus=given["num_gpus"],
        memory=given["memory"],
        object_store_memory=given["object_store_memory"],
        resources=_json_object("--resources", given["resources"]),
        labels=_labels(given["labels"]),
        node_name=given["node_name"],
        node_ip=given["node_ip_address"],
        gcs_port=DEFAULT_GCS_PORT if given["port"] is None else given["port"],
        metrics_port=given["metrics_export_port"],
        store=given["address_store"] or "",
        temp_dir=given["temp_dir"],
        socket_dir=given["socket_dir"],
        token=_token(joined) if joined.gcs_addresses else b"",
        ends_with_this_process=False,
        system_config=_json_object("--system-config", given["system_config"]),
        log_level=given["log_level"],
        tls_ca=ca,
        tls_cert=cert,
        tls_key=key,
        insecure_plaintext=given["insecure_plaintext"],
    )


def _cluster(address: str) -> ClusterAddress:
    found = find_address(address)
    if found is None:
        raise ValueError(f"--address={address} names no cluster; give host:port or auto")
    return found


def _token(joined: ClusterAddress) -> bytes:
    from manta_common.credentials import CredentialError, find_token

    try:
        return find_token(os.environ, session_dir=joined.session_dir).value
    except CredentialError as error:
        raise ValueError(f"{error}; the head's token is in <its session folder>/token") from error


def _tls(given: dict[str, Any], joined: ClusterAddress) -> tuple[str, str, str]:
    """The flags, else what the environment or a session of this machine says. raises: ValueError."""
    from manta_common.credentials import CredentialError, TlsFiles, find_tls

    try:
        files = TlsFiles.from_paths(given["tls_ca"], given["tls_cert"], given["tls_key"])
        files = files or find_tls(os.environ, joined.session_dir)
    except CredentialError as error:
        raise ValueError(str(error)) from error
    return (files.ca, files.cert, files.key) if files is not None else ("", "", "")


def _json_object(flag: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{flag} {text!r} is not JSON ({error}); write it as {flag}='{{\"name\": 1}}'") from error
    if not isinstance(value, dict):
        raise ValueError(f"{flag} {text!r} is not a JSON object; write it as {flag}='{{\"name\": 1}}'")
    return value


def _labels(text: str) -> dict[str, str]:
    if text.lstrip().startswith("{"):
        return {key: str(value) for key, value in _json_object("--labels", text).items()}
    labels: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise ValueError(f"--labels {part!r} is not key=value")
        labels[key.strip()] = value.strip()
    return labels


def _tell(node: LocalNode, options: NodeOptions) -> None:
    click.echo(f"Local node IP: {node.node_ip}\n")
    click.echo(f"{_RULE}\nRay runtime started.\n{_RULE}\n")
    if options.is_head:
        click.echo("Next steps\n  To add another node to this Ray cluster, run")
        click.echo(f"    MANTA_TOKEN_FILE={node.token_file} \\\n      ray start --address='{node.gcs_address}'\n")
        click.echo("  To connect to this Ray cluster:\n    import ray\n    ray.init()\n")
        click.echo("  To look at its nodes and resources:\n    ray status\n")
    click.echo("  To terminate the Ray runtime, run\n    ray stop")
    click.echo(f"\nLogs: {os.path.join(node.session_dir, 'logs')}")
    if options.temp_dir and os.path.abspath(options.temp_dir) != default_temp_root(os.environ):
        click.echo(f"Session folder: {node.session_dir}")


def _block(node: LocalNode) -> int:
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        # Within the try: Ctrl-C may come as soon as the line is read.
        click.echo("\n--block: this command waits until the node ends; Ctrl-C stops it.")
        node.wait()
    except KeyboardInterrupt:
        node.stop()
    if node.exit_code:
        click.echo(f"The node has failed; see {os.path.join(node.session_dir, 'logs')}", err=True)
    return node.exit_code or 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
