"""What was asked of owners, and who waits for objects of ours: nothing stays of processes that died."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from manta_proto.common.v1 import common_pb2
from manta_proto.worker.v1 import worker_pb2
from ray._runtime.objects.object_table import ObjectTable
from ray._runtime.objects.owner_queries import Inquiries
from ray._runtime.values.object_ref import ObjectRef

OWNER, BORROWER, NODE = b"O" * 28, b"B" * 28, b"N" * 28
OBJECT = b"x" * 28


class StandInPeer:
    def __init__(self, worker_id: bytes) -> None:
        self.worker_id = worker_id
        self.node_id = NODE
        self.sent: list[tuple[int, bytes]] = []

    def queue(self, kind: int, payload: bytes) -> None:
        self.sent.append((kind, payload))

    send = queue


class StandIn:
    """What inquiries need of their process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects = ObjectTable()
        self.peers = self
        self.dirty: set[Any] = set()
        self.woken: list[Any] = []
        self.known: dict[bytes, StandInPeer] = {}
        self.recovery = self
        self.submitter = self
        self.cut_off_by: common_pb2.Value | None = None
        self.arena = self
        self.flushes = 0
        self.unread: Any = SimpleNamespace(errors={})
        self.reported: list[tuple[bytes, list[bytes], int]] = []

    def get(self, worker_id: bytes, _node_id: bytes = b"") -> StandInPeer:
        return self.known.setdefault(worker_id, StandInPeer(worker_id))

    def copies_lost(self, object_id: bytes, nodes: Sequence[bytes], generation: int) -> None:
        self.reported.append((object_id, list(nodes), generation))

    def watch(self, _peer: Any) -> None: ...

    def flush(self) -> None:
        self.flushes += 1

    def after_lock(self) -> None: ...


@pytest.fixture
def process() -> StandIn:
    return StandIn()


@pytest.fixture
def inquiries(process: StandIn) -> Inquiries:
    return Inquiries(process)  # type: ignore[arg-type]


def wanted(number: int) -> worker_pb2.ObjectsWanted:
    return worker_pb2.ObjectsWanted(items=[worker_pb2.ObjectsWanted.Item(request_id=number, object_id=OBJECT)])


def set_value(process: StandIn) -> None:
    for waiter in process.objects.set_value(OBJECT, common_pb2.Value()):
        waiter(OBJECT)


def test_what_an_owner_was_asked_is_forgotten_when_it_dies(process: StandIn, inquiries: Inquiries) -> None:
    process.objects.borrow(OBJECT, (NODE, OWNER))
    inquiries.want(ObjectRef(OBJECT, (NODE, OWNER)))
    assert len(inquiries._requests) == 1
    process.objects.remove(OBJECT)  # the last ref here went before the answer came
    inquiries.on_worker_died(BORROWER)
    assert len(inquiries._requests) == 1
    inquiries.on_worker_died(OWNER)
    assert not inquiries._requests


def test_a_borrower_that_asks_again_waits_once_and_its_last_request_is_answered(
    process: StandIn, inquiries: Inquiries
) -> None:
    entry = process.objects.create(OBJECT)
    peer: Any = process.get(BORROWER)
    for number in range(1, 6):
        inquiries.on_wanted(peer, wanted(number))
    assert entry.waiters is not None and len(entry.waiters) == 1
    set_value(process)
    [(kind, payload)] = peer.sent
    assert kind == worker_pb2.OBJECTS
    assert [item.request_id for item in worker_pb2.Objects.FromString(payload).items] == [5]
    assert not inquiries._awaited


def test_a_borrower_that_died_is_not_answered(process: StandIn, inquiries: Inquiries) -> None:
    process.objects.create(OBJECT)
    dead: Any = process.get(BORROWER)
    inquiries.on_wanted(dead, wanted(1))
    inquiries.on_worker_died(BORROWER)
    set_value(process)
    assert dead.sent == [] and not inquiries._awaited


def test_a_ready_object_is_answered_at_once_and_the_borrower_s_node_counts_as_a_copy(
    process: StandIn, inquiries: Inquiries
) -> None:
    process.objects.create(OBJECT)
    process.objects.set_stored(OBJECT, 10, (b"M" * 28,))
    peer: Any = process.get(BORROWER)
    inquiries.on_wanted(peer, wanted(1))
    assert len(peer.sent) == 1 and process.flushes == 1
    entry = process.objects.get(OBJECT)
    assert entry is not None and entry.nodes == (b"M" * 28, NODE)


def test_a_report_that_copies_are_gone_says_which_ones_it_is_about(process: StandIn, inquiries: Inquiries) -> None:
    ref = ObjectRef(OBJECT, (NODE, OWNER))
    entry = process.objects.borrow(OBJECT, (NODE, OWNER))
    inquiries.want(ref)
    (number,) = inquiries._requests
    stored = worker_pb2.StoredObject(size=9, node_ids=[NODE], generation=3)
    inquiries.on_objects(
        worker_pb2.Objects(items=[worker_pb2.Objects.Item(request_id=number, object_id=OBJECT, stored=stored)])
    )
    assert entry.generation == 3
    process.objects.forget_copies(OBJECT)
    entry.generation = 3  # a borrower only looks again
    inquiries.want(ref, [NODE])
    (item,) = worker_pb2.ObjectsWanted.FromString(process.known[OWNER].sent[-1][1]).items
    assert (list(item.lost_at), item.generation) == ([NODE], 3)
    inquiries.on_wanted(process.get(BORROWER), worker_pb2.ObjectsWanted(items=[item]))  # type: ignore[arg-type]
    assert process.reported == [(OBJECT, [NODE], 3)]


def test_what_is_asked_for_after_the_cluster_went_out_of_reach_is_the_error(
    process: StandIn, inquiries: Inquiries
) -> None:
    entry = process.objects.borrow(OBJECT, (NODE, OWNER))
    told: list[bytes] = []
    process.objects.when_ready(OBJECT, told.append)
    process.cut_off_by = common_pb2.Value(kind=common_pb2.Value.ERROR)
    inquiries.want(ObjectRef(OBJECT, (NODE, OWNER)))
    assert entry.value is process.cut_off_by and not inquiries._requests
    assert [object_id for _, object_id in process.woken] == [OBJECT]
