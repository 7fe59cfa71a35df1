import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray._supervisor.ports import PortTaken, ReservedPort
from ray._supervisor.registry import running

from tests.unit.client.stand_in_services import write_services

DEADLINE_S = 20.0


class Supervised:
    """A real supervisor over stand-in services."""

    def __init__(self, folder: Path, **options: Any) -> None:
        behaviour = options.pop("behaviour", {})
        driver = options.pop("driver", None)
        reader, writer = os.pipe()
        passed = [writer]
        spec = {
            "temp_dir": str(folder / "temp"),
            "registry_dir": str(folder / "registry"),
            "bin_dirs": [write_services(folder / "bin", **behaviour)],
            "ready_fd": writer,
            "resources": {"CPU": 1},
            **options,
        }
        if driver is not None:
            passed.append(os.pidfd_open(driver))
            spec["driver_fd"] = passed[-1]
        path = folder / "spec.json"
        path.write_text(json.dumps(spec))
        program = str(Path(sys.executable).with_name("manta-supervisor"))
        self.process = subprocess.Popen([program, "--spec", str(path)], pass_fds=passed)
        for descriptor in passed:
            os.close(descriptor)
        self.folder = folder
        self._reader = os.fdopen(reader, "rb")

    def ready(self) -> dict[str, Any]:
        ready, _, _ = select.select([self._reader], [], [], DEADLINE_S)
        assert ready, "the supervisor is silent"
        self.message: dict[str, Any] = json.loads(self._reader.readline())
        return self.message

    def pids(self) -> list[int]:
        return [service["pid"] for service in self.message["services"].values()]

    def log(self) -> str:
        return (Path(self.message["session_dir"]) / "logs" / "supervisor.log").read_text()

    def wait(self) -> int:
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        self._reader.close()
        self.process.terminate()
        try:
            self.process.wait(DEADLINE_S)
        finally:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(**options: Any) -> Supervised:
        started.append(Supervised(options.pop("folder", tmp_path), **options))
        return started[-1]

    yield start
    for supervised in started:
        supervised.close()


def ends(pidfd: int) -> bool:
    ready, _, _ = select.select([pidfd], [], [], DEADLINE_S)
    os.close(pidfd)
    return bool(ready)


def listens(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        select.select([], [], [], 0.01)


def test_a_head_tells_its_addresses_and_makes_private_folders(supervise: Callable[..., Supervised]) -> None:
    message = supervise().ready()
    assert message["ok"]
    assert set(message["services"]) == {"gcs", "object-manager", "raylet"}
    assert message["services"]["gcs"]["address"] == message["gcs_addresses"][0]
    assert all(listens(message["services"][part][key]) for part, key in [("gcs", "address"), ("raylet", "address")])
    for folder in (message["session_dir"], message["node_dir"]):
        assert os.stat(folder).st_mode & 0o777 == 0o700
    assert os.stat(message["token_file"]).st_mode & 0o777 == 0o600
    assert len(Path(message["token_file"]).read_text().strip()) == 64


def test_a_stop_ends_everything_and_keeps_only_the_logs(supervise: Callable[..., Supervised], tmp_path: Path) -> None:
    supervised = supervise(keep_only_logs=True)
    message = supervised.ready()
    pidfds = [os.pidfd_open(pid) for pid in supervised.pids()]
    assert [entry.pid for entry in running(str(tmp_path / "registry"))] == [supervised.process.pid]
    supervised.process.terminate()
    assert supervised.wait() == 0
    assert all(ends(pidfd) for pidfd in pidfds)
    assert os.listdir(message["session_dir"]) == ["logs"]
    assert running(str(tmp_path / "registry")) == []
    assert not (tmp_path / "temp" / "current_cluster").exists()


@pytest.mark.parametrize("service", ["gcs", "object-manager"])
def test_a_killed_service_comes_back_at_the_same_address(supervise: Callable[..., Supervised], service: str) -> None:
    supervised = supervise()
    message = supervised.ready()
    old = message["services"][service]
    address = old.get("address") or old["grpc"]
    pidfd = os.pidfd_open(old["pid"])
    os.kill(old["pid"], signal.SIGKILL)
    assert ends(pidfd)
    wait_for(lambda: supervised.log().count(f"service_ready service={service}") == 2)
    assert listens(address)


def test_a_killed_raylet_ends_the_node_with_a_failure(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise()
    supervised.ready()
    pidfds = [os.pidfd_open(pid) for pid in supervised.pids()]
    os.kill(supervised.message["services"]["raylet"]["pid"], signal.SIGKILL)
    assert supervised.wait() == 1
    assert all(ends(pidfd) for pidfd in pidfds)
    assert "killed by signal 9" in supervised.log()


def test_the_node_ends_with_its_driver(supervise: Callable[..., Supervised]) -> None:
    driver = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    supervised = supervise(driver=driver.pid)
    supervised.ready()
    driver.kill()
    driver.wait()
    assert supervised.wait() == 0


def test_a_killed_supervisor_takes_its_services_along(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise()
    supervised.ready()
    pidfds = [os.pidfd_open(pid) for pid in supervised.pids()]
    supervised.process.kill()
    assert all(ends(pidfd) for pidfd in pidfds)


def test_a_service_that_ignores_sigterm_is_killed_after_the_grace(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise(behaviour={"raylet": "stubborn"}, grace_s=0.3)
    supervised.ready()
    supervised.process.terminate()
    assert supervised.wait() == 0
    assert "service_killed service=raylet" in supervised.log()


def test_orphans_of_a_service_go_with_the_node(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise(behaviour={"raylet": "orphan"})
    file = Path(supervised.ready()["session_dir"]) / "logs" / "orphan"
    wait_for(lambda: file.exists() and file.read_text() != "")
    pidfd = os.pidfd_open(int(file.read_text()))
    supervised.process.terminate()
    assert supervised.wait() == 0
    assert ends(pidfd)


def test_a_service_that_crashes_at_its_start_is_reported_with_its_last_lines(
    supervise: Callable[..., Supervised],
) -> None:
    supervised = supervise(behaviour={"gcs": "crash"})
    message = supervised.ready()
    assert not message["ok"]
    assert message["service"] == "gcs"
    assert "exited with code 1" in message["reason"]
    assert "the reason is on this line" in message["tail"]
    assert supervised.wait() == 1


def test_a_service_that_never_gets_ready_is_reported_with_the_name_of_the_timeout(
    supervise: Callable[..., Supervised],
) -> None:
    message = supervise(behaviour={"object_manager": "silent"}, start_timeout_s=1.5).ready()
    assert message["service"] == "object-manager"
    assert "start_timeout_s" in message["reason"]


def test_what_a_user_has_put_into_the_session_folder_outlives_the_node(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise(keep_only_logs=True)
    folder = Path(supervised.ready()["session_dir"])
    (folder / "mine" / "deep").mkdir(parents=True)
    (folder / "mine" / "deep" / "data").write_text("kept")
    (folder / "gcs.db").write_text("the store")
    supervised.process.terminate()
    assert supervised.wait() == 0
    assert sorted(os.listdir(folder)) == ["logs", "mine"]
    assert (folder / "mine" / "deep" / "data").read_text() == "kept"


def test_a_missing_console_script_says_what_to_install(supervise: Callable[..., Supervised], tmp_path: Path) -> None:
    supervised = supervise(bin_dirs=[str(tmp_path / "nowhere")])
    message = supervised.ready()
    assert "pip install manta-gcs" in message["reason"]
    assert supervised.wait() == 1


def test_a_worker_node_has_no_gcs_and_uses_the_token_of_its_cluster(supervise: Callable[..., Supervised]) -> None:
    message = supervise(head=False, gcs_addresses=["127.0.0.1:1"], token="secret").ready()
    assert set(message["services"]) == {"object-manager", "raylet"}
    assert Path(message["token_file"]).read_text().strip() == "secret"
    assert message["gcs_addresses"] == ["127.0.0.1:1"]


def test_a_port_in_use_is_refused_by_name(supervise: Callable[..., Supervised]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        supervised = supervise(gcs_port=other.getsockname()[1])
        message = supervised.ready()
    assert not message["ok"]
    assert "is in use" in message["reason"]
    assert supervised.wait() == 1


def test_a_temp_folder_that_others_may_write_to_is_refused(
    supervise: Callable[..., Supervised], tmp_path: Path
) -> None:
    (tmp_path / "temp").mkdir()
    (tmp_path / "temp").chmod(0o777)
    message = supervise().ready()
    assert "others can write" in message["reason"]


def test_a_wrong_spec_names_the_field(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"temp_dir": 3}))
    program = str(Path(sys.executable).with_name("manta-supervisor"))
    result = subprocess.run([program, "--spec", str(path)], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "registry_dir" in result.stderr or "temp_dir" in result.stderr


def test_a_reserved_port_can_be_served_again_and_again_but_by_one_at_a_time() -> None:
    reserved = ReservedPort("127.0.0.1")
    host, port = reserved.address.rsplit(":", 1)
    for _ in range(3):
        with socket.create_server((host, int(port))):
            with socket.create_connection((host, int(port))):
                pass
            with pytest.raises(OSError, match="in use"):
                socket.create_server((host, int(port)))
    reserved.close()


def test_nobody_who_asks_for_any_port_is_given_a_reserved_one() -> None:
    reserved = [ReservedPort("127.0.0.1") for _ in range(200)]
    taken = {port.address for port in reserved}
    assert len(taken) == 200
    for _ in range(200):
        with socket.create_server(("127.0.0.1", 0)) as other:
            assert f"127.0.0.1:{other.getsockname()[1]}" not in taken
    for port in reserved:
        port.close()


def test_an_address_of_another_machine_says_so() -> None:
    with pytest.raises(PortTaken, match="node-ip-address"):
        ReservedPort("192.0.2.1")
