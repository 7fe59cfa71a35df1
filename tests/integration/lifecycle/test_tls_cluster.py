"""A cluster whose every TCP connection is mutual TLS: it works across nodes, and strangers stay outside."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import ray
from manta_common.credentials import TlsFiles, Token
from pyarrow import flight
from ray._tools.gcs_tool import GcsTool, GcsToolError
from ray.cluster_utils import Cluster

from tests.certificates import Authority
from tests.integration.conditions import wait_for
from tests.integration.lifecycle.processes import of_session

WAIT_S = 40.0
BIN = Path(sys.executable).parent
OTHER = {"other": 0.01}


@ray.remote
def where() -> str:
    return str(ray.get_runtime_context().get_node_id())


@ray.remote
def array() -> Any:
    return np.arange(1 << 20, dtype="uint32")


@ray.remote
def total(numbers: Any) -> int:
    return int(numbers.sum(dtype="int64"))


@ray.remote
class Keeper:
    def __init__(self, refs: list[Any]) -> None:
        self.refs = refs

    def look(self) -> int:
        return int(ray.get(self.refs[0])[5])

    def ask(self, other: Any) -> int:
        return int(ray.get(other.look.remote()))


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, TlsFiles]]:
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    monkeypatch.setenv("MANTA_TMPDIR", str(root))
    files = Authority(tmp_path / "authority").issue("node")
    tls = {"tls_ca": files.ca, "tls_cert": files.cert, "tls_key": files.key}
    one = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **tls})
    try:
        one.add_node(num_cpus=2, resources={"other": 1}, **tls)
        yield one, files
    finally:
        one.shutdown()
    wait_for(lambda: not of_session(str(root)), "all processes are gone")


def run_status(address: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [str(BIN / "ray"), "status", "--address", address]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MANTA_TLS", "RAY_"))}
    env["MANTA_TMPDIR"] = "/nonexistent"  # else the session's own files are found
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**env, **environment})


def test_tasks_actors_and_arrays_cross_nodes_and_strangers_do_not_get_in(cluster: tuple[Cluster, TlsFiles]) -> None:
    running, files = cluster
    running.connect()
    head = running.head_node
    assert head is not None
    there = ray.get(where.options(resources=OTHER).remote(), timeout=WAIT_S)
    assert there != head.node_id
    far = array.options(resources=OTHER).remote()
    expected = int(np.arange(1 << 20, dtype="int64").sum())
    assert ray.get(total.remote(far), timeout=WAIT_S) == expected  # brought here by Flight
    assert int(ray.get(far, timeout=WAIT_S)[-1]) == (1 << 20) - 1
    near = ray.put(np.arange(1 << 20, dtype="uint32"))
    assert ray.get(total.options(resources=OTHER).remote(near), timeout=WAIT_S) == expected
    keepers = [Keeper.options(resources=place).remote([near]) for place in (OTHER, {})]
    for asking, asked in (keepers, reversed(keepers)):
        assert ray.get(asking.ask.remote(asked), timeout=WAIT_S) == 5

    token = Token(head.local.token)
    nodes = {node["NodeID"]: node for node in ray.nodes()}
    with pytest.raises(GcsToolError), GcsTool([head.gcs_address], token, gcs_timeout_s=1.0) as stranger:
        stranger.nodes()
    with GcsTool([head.gcs_address], token, tls=files) as tool:
        infos = [item.info for item in tool.nodes()]
    assert {info.node_id.hex() for info in infos} == set(nodes)
    ca = Path(files.ca).read_bytes()
    for info in infos:
        for address in (info.raylet_address, info.object_manager_address, info.flight_address):
            for credentials in (None, grpc.ssl_channel_credentials(ca)):
                _is_refused(address, credentials)
        plain = flight.FlightClient(f"grpc+tls://{info.flight_address}", tls_root_certs=ca)
        with pytest.raises(flight.FlightUnavailableError):
            plain.do_get(flight.Ticket(near._id))
        plain.close()

    named = {"MANTA_TOKEN_FILE": head.local.token_file}
    assert run_status(head.gcs_address, **named).returncode == 1
    half = run_status(head.gcs_address, **named, MANTA_TLS_CA=files.ca)
    assert half.returncode == 1 and "set all three" in half.stderr
    certified = {"MANTA_TLS_CA": files.ca, "MANTA_TLS_CERT": files.cert, "MANTA_TLS_KEY": files.key}
    shown = run_status(head.gcs_address, **named, **certified)
    assert shown.returncode == 0, shown.stderr


def _is_refused(address: str, credentials: grpc.ChannelCredentials | None) -> None:
    channel = grpc.insecure_channel(address) if credentials is None else grpc.secure_channel(address, credentials)
    with channel:
        call = channel.unary_unary("/any/Method", request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.RpcError) as refused:
            call(b"", timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_driver_finds_the_certificate_of_a_started_cluster_in_its_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    monkeypatch.setenv("MANTA_TMPDIR", str(root))
    files = Authority(tmp_path / "authority").issue("node")
    flags = [f"--tls-ca={files.ca}", f"--tls-cert={files.cert}", f"--tls-key={files.key}"]
    start = [str(BIN / "ray"), "start", "--head", "--port=0", "--num-cpus=1", "--object-store-memory=100000000", *flags]
    started = subprocess.run(start, capture_output=True, text=True, timeout=90, check=False)
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        ray.init(address="auto", log_to_driver=False)
        assert ray.get(where.remote(), timeout=WAIT_S) == ray.get_runtime_context().get_node_id()
        ray.shutdown()
    finally:
        ray.shutdown()
        subprocess.run([str(BIN / "ray"), "stop"], capture_output=True, timeout=60, check=False)
    wait_for(lambda: not of_session(str(root)), "all processes are gone")
