"""One node: several processes see the same bytes, and nothing changes under a reader."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import select
import signal
import stat
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from manta_proto.common.v1.common_pb2 import DeadWorker, WorkerAddress
from manta_proto.object_manager.v1 import object_manager_pb2 as pb
from ray._runtime.arena.arena_errors import ArenaEntered, ArenaFull, ArenaTimeout, ObjectNotFound
from ray._runtime.arena.copying import copy_into
from ray._runtime.arena.pins import Pinned

MIB = 1024 * 1024
Until = Callable[[Callable[[], bool]], None]


def put(client: Any, data: bytes, object_id: bytes | None = None, owner: tuple[bytes, bytes] | None = None) -> bytes:
    object_id = object_id or os.urandom(28)
    writable = client.create(object_id, len(data), owner)
    copy_into(writable.view, data)
    writable.seal()
    return object_id


def array(pinned: Pinned) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(pinned.buffer, dtype=np.uint8)


def test_two_processes_see_the_same_bytes_read_only(cluster: Any) -> None:
    manager = cluster.manager()
    object_id = os.urandom(28)
    child = cluster.child(
        manager,
        """
writable = client.create(bytes.fromhex(arguments[0]), 1 << 20)
writable.view[:] = bytes(range(256)) * 4096
pin = writable.seal(keep_pin=True)
say(pin.offset)
sys.stdin.readline()
""",
        object_id.hex(),
    )
    offset = int(child.stdout.readline())
    pinned = cluster.client(manager).get(object_id)
    seen = array(pinned)
    assert pinned.offset == offset
    assert bytes(seen[:256]) == bytes(range(256)) and seen.nbytes == 1 << 20
    assert not seen.flags.writeable
    address = seen.__array_interface__["data"][0]
    with open("/proc/self/maps") as maps:
        mine = [
            (flags, int(start, 16), int(end, 16))
            for start, end, flags in re.findall(r"^(\w+)-(\w+) (\S+) .*memfd:manta-arena", maps.read(), re.MULTILINE)
        ]
    (flags,) = [flags for flags, start, end in mine if start <= address and address + seen.nbytes <= end]
    assert flags == "r--s"
    page = address & ~4095
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(4096), 3) == -1  # cannot be made writable either


def test_the_socket_is_private_and_its_path_may_be_long(cluster: Any) -> None:
    manager = cluster.manager(name="d" * 150)
    assert len(manager.socket) > 150
    assert stat.S_IMODE(os.stat(manager.socket).st_mode) == 0o600
    client = cluster.client(manager)
    assert array(client.get(put(client, b"far"))).tobytes() == b"far"


def test_a_freed_object_keeps_its_bytes_while_somebody_sees_it(cluster: Any, until: Until) -> None:
    manager = cluster.manager(16 * MIB)
    client = cluster.client(manager)
    object_id = put(client, b"\x07" * (4 * MIB))
    seen = array(client.get(object_id))
    client.free([(object_id, [])])
    with pytest.raises(ArenaFull):
        client.create(os.urandom(28), 13 * MIB)
    for _ in range(3):  # over all that is left
        other = put(client, b"\xff" * (12 * MIB - 64))
        client.free([(other, [])])
    assert (seen == 7).all()
    del seen
    gc.collect()
    put(client, b"\xff" * (16 * MIB))


def test_a_view_outlives_owner_death_and_the_closed_client(cluster: Any, until: Until) -> None:
    manager = cluster.manager(16 * MIB)
    reader, writer = cluster.client(manager), cluster.client(manager)
    owner = (b"n" * 28, b"w" * 28)
    seen = array(reader.get(put(reader, b"\x07" * (8 * MIB), owner=owner)))
    dead = DeadWorker(address=WorkerAddress(node_id=owner[0], worker_id=owner[1]))
    cluster.tell(manager, pb.WORKERS_DIED, pb.WorkersDied(workers=[dead]))
    reader.close()
    with pytest.raises(ArenaFull):
        writer.create(os.urandom(28), 9 * MIB)
    put(writer, b"\xff" * (8 * MIB))
    assert (seen == 7).all()
    del seen
    until(lambda: writer.describe().pins_count == 0)
    assert writer.describe().objects_count == 1


def test_a_second_get_of_what_is_seen_costs_no_round_trip(cluster: Any) -> None:
    manager = cluster.manager()
    client = cluster.client(manager)
    object_id = put(client, b"x" * 1000)
    first = client.get(object_id)
    manager.process.send_signal(signal.SIGSTOP)
    try:
        assert client.get(object_id) is first
    finally:
        manager.process.send_signal(signal.SIGCONT)


def test_the_end_of_the_last_view_is_told(cluster: Any) -> None:
    manager = cluster.manager()
    released: list[bytes] = []
    client = cluster.client(manager, on_released=released.append)
    object_id = put(client, b"x" * 1000)
    seen = array(client.get(object_id))
    part = seen[10:20]
    del seen
    assert not released
    assert client.describe().pins_count == 1
    del part
    assert released == [object_id]
    assert client.describe().pins_count == 0


def test_a_writer_killed_in_the_middle_leaves_nothing_though_a_grandchild_holds_its_socket(
    cluster: Any, until: Until
) -> None:
    manager = cluster.manager(32 * MIB)
    client = cluster.client(manager)
    kept = put(client, b"k" * MIB)
    child = cluster.child(
        manager,
        """
writable = client.create(os.urandom(28), 20 << 20)
writable.view[:1000] = b"x" * 1000
seen = client.get(bytes.fromhex(arguments[0]))
grandchild = os.fork()
if grandchild == 0:
    import signal
    signal.pause()
say(grandchild)
sys.stdin.readline()
""",
        kept.hex(),
    )
    grandchild = int(child.stdout.readline())
    try:
        assert client.describe().pins_count == 2
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        until(lambda: client.describe().pins_count == 0)
        assert client.describe().objects_count == 1
        put(client, b"y" * (31 * MIB))
    finally:
        os.kill(grandchild, signal.SIGKILL)


def test_a_full_arena_names_the_sizes(cluster: Any) -> None:
    client = cluster.client(cluster.manager(16 * MIB))
    pinned = client.get(put(client, b"x" * (10 * MIB)))
    with pytest.raises(ArenaFull, match=f"{8 * MIB} bytes: {10 * MIB} of {16 * MIB} .*{10 * MIB} of them pinned"):
        client.create(os.urandom(28), 8 * MIB)
    with pytest.raises(ArenaFull, match="can never fit"):
        client.create(os.urandom(28), 17 * MIB)
    assert pinned.size == 10 * MIB


def test_a_failed_create_keeps_nothing_of_its_callers_alive(cluster: Any) -> None:
    client = cluster.client(cluster.manager(16 * MIB))

    class Held:
        pass

    def attempt() -> weakref.ref[Held]:
        held = Held()
        with contextlib.suppress(ArenaFull):
            client.create(os.urandom(28), 17 * MIB)
        return weakref.ref(held)

    gc.disable()  # the error must go by itself: until a collection, a cycle would hold the frames, and a pin in one
    try:
        assert attempt()() is None
    finally:
        gc.enable()


def test_a_repeated_attempt_finds_the_sealed_object(cluster: Any) -> None:
    client = cluster.client(cluster.manager())
    object_id = put(client, b"first")
    assert client.create(object_id, 5) is None
    assert array(client.get(object_id)).tobytes() == b"first"


def test_an_aborted_object_leaves_its_range(cluster: Any) -> None:
    client = cluster.client(cluster.manager())
    with pytest.raises(RuntimeError, match="user"), client.create(os.urandom(28), 1000):
        raise RuntimeError("user")
    client.create(os.urandom(28), 1000)  # dropped at once
    assert client.describe().used == 0
    with pytest.raises(ObjectNotFound):
        client.get(os.urandom(28))


def test_a_get_waits_for_the_writer_and_gives_up_in_time(cluster: Any, until: Until) -> None:
    manager = cluster.manager()
    writer, reader = cluster.client(manager), cluster.client(manager)
    object_id = os.urandom(28)
    writable = writer.create(object_id, 3)
    with pytest.raises(ArenaTimeout):
        reader.get(object_id, timeout=0.05)
    seen: list[bytes] = []
    thread = threading.Thread(target=lambda: seen.append(array(reader.get(object_id, timeout=10)).tobytes()))
    thread.start()
    writable.view[:] = b"abc"
    writable.seal()
    thread.join(10)
    assert seen == [b"abc"]
    until(lambda: reader.describe().pins_count == 0)


def test_an_epoll_reader_and_blocking_threads_share_one_client(cluster: Any) -> None:
    manager = cluster.manager(64 * MIB)
    epoll = select.epoll()
    stop = threading.Event()
    client = cluster.client(
        manager,
        on_connected=lambda fd: epoll.register(fd, select.EPOLLIN),
        on_disconnected=epoll.unregister,
    )

    def read() -> None:
        while not stop.is_set():
            for _ in epoll.poll(0.05):
                client.on_readable()

    results: list[int] = []
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(100):
                data = os.urandom(20) * (10 + number)
                object_id = put(client, data)
                arrived = threading.Event()
                box: list[Any] = []
                client.get_async(
                    object_id, [], None, lambda result, box=box, go=arrived: (box.append(result), go.set())
                )
                assert array(client.get(object_id)).tobytes() == data
                assert arrived.wait(10)
                assert array(box[0]).tobytes() == data
                client.free([(object_id, [])])
            results.append(number)
        except BaseException as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    workers = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    stop.set()
    reader.join()
    assert not errors
    assert sorted(results) == list(range(6))
    gc.collect()
    client.flush()
    description = client.describe()
    assert (description.used, description.pins_count) == (0, 0)
    client.close()
    epoll.close()


def test_a_forked_child_cannot_use_the_client_but_keeps_its_views(cluster: Any) -> None:
    client = cluster.client(cluster.manager())
    object_id = put(client, b"x" * 1000)
    seen = array(client.get(object_id))
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            client.drop_in_child()
            assert (seen == ord("x")).all()
            try:
                client.get(object_id)
            except ConnectionError as error:
                code = 0 if "forked" in str(error) else 2
            del seen
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert client.describe().pins_count == 1
    del seen
    assert client.describe().pins_count == 0


def test_a_jobs_end_and_an_owners_death_free_objects(cluster: Any) -> None:
    manager = cluster.manager()
    client = cluster.client(manager)

    def of_job(job: int) -> bytes:
        return os.urandom(20) + job.to_bytes(4, "big") + os.urandom(4)

    put(client, b"1", of_job(1), owner=(b"n" * 28, b"a" * 28))
    put(client, b"2", of_job(2), owner=(b"n" * 28, b"b" * 28))
    put(client, b"3", of_job(1), owner=(b"n" * 28, b"c" * 28))
    ended = pb.JobEnded(job_id=(1).to_bytes(4, "big"), surviving_worker_ids=[b"c" * 28])
    cluster.tell(manager, pb.JOB_ENDED, ended)
    owners = {item.owner.worker_id[:1] for item in client.describe(with_objects=True).objects}
    assert owners == {b"b", b"c"}


def test_whoever_waits_on_the_thread_that_reads_is_refused_and_not_hung(cluster: Any, until: Until) -> None:
    manager = cluster.manager()
    writer, client = cluster.client(manager), cluster.client(manager)
    first, second = put(writer, b"1" * 1000), put(writer, b"2" * 1000)
    heard: list[Any] = []

    def inside(pinned: Pinned | Exception) -> None:
        """As a finalizer that the collector runs where a reply is taken."""
        assert client.reading_here()
        for attempt in (lambda: client.get(second), lambda: client.create(os.urandom(28), 1000)):
            try:
                heard.append(attempt())
            except ArenaEntered as error:
                heard.append(error)

    client.get_async(first, (), None, inside)
    third = client.get(second)  # reads
    assert bytes(third.buffer[:1]) == b"2" and not client.reading_here()
    assert [type(each) for each in heard] == [ArenaEntered, ArenaEntered]
    # What was asked for in there is given back once it is granted.
    until(lambda: client.describe().used == 2 * 1024)
