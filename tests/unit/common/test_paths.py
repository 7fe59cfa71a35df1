import os
import socket
from pathlib import Path

import pytest
from manta_common.channel.paths import MAX_SOCKET_PATH_BYTES, short_path


def test_a_short_path_stays_as_it_is() -> None:
    with short_path("/tmp/a.sock") as usable:
        assert usable == "/tmp/a.sock"


def test_a_200_byte_path_is_bound_and_reached_by_blocking_sockets(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    path = folder / "1a2b3c4d.sock"
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        with short_path(path) as usable:
            assert len(usable) <= MAX_SOCKET_PATH_BYTES
            listener.bind(usable)
        listener.listen()
        with short_path(path) as usable:
            client.connect(usable)
        assert path.is_socket()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_is_missing_and_a_name_that_is_too_long_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), short_path(f"/nowhere/{'x' * 100}/a.sock"):
        pass
    with pytest.raises(ValueError, match="too long"), short_path(tmp_path / ("x" * 120)):
        pass
