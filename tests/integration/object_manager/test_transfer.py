"""Several nodes on one machine: objects move by Flight, frees by gRPC."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from manta_proto.common.v1.common_pb2 import NodeInfo
from manta_proto.object_manager.v1 import object_manager_pb2 as pb
from ray._runtime.arena.arena_errors import ArenaFull, ArenaTimeout, ObjectNotFound
from ray._runtime.arena.copying import copy_into

from tests.integration.etcd_server import free_ports

MIB = 1024 * 1024
Until = Callable[[Callable[[], bool]], None]


def put(client: Any, data: bytes | np.ndarray[Any, Any]) -> bytes:
    object_id = os.urandom(28)
    view = memoryview(data).cast("B")
    writable = client.create(object_id, view.nbytes, (b"n" * 28, b"w" * 28))
    copy_into(writable.view, view)
    writable.seal()
    return object_id


@pytest.mark.parametrize("size", [0, 1, 2 * MIB, 2 * MIB + 1, 300 * MIB])
def test_an_object_moves_to_the_node_that_asks(cluster: Any, until: Until, size: int) -> None:
    source, target = cluster.manager(400 * MIB), cluster.manager(400 * MIB)
    cluster.introduce(source, target)
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    sender, receiver = cluster.client(source), cluster.client(target)
    object_id = put(sender, data)
    pinned = receiver.get(object_id, [source.node_id], (b"n" * 28, b"w" * 28), timeout=60)
    assert pinned.size == size
    assert np.array_equal(np.frombuffer(pinned.buffer, dtype=np.uint8), data)
    until(lambda: sender.describe().pins_count == 0)  # the transfer's pin went
    described = receiver.describe(with_objects=True)
    assert [(item.primary, item.size) for item in described.objects] == [(False, size)]
    assert described.objects[0].owner.worker_id == b"w" * 28


def test_the_next_node_is_asked_when_the_first_has_no_copy(cluster: Any) -> None:
    empty, full, target = cluster.manager(), cluster.manager(), cluster.manager()
    cluster.introduce(empty, full, target)
    object_id = put(cluster.client(full), b"here")
    client = cluster.client(target)
    pinned = client.get(object_id, [target.node_id, empty.node_id, full.node_id], timeout=20)
    assert pinned.buffer.tobytes() == b"here"
    with pytest.raises(ObjectNotFound) as error:
        client.get(os.urandom(28), [empty.node_id, full.node_id], timeout=20)
    assert error.value.lost_at == (empty.node_id, full.node_id)


def test_a_dead_node_is_not_waited_for(cluster: Any) -> None:
    source, target = cluster.manager(), cluster.manager()
    cluster.introduce(source, target)
    object_id = put(cluster.client(source), b"gone")
    source.process.send_signal(signal.SIGSTOP)  # it neither answers nor breaks the connection
    try:
        client = cluster.client(target)
        with pytest.raises(ArenaTimeout):
            client.get(object_id, [source.node_id], timeout=0.3)
        errors: list[Exception] = []

        def get() -> None:
            try:
                client.get(object_id, [source.node_id], timeout=20)
            except ObjectNotFound as error:
                errors.append(error)

        waiting = threading.Thread(target=get)
        waiting.start()
        cluster.tell(target, pb.NODES, pb.Nodes(nodes=[source.node(NodeInfo.DEAD)]))
        waiting.join(10)
        assert errors and errors[0].lost_at == (source.node_id,)  # type: ignore[attr-defined]
    finally:
        source.process.send_signal(signal.SIGCONT)


def test_a_pull_waits_for_news_of_a_node_that_is_not_known_yet(cluster: Any) -> None:
    source, target = cluster.manager(), cluster.manager(64 * MIB, "--unknown-node-wait-s=30")
    object_id = put(cluster.client(source), b"late")
    client = cluster.client(target)
    seen: list[bytes] = []
    waiting = threading.Thread(
        target=lambda: seen.append(client.get(object_id, [source.node_id], timeout=20).buffer.tobytes())
    )
    waiting.start()
    cluster.introduce(target, source)
    waiting.join(20)
    assert seen == [b"late"]


def test_many_waiters_share_one_transfer(cluster: Any) -> None:
    source, target = cluster.manager(), cluster.manager()
    cluster.introduce(source, target)
    object_id = put(cluster.client(source), b"x" * (20 * MIB))
    clients = [cluster.client(target) for _ in range(4)]
    offsets: list[int] = []
    threads = [
        threading.Thread(target=lambda c=client: offsets.append(c.get(object_id, [source.node_id], timeout=20).offset))
        for client in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(offsets) == 4 and len(set(offsets)) == 1


def test_secondary_copies_give_way_and_are_brought_again(cluster: Any) -> None:
    source, target = cluster.manager(64 * MIB), cluster.manager(16 * MIB)
    cluster.introduce(source, target)
    sender, receiver = cluster.client(source), cluster.client(target)
    names = [put(sender, bytes([number]) * (6 * MIB)) for number in range(4)]
    for number, name in enumerate(names):
        assert receiver.get(name, [source.node_id], timeout=20).buffer.tobytes()[:1] == bytes([number])
    assert receiver.describe().objects_count == 2
    held = [receiver.get(name, [source.node_id], timeout=20) for name in names[:2]]
    with pytest.raises(ArenaFull, match=f"{12 * MIB} of them pinned"):
        receiver.get(names[2], [source.node_id], timeout=20)
    with pytest.raises(ArenaFull):
        receiver.create(os.urandom(28), 6 * MIB)
    del held
    assert receiver.get(names[2], [source.node_id], timeout=20).size == 6 * MIB
    put(receiver, b"p" * (15 * MIB))
    assert receiver.describe().objects_count == 1


def test_the_owner_frees_copies_on_other_nodes(cluster: Any, until: Until) -> None:
    source, target = cluster.manager(), cluster.manager()
    cluster.introduce(source, target)
    sender, receiver = cluster.client(source), cluster.client(target)
    names = [put(sender, b"x" * 1000) for _ in range(20)]
    for name in names:
        receiver.get(name, [source.node_id], timeout=20)
    receiver.flush()
    assert receiver.describe().objects_count == 20
    sender.free([(name, [source.node_id, target.node_id]) for name in names])
    until(lambda: receiver.describe().objects_count == 0)
    assert sender.describe().objects_count == 0


def test_copies_elsewhere_go_without_the_one_here(cluster: Any, until: Until) -> None:
    source, target = cluster.manager(), cluster.manager()
    cluster.introduce(source, target)
    sender, receiver = cluster.client(source), cluster.client(target)
    name = put(sender, b"x" * 1000)
    receiver.get(name, [source.node_id], timeout=20)
    receiver.flush()
    sender.free([], [(name, [target.node_id])])
    until(lambda: receiver.describe().objects_count == 0)
    assert sender.describe().objects_count == 1


def start_big_transfer(cluster: Any, until: Until, source: Any, target: Any) -> tuple[Any, bytes, list[Any]]:
    """A 600 MiB object on its way; returns the receiver, the object and where the outcome goes."""
    cluster.introduce(source, target)
    sender, receiver = cluster.client(source), cluster.client(target)
    writable = sender.create(object_id := os.urandom(28), 600 * MIB)
    writable.seal()
    outcome: list[Any] = []
    receiver.get_async(object_id, [source.node_id], None, outcome.append)
    watcher = cluster.client(target)
    until(lambda: watcher.describe().used > 0)
    return receiver, object_id, outcome


def outcome_of(receiver: Any, outcome: list[Any], until: Until) -> Any:
    def answered() -> bool:
        receiver.on_readable()
        return bool(outcome)

    until(answered)
    return outcome[0]


def test_a_source_killed_during_the_transfer_leaves_nothing_behind_once_its_node_is_dead(
    cluster: Any, until: Until
) -> None:
    source, target = cluster.manager(700 * MIB), cluster.manager(700 * MIB)
    receiver, _, outcome = start_big_transfer(cluster, until, source, target)
    source.kill()
    watcher = cluster.client(target)
    until(lambda: watcher.describe().used == 0)
    receiver.on_readable()
    assert outcome == []  # a broken connection is no word of the object's loss
    cluster.tell(target, pb.NODES, pb.Nodes(nodes=[source.node(NodeInfo.DEAD)]))
    lost = outcome_of(receiver, outcome, until)
    assert isinstance(lost, ObjectNotFound) and lost.lost_at == (source.node_id,)


def test_what_a_killed_source_had_is_lost_as_soon_as_its_successor_says_so(cluster: Any, until: Until) -> None:
    port = free_ports(1)[0]
    source, target = cluster.manager(64 * MIB, f"--flight-listen=127.0.0.1:{port}"), cluster.manager()
    cluster.introduce(source, target)
    object_id = put(cluster.client(source), b"gone")
    source.kill()
    receiver = cluster.client(target)
    outcome: list[Any] = []
    receiver.get_async(object_id, [source.node_id], None, outcome.append)
    until(lambda: "event=pull_failed" in target.log())
    receiver.on_readable()
    assert outcome == []
    source.start()
    lost = outcome_of(receiver, outcome, until)
    assert isinstance(lost, ObjectNotFound) and lost.lost_at == (source.node_id,)


def test_a_source_that_freezes_for_seconds_is_asked_again_and_other_copies_first(cluster: Any, until: Until) -> None:
    source, other, target = cluster.manager(), cluster.manager(), cluster.manager()
    cluster.introduce(source, other, target)
    sender, receiver = cluster.client(source), cluster.client(target)
    names = [put(sender, name) for name in (b"both", b"one")]
    both, one = names
    cluster.client(other).get(both, [source.node_id], timeout=20)
    source.process.send_signal(signal.SIGSTOP)
    frozen_at = time.monotonic()
    try:
        outcome: list[Any] = []
        receiver.get_async(one, [source.node_id], None, outcome.append)
        # Its node is asked first, does not answer in time, and the other has it.
        assert receiver.get(both, [source.node_id, other.node_id], timeout=20).buffer.tobytes() == b"both"
        until(lambda: time.monotonic() > frozen_at + 4.5)
        receiver.on_readable()
        assert outcome == []
    finally:
        source.process.send_signal(signal.SIGCONT)
    assert outcome_of(receiver, outcome, until).buffer.tobytes() == b"one"


def test_speed_of_transfers_and_puts(cluster: Any, record_property: Callable[[str, object], None]) -> None:
    """A figure to look at; the bound is far below it, since this machine is shared."""
    source, target = cluster.manager(1100 * MIB), cluster.manager(1100 * MIB)
    cluster.introduce(source, target)
    sender, receiver = cluster.client(source), cluster.client(target)
    data = np.ones(256 * MIB, dtype=np.uint8)
    rates = []
    for _ in range(5):
        name = put(sender, data)
        start = time.perf_counter()
        pinned = receiver.get(name, [source.node_id], timeout=60)
        rates.append(0.25 / (time.perf_counter() - start))
        del pinned
        sender.free([(name, [target.node_id])])
        receiver.free([(name, [])])
    puts = []
    for _ in range(5):
        start = time.perf_counter()
        name = put(sender, data[: 100 * MIB])
        puts.append(100 * MIB / 1e9 / (time.perf_counter() - start))
        sender.free([(name, [])])
    record_property("transfer_gib_s", rates)
    record_property("put_gb_s", puts)
    print(f"256 MiB transfers, GiB/s: {[round(rate, 2) for rate in rates]}; 100 MiB puts, GB/s: {np.round(puts, 1)}")
    assert max(rates) > 0.5 and max(puts) > 2
