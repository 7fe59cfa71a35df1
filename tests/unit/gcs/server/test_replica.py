"""The shell in one process on a real SQLite store: order of effects, stepping down, coming back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from manta_common.metrics import Metrics
from manta_gcs.kernel.events import ClientAsked, NodeAttached, SessionId
from manta_gcs.kernel.record import RecordError, record
from manta_gcs.server.gcs_metrics import GcsMetrics
from manta_gcs.server.replica import Replica, ReplicaOptions
from manta_gcs.server.term import Term, now
from manta_gcs.store import Compare, Op, OutcomeUnknown, Put, Store, StoreUnavailable, TxnResult, open_store
from manta_proto.gcs.v1 import gcs_pb2, records_pb2

from tests.unit.gcs.core_driver import attach

ROOT = b"/manta/v1/default/"
DEADLINE_S = 10.0
OPTIONS = ReplicaOptions(
    cluster="default", address="127.0.0.1:1", session_name="s", death_timeout_s=5, inbox_limit=10, store_name="sqlite"
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite://{tmp_path}/gcs.db?synchronous=off")
    yield opened
    await opened.close()


@pytest.fixture
async def replica(store: Store) -> AsyncIterator[Replica]:
    replica = Replica(store, OPTIONS, GcsMetrics(Metrics("gcs")))
    running = asyncio.create_task(replica.run())
    await term_of(replica)
    yield replica
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await replica.stop()


async def term_of(replica: Replica, after: Term | None = None) -> Term:
    """The replica's term, once it has one; `after`: the one before, whose end was seen."""
    async with asyncio.timeout(DEADLINE_S):
        await replica.served.wait()
    assert replica.term is not None and replica.term is not after
    return replica.term


class Client:
    """A stream without its network."""

    def __init__(self, term: Term) -> None:
        self.term = term
        self.session, self.outbox = term.open_client()
        self.batches = self.outbox.batches()
        self.number = 0

    def send(self, **body: Any) -> bool:
        self.number += 1
        request = gcs_pb2.ClientRequest(request_id=self.number, **body)
        return self.term.inbox.offer(ClientAsked(now(), self.session, request))

    def put(self, key: bytes) -> bool:
        return self.send(kv_put=gcs_pb2.KvPut(key=key, value=b"v"))

    async def reply(self) -> gcs_pb2.GcsReply:
        async with asyncio.timeout(DEADLINE_S):
            return gcs_pb2.GcsReply.FromString((await anext(self.batches))[0])


def intercept(monkeypatch: pytest.MonkeyPatch, store: Store, before: Any = None, after: Any = None) -> None:
    """Do something before, or after, each txn that writes a KV record; the txn itself is the real one."""
    real = store.txn

    async def txn(compares: Sequence[Compare], ops: Sequence[Op]) -> TxnResult:
        ours = any(isinstance(op, Put) and op.key.startswith(ROOT + b"kv/") for op in ops)
        if ours and before is not None:
            await before()
        result = await real(compares, ops)
        if ours and after is not None:
            await after()
        return result

    monkeypatch.setattr(store, "txn", txn)


async def test_no_answer_leaves_before_its_write_is_durable(
    replica: Replica, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, release = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reached.set()
        await release.wait()

    intercept(monkeypatch, store, before=hold)
    client, reader = Client(await term_of(replica)), Client(await term_of(replica))
    client.put(b"k")
    reader.send(kv_get=gcs_pb2.KvGet(key=b"k"))
    async with asyncio.timeout(DEADLINE_S):
        await reached.wait()
    waiting = [asyncio.create_task(one.reply()) for one in (client, reader)]
    done, _ = await asyncio.wait(waiting, timeout=0.2)
    assert not done  # not even the read that saw it
    assert await store.get(ROOT + b"kv//6b") is None
    release.set()
    assert (await waiting[0]).kv_changed.count == 1
    assert (await waiting[1]).kv_value.value == b"v"
    assert await store.get(ROOT + b"kv//6b") is not None


async def test_an_unknown_outcome_drops_the_memory_and_what_was_written_is_there_afterwards(
    replica: Replica, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose_the_answer() -> None:
        monkeypatch.undo()
        raise OutcomeUnknown("txn", "the connection broke")

    intercept(monkeypatch, store, after=lose_the_answer)
    term = await term_of(replica)
    client = Client(term)
    client.put(b"k")
    assert (await client.reply()).error.code == gcs_pb2.Error.NOT_LEADER
    assert client.outbox.closed_because is not None
    successor = await term_of(replica, after=term)
    assert successor.epoch > term.epoch
    again = Client(successor)
    again.put(b"k")
    assert (await again.reply()).kv_changed.count == 0  # it was applied


async def test_a_write_that_was_surely_not_applied_is_tried_again(
    replica: Replica, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter(range(2))

    async def fail_twice() -> None:
        if next(failures, None) is not None:
            raise StoreUnavailable("txn", "no leader")

    intercept(monkeypatch, store, before=fail_twice)
    client = Client(await term_of(replica))
    client.put(b"k")
    assert (await client.reply()).kv_changed.count == 1


async def test_a_deposed_leader_sends_everyone_away_and_campaigns_again(replica: Replica, store: Store) -> None:
    term = await term_of(replica)
    client = Client(term)
    _, node = term.open_node()
    await store.delete(ROOT + b"leader")
    assert (await client.reply()).error.code == gcs_pb2.Error.NOT_LEADER
    async with asyncio.timeout(DEADLINE_S):
        assert gcs_pb2.GcsToNode.FromString((await anext(node.batches()))[0]).refused.code == gcs_pb2.Error.NOT_LEADER
    assert (await term_of(replica, after=term)).epoch > term.epoch


async def test_a_raylet_of_a_higher_epoch_makes_it_step_down_once(replica: Replica) -> None:
    term = await term_of(replica)
    session, outbox = term.open_node()
    message = attach(1, epoch=term.epoch + 10_000)
    await term.inbox.put(NodeAttached(now(), session, message))
    async with asyncio.timeout(DEADLINE_S):
        assert gcs_pb2.GcsToNode.FromString((await anext(outbox.batches()))[0]).refused.code == gcs_pb2.Error.NOT_LEADER
    successor = await term_of(replica, after=term)
    session, outbox = successor.open_node()
    await successor.inbox.put(NodeAttached(now(), session, message))
    async with asyncio.timeout(DEADLINE_S):
        assert "another store" in gcs_pb2.GcsToNode.FromString((await anext(outbox.batches()))[0]).refused.message
    assert replica.term is successor


async def test_a_full_inbox_refuses_and_an_ended_terms_inbox_takes_nothing(replica: Replica) -> None:
    term = await term_of(replica)
    client = Client(term)
    sent = [client.put(b"%d" % number) for number in range(11)]  # without letting the core run
    assert sent == [True] * 10 + [False]
    term.inbox.close()
    assert not client.put(b"x")
    await term.inbox.put(ClientAsked(now(), SessionId(1), gcs_pb2.ClientRequest()))


async def test_a_foreign_record_stops_the_start(store: Store) -> None:
    stored = record(kv=records_pb2.StoredKv(value=b"v"))
    stored.version_major = 1
    await store.txn([], [Put(ROOT + b"kv/ns/6b", stored.SerializeToString())])
    refusing = Replica(store, OPTIONS, GcsMetrics(Metrics("gcs")))
    with pytest.raises(RecordError, match=r"kv/ns/6b.*1\.3.*0\.3"):
        await asyncio.wait_for(refusing.run(), DEADLINE_S)
    assert refusing.term is None
    await refusing.stop()
