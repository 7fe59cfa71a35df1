import json
import os
from pathlib import Path

import pytest
from ray._node.address import ClusterAddress, find_address, parse_addresses


def write_current(root: Path, *, daemon: bool, pid: int | None = None, session: Path | None = None) -> None:
    record = {
        "gcs_addresses": ["127.0.0.1:1234"],
        "session_dir": str(session or Path.cwd()),  # a supervisor works in its session folder; here the test does
        "supervisor_pid": os.getpid() if pid is None else pid,
        "daemon": daemon,
    }
    (root / "current_cluster").write_text(json.dumps(record))


def test_no_address_anywhere_means_a_new_cluster(tmp_path: Path) -> None:
    assert find_address(None, {}, str(tmp_path)) is None


def test_local_means_a_new_cluster_beside_a_running_one(tmp_path: Path) -> None:
    write_current(tmp_path, daemon=True)
    assert find_address("local", {"RAY_ADDRESS": "h:1"}, str(tmp_path)) is None


def test_no_address_joins_a_cluster_of_ray_start_but_not_another_drivers(tmp_path: Path) -> None:
    write_current(tmp_path, daemon=True)
    assert find_address(None, {}, str(tmp_path)) == ClusterAddress(("127.0.0.1:1234",), str(Path.cwd()))
    write_current(tmp_path, daemon=False)
    assert find_address(None, {}, str(tmp_path)) is None


def test_auto_finds_any_running_cluster(tmp_path: Path) -> None:
    write_current(tmp_path, daemon=False)
    assert find_address("auto", {}, str(tmp_path)) == ClusterAddress(("127.0.0.1:1234",), str(Path.cwd()))


def test_auto_without_a_cluster_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="ray start --head"):
        find_address("auto", {}, str(tmp_path))


def test_a_cluster_whose_supervisor_is_gone_is_not_found(tmp_path: Path) -> None:
    write_current(tmp_path, daemon=True, session=tmp_path)  # the pid lives, but is not a supervisor of that session
    with pytest.raises(ConnectionError):
        find_address("auto", {}, str(tmp_path))
    assert find_address(None, {}, str(tmp_path)) is None


def test_the_variable_decides_when_no_address_is_given(tmp_path: Path) -> None:
    assert find_address(None, {"RAY_ADDRESS": "a:1,b:2"}, str(tmp_path)) == ClusterAddress(("a:1", "b:2"))
    assert find_address("auto", {"RAY_ADDRESS": "a:1"}, str(tmp_path)) == ClusterAddress(("a:1",))
    assert find_address("c:3", {"RAY_ADDRESS": "a:1"}, str(tmp_path)) == ClusterAddress(("c:3",))


def test_the_variable_beats_a_cluster_that_runs_here(tmp_path: Path) -> None:
    write_current(tmp_path, daemon=True)
    for address in (None, "auto"):
        assert find_address(address, {"RAY_ADDRESS": "a:1"}, str(tmp_path)) == ClusterAddress(("a:1",))
        assert find_address(address, {"RAY_ADDRESS": "local"}, str(tmp_path)) is None


def test_the_session_of_a_given_address_of_this_machine_is_found_for_its_token(tmp_path: Path) -> None:
    write_current(tmp_path, daemon=False)
    assert find_address("127.0.0.1:1234", {}, str(tmp_path)) == ClusterAddress(("127.0.0.1:1234",), str(Path.cwd()))


def test_an_older_cluster_that_still_runs_is_found_by_its_address(tmp_path: Path) -> None:
    for name in ("session_old", "session_gone"):
        (tmp_path / name).mkdir()
    write_current(tmp_path / "session_old", daemon=False)
    write_current(tmp_path / "session_gone", daemon=False, session=tmp_path)
    found = ClusterAddress(("127.0.0.1:1234",), str(Path.cwd()))
    assert find_address("127.0.0.1:1234", {}, str(tmp_path)) == found
    assert find_address("127.0.0.1:9", {}, str(tmp_path)) == ClusterAddress(("127.0.0.1:9",))


@pytest.mark.parametrize("text", ["host", "host:", "host:x", "host:70000", ":1", "a:1,,b:2", "ray://h:10001"])
def test_an_address_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="not usable"):
        parse_addresses(text)
