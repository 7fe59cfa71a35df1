"""Frees on other nodes: batched, retried, and given up with a word."""

from __future__ import annotations

import asyncio

import pytest
from manta_common.ids import NodeId
from manta_object_manager import remote_free
from manta_object_manager.node_table import NodeTable, NotThere, Peer
from manta_object_manager.remote_free import RemoteFrees

NODE = NodeId(b"n" * 28)
PEER = Peer("127.0.0.1:1", "127.0.0.1:2")


class Peers:
    """Takes batches, after a number of failures."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.attempts = 0
        self.batches: list[list[bytes]] = []

    async def free(self, peer: Peer, object_ids: list[bytes]) -> None:
        assert peer == PEER
        self.attempts += 1
        if self.attempts <= self.failures:
            raise ConnectionError("not now")
        self.batches.append(object_ids)


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_free, "_FIRST_DELAY_S", 0.001)


def nodes() -> NodeTable:
    table = NodeTable()
    table.alive(NODE, PEER)
    return table


async def finish(frees: RemoteFrees) -> None:
    await asyncio.gather(*frees._tasks.values())


async def test_ids_added_together_go_in_one_call() -> None:
    peers = Peers()
    frees = RemoteFrees(nodes(), peers.free)
    for number in range(100):
        frees.add(NODE, bytes([number]))
    await finish(frees)
    assert peers.batches == [[bytes([number]) for number in range(100)]]


async def test_a_failed_call_is_repeated() -> None:
    peers = Peers(failures=2)
    frees = RemoteFrees(nodes(), peers.free)
    frees.add(NODE, b"a")
    await finish(frees)
    assert peers.batches == [[b"a"]] and frees.dropped == 0


async def test_it_is_given_up_after_some_attempts() -> None:
    peers = Peers(failures=1000)
    frees = RemoteFrees(nodes(), peers.free)
    frees.add(NODE, b"a")
    await finish(frees)
    assert peers.attempts == remote_free.ATTEMPTS and frees.dropped == 1


async def test_a_full_queue_drops_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_free, "QUEUE_LIMIT", 3)
    peers = Peers()
    frees = RemoteFrees(nodes(), peers.free)
    for number in range(5):
        frees.add(NODE, bytes([number]))
    await finish(frees)
    assert len(peers.batches[0]) == 3 and frees.dropped == 2


async def test_a_dead_nodes_frees_are_forgotten() -> None:
    table, peers = nodes(), Peers()
    frees = RemoteFrees(table, peers.free)
    frees.add(NODE, b"a")
    assert table.died(NODE) and not table.died(NODE)
    frees.node_died(NODE)
    await finish(frees)
    assert peers.batches == [] and table.find(NODE) is NotThere.DEAD
    table.alive(NODE, PEER)  # late news
    assert table.find(NODE) is NotThere.DEAD
