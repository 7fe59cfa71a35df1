"""The object manager dies, or is asked to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ray._runtime.arena.arena_errors import ArenaDisconnected, ObjectNotFound

PROGRAM = str(Path(sys.executable).with_name("manta-object-manager"))


def put(client: Any, data: bytes) -> bytes:
    object_id = os.urandom(28)
    writable = client.create(object_id, len(data))
    writable.view[:] = data
    writable.seal()
    return object_id


def test_clients_find_the_restarted_one_and_keep_what_they_see(cluster: Any) -> None:
    manager = cluster.manager()
    connected: list[int] = []
    disconnected: list[int] = []
    client = cluster.client(manager, on_connected=connected.append, on_disconnected=disconnected.append)
    object_id = put(client, b"old bytes")
    pinned = client.get(object_id)
    unsealed = client.create(os.urandom(28), 100)
    errors: list[Exception] = []

    def wait_for_the_unsealed() -> None:
        try:
            client.get(unsealed.object_id, timeout=30)
        except ConnectionError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait_for_the_unsealed)
    waiting.start()
    client.describe()
    manager.kill()
    waiting.join(10)
    assert errors and isinstance(errors[0], ArenaDisconnected)
    with pytest.raises(ArenaDisconnected):
        unsealed.seal()
    manager.start()
    assert client.describe().objects_count == 0
    with pytest.raises(ObjectNotFound):
        client.get(object_id)
    assert pinned.buffer.tobytes() == b"old bytes"
    assert client.get(put(client, b"new")).buffer.tobytes() == b"new"
    assert disconnected == connected[:1] and len(connected) == 2
    del pinned  # of the old arena: the new one must not hear of it
    assert client.describe().objects_count == 1


def test_a_call_waits_for_a_supervisor_that_restarts_it(cluster: Any) -> None:
    manager = cluster.manager()
    client = cluster.client(manager)
    client.describe()
    manager.kill()
    seen: list[int] = []

    def describe() -> None:
        try:
            client.describe()
        except ArenaDisconnected:  # the broken connection was noticed by this very call
            client.describe()
        seen.append(1)

    waiting = threading.Thread(target=describe)
    waiting.start()
    manager.start()
    waiting.join(20)
    assert seen


def test_sigterm_ends_it_with_code_0_and_takes_the_socket_away(cluster: Any) -> None:
    manager = cluster.manager()
    client = cluster.client(manager)
    pinned = client.get(put(client, b"kept"))
    assert manager.stop() == 0
    assert not os.path.exists(manager.socket)
    assert pinned.buffer.tobytes() == b"kept"


def test_a_second_one_on_the_same_socket_refuses_to_start(cluster: Any) -> None:
    manager = cluster.manager()
    second = subprocess.run(
        [PROGRAM, f"--socket={manager.socket}", f"--token-file={manager.folder / 'token'}", "--arena-bytes=1000000"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert second.returncode == 1
    assert "another process serves this socket" in second.stderr
    assert cluster.client(manager).describe().objects_count == 0


def test_it_ends_though_a_transfer_source_is_frozen(cluster: Any) -> None:
    source, target = cluster.manager(), cluster.manager()
    cluster.introduce(source, target)
    object_id = put(cluster.client(source), b"x")
    client = cluster.client(target)
    source.process.send_signal(signal.SIGSTOP)
    try:
        client.get_async(object_id, [source.node_id], None, lambda result: None)
        client.describe()
        assert target.stop() == 0
    finally:
        source.process.send_signal(signal.SIGCONT)


def test_help_and_wrong_settings() -> None:
    shown = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, timeout=20, check=False)
    assert shown.returncode == 0 and "--arena-bytes" in shown.stdout and "MANTA_OBJECT_MANAGER_SOCKET" in shown.stdout
    wrong = subprocess.run(
        [PROGRAM, "--socket=/tmp/none", "--flight-listen=0.0.0.0:0"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert wrong.returncode == 2 and "--insecure-plaintext" in wrong.stderr
