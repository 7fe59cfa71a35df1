"""Extents with real processes: what is written without asking is seen by all, and every byte comes back."""

from __future__ import annotations

import os
import re
import signal
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from manta_proto.object_manager.v1 import object_manager_pb2 as pb
from ray._runtime.arena.arena_errors import ArenaFull
from ray._runtime.arena.copying import copy_into

MIB = 1024 * 1024
OWNER = (b"n" * 28, b"w" * 28)
Until = Callable[[Callable[[], bool]], None]


def write(client: Any, data: bytes, *, keep_pin: bool = False) -> tuple[bytes, Any]:
    """Returns the object's id, and its pin if there is one."""
    object_id = os.urandom(28)
    with client.writable(object_id, len(data), OWNER) as writable:
        copy_into(writable.view, data)
        return object_id, writable.seal(keep_pin=keep_pin)


def begin(client: Any, until: Until, size: int = MIB) -> list[bytes]:
    """Write until there is an extent; returns what was written."""
    written = []

    def holds() -> bool:
        written.append(write(client, bytes(size))[0])
        client.on_readable()
        return bool(client.holds_extents())

    until(holds)
    return written


def test_objects_of_an_extent_are_read_by_others_and_their_bytes_come_back(cluster: Any, until: Until) -> None:
    manager = cluster.manager(256 * MIB)
    writer, reader = cluster.client(manager), cluster.client(manager)
    objects = begin(writer, until)
    assert reader.describe().extents > 0
    data = {}
    for number in range(40):
        object_id, pin = write(writer, bytes([number]) * MIB, keep_pin=True)
        data[object_id] = pin
        writer.flush()
        assert bytes(reader.get(object_id).buffer[:10]) == bytes([number]) * 10
        assert np.frombuffer(pin.buffer, dtype=np.uint8)[-1] == number
        writer.on_readable()
    assert len({pin.offset for pin in data.values()}) == 40
    with urllib.request.urlopen(f"http://{manager.ready['metrics']}/metrics", timeout=10) as page:
        shown = re.search(r"^manta_arena_extents_bytes\{.*\} (\S+)$", page.read().decode(), re.MULTILINE)
    assert shown is not None and float(shown[1]) == reader.describe().extents
    writer.free([(object_id, ()) for object_id in (*objects, *data)])
    data.clear()
    del pin
    writer.close()
    reader.flush()
    until(lambda: reader.describe().used + reader.describe().extents == 0)


def test_a_reader_that_hears_of_an_object_before_the_object_manager_does_waits(cluster: Any, until: Until) -> None:
    manager = cluster.manager(256 * MIB)
    cluster.introduce(manager)
    writer, reader = cluster.client(manager), cluster.client(manager)
    begin(writer, until)
    connection = writer._connected()
    object_id = os.urandom(28)
    writable = writer.writable(object_id, MIB, OWNER)
    writable.view[:] = b"x" * MIB
    seen: list[bytes] = []
    with connection._sending:  # the news of it stays in this process
        writable.seal()
        thread = threading.Thread(
            target=lambda: seen.append(bytes(reader.get(object_id, [manager.node_id], timeout=30).buffer[:3]))
        )
        thread.start()
        asked = []
        connection.extents.asked = asked.append
        until(lambda: writer.on_readable() or bool(asked))
        assert not seen
    del connection.extents.asked
    connection.extents.asked(asked[0])
    thread.join(10)
    assert seen == [b"xxx"]


def test_another_node_that_hears_of_an_object_before_its_object_manager_does_waits(cluster: Any, until: Until) -> None:
    here, there = cluster.manager(256 * MIB), cluster.manager(256 * MIB)
    cluster.introduce(here, there)
    writer, reader = cluster.client(here), cluster.client(there)
    begin(writer, until)
    connection = writer._connected()
    object_id = os.urandom(28)
    writable = writer.writable(object_id, MIB, OWNER)
    writable.view[:] = b"x" * MIB
    asked: list[pb.ExtentsAsked] = []
    connection.extents.asked = asked.append
    seen: list[bytes] = []
    with connection._sending:
        writable.seal()
        thread = threading.Thread(
            target=lambda: seen.append(bytes(reader.get(object_id, [here.node_id], timeout=30).buffer[:3]))
        )
        thread.start()
        until(lambda: writer.on_readable() or bool(asked))
        assert not seen
    del connection.extents.asked
    connection.extents.asked(asked[0])
    thread.join(10)
    assert seen == [b"xxx"]


def test_a_large_object_gets_the_room_that_a_client_holds_ahead(cluster: Any, until: Until) -> None:
    manager = cluster.manager(128 * MIB)
    holder, other = cluster.client(manager), cluster.client(manager)
    objects = begin(holder, until)
    holder.free([(object_id, ()) for object_id in objects])
    held = holder.describe().extents
    assert held > 0
    stop = threading.Event()

    def answer() -> None:
        while not stop.wait(0.01):
            holder.on_readable()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with other.create(os.urandom(28), 128 * MIB - 1000) as writable:
            assert writable.size == 128 * MIB - 1000
            assert other.describe().extents == 0
    finally:
        stop.set()
        thread.join()
    assert not holder.holds_extents()


def test_a_writer_that_dies_leaves_what_it_sealed_and_nothing_else(cluster: Any, until: Until) -> None:
    manager = cluster.manager(256 * MIB)
    client = cluster.client(manager)
    child = cluster.child(
        manager,
        """
owner = b"n" * 28, b"w" * 28
def write(number):
    with client.writable(number.to_bytes(28, "big"), 1 << 20, owner) as writable:
        writable.view[:] = bytes([number % 256]) * (1 << 20)
        writable.seal()
while not client.holds_extents():
    write(1000)
    client.free([((1000).to_bytes(28, "big"), ())])
    client.on_readable()
unfinished = client.writable(b"u" * 28, 1 << 20, owner)
unfinished.view[:4] = b"half"
say("ready")
sys.stdin.readline()
for number in range(40):
    write(number)
    client.on_readable()
os._exit(0)
""",
    )
    assert child.stdout.readline() == "ready\n"
    child.stdin.write("go\n")
    child.stdin.flush()
    child.wait(20)
    until(lambda: client.describe().extents == 0)
    assert client.describe().objects_count == 40  # all that it sealed before its end
    for number in range(40):
        assert bytes(client.get(number.to_bytes(28, "big")).buffer[:2]) == bytes([number]) * 2
    client.free([(number.to_bytes(28, "big"), ()) for number in range(40)])
    client.flush()
    until(lambda: client.describe().used == 0)


def test_a_writer_that_is_stopped_holds_a_large_object_up_only_for_a_moment(cluster: Any, until: Until) -> None:
    manager = cluster.manager(64 * MIB)
    client = cluster.client(manager)
    child = cluster.child(
        manager,
        """
while not client.holds_extents():
    with client.writable(os.urandom(28), 1 << 19, (b"n" * 28, b"w" * 28)) as writable:
        pass  # given up
    client.on_readable()
say("ready")
sys.stdin.readline()
""",
    )
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGSTOP)
    try:
        with client.create(os.urandom(28), 40 * MIB) as writable:
            assert writable.size == 40 * MIB
        held = client.describe().extents
        assert held > 0
        with pytest.raises(ArenaFull, match=f"{held} of them pinned"):
            client.create(os.urandom(28), 64 * MIB - 1000)
    finally:
        child.send_signal(signal.SIGCONT)
