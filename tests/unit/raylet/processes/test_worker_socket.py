import os
import socket
from pathlib import Path

import pytest
from manta_common.channel.paths import short_path
from manta_common.ids import new_worker_id, short
from manta_raylet.processes.worker_socket import remove_socket


@pytest.mark.parametrize("length", [1, 200])
def test_the_socket_of_the_worker_goes_and_those_of_others_stay(tmp_path: Path, length: int) -> None:
    folder = tmp_path / ("d" * length)
    folder.mkdir()
    gone, stays = new_worker_id(), new_worker_id()
    for worker_id in (gone, stays):
        with socket.socket(socket.AF_UNIX) as bound, short_path(folder / short(worker_id)) as path:
            bound.bind(path)
    remove_socket(str(folder), gone)
    remove_socket(str(folder), gone)
    assert os.listdir(folder) == [short(stays)]


def test_a_folder_that_is_gone_or_wrong_does_no_harm(tmp_path: Path) -> None:
    worker_id = new_worker_id()
    remove_socket(str(tmp_path / "none"), worker_id)
    (tmp_path / short(worker_id)).mkdir()
    remove_socket(str(tmp_path), worker_id)
    assert (tmp_path / short(worker_id)).is_dir()
